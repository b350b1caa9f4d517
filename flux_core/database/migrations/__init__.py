"""The history of the tables, run by Alembic whenever a database is opened.

To change a table: change ``tables.py``, add the next file in ``versions/`` by hand, and run
``tests/database/test_schema.py``, which shows what the two still say differently. A file that was released stays.
"""
