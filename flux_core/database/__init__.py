"""The database: tables, migrations, one file of queries per subject, and the queue that workers use."""
