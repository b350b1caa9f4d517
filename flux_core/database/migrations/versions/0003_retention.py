"""Retention: what is still kept of a job, so that maintenance finds what is due without looking at what is done."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# By a statement of our own: with a named condition on it, Alembic would rebuild the table in SQLite.
KEPT = "TEXT DEFAULT 'all' NOT NULL CONSTRAINT ck_jobs_kept CHECK (kept IN ('all', 'words', 'nothing'))"
DUE = "ended_at IS NOT NULL AND kept <> 'nothing'"


def upgrade() -> None:
    op.execute(f"ALTER TABLE jobs ADD COLUMN kept {KEPT}")
    op.create_index(
        "ix_jobs_kept",
        "jobs",
        ["kept", "ended_at"],
        unique=False,
        sqlite_where=sa.text(DUE),
        postgresql_where=sa.text(DUE),
    )


def downgrade() -> None:
    op.drop_index("ix_jobs_kept", "jobs")
    op.execute("ALTER TABLE jobs DROP COLUMN kept")
