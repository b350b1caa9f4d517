"""Many machines: bots that share the shards, programs of two versions; a job's mask, and the mode it was drawn in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "bots",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("application_id", sa.BigInteger(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.BigInteger(), nullable=False),
        sa.Column("shards", sa.Text(), nullable=False),
        sa.Column("shard_count", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bots")),
    )
    op.create_table(
        "uploaded_commands",
        sa.Column("application_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("api", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("ids", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("application_id", "api", name=op.f("pk_uploaded_commands")),
    )
    op.create_table(
        "shard_starts",
        sa.Column("application_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("turn", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("free_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("application_id", "turn", name=op.f("pk_shard_starts")),
    )
    program = op.create_table(
        "program",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("oldest_revision", sa.Text(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_program_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_program")),
    )
    op.bulk_insert(program, [{"id": 1, "oldest_revision": revision}])
    op.add_column("jobs", sa.Column("drawn_mode", sa.Text()))
    op.add_column("jobs", sa.Column("passed_over", sa.Integer(), server_default="0", nullable=False))
    op.add_column("jobs", sa.Column("mask_key", sa.Text()))
    present = sa.text("mask_key IS NOT NULL")
    op.create_index("ix_jobs_masks", "jobs", ["mask_key"], sqlite_where=present, postgresql_where=present)


def downgrade() -> None:
    op.drop_index("ix_jobs_masks", "jobs")
    op.drop_column("jobs", "mask_key")
    op.drop_column("jobs", "passed_over")
    op.drop_column("jobs", "drawn_mode")
    for table in ("program", "shard_starts", "uploaded_commands", "bots"):
        op.drop_table(table)
