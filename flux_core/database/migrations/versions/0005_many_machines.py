"""Many machines: bots that share the shards, programs of two versions; a job's mask, and the mode it was drawn in.

A job that names a LoRA waits for a worker that has it: what it is claimed by names both.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

CLAIMABLE = "waits_for IS NULL OR (state = 'queued' AND waits_for = model)"
CLAIMABLE_WITH_LORA = (
    "waits_for IS NULL OR (state = 'queued' AND "
    "(waits_for = model OR (lora IS NOT NULL AND waits_for = model || ' ' || lora)))"
)


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
    op.add_column("jobs", sa.Column("lora", sa.Text()))
    _replace_claimable(CLAIMABLE, CLAIMABLE_WITH_LORA)


def _replace_claimable(before: str, after: str) -> None:
    """Exchange the condition of what may be claimed, without a look at the rows where that would rebuild the table.

    SQLite cannot alter a condition. Its documentation (lang_altertable.html, "Making Other Kinds Of Table Schema
    Changes") has the text of the schema edited for what changes nothing on the disk, conditions among them.
    """
    if op.get_bind().dialect.name != "sqlite":
        op.drop_constraint(op.f("ck_jobs_claimable"), "jobs")
        op.create_check_constraint(op.f("ck_jobs_claimable"), "jobs", after)
        return
    connection = op.get_bind()
    version = connection.execute(sa.text("PRAGMA schema_version")).scalar_one()
    connection.execute(sa.text("PRAGMA writable_schema = ON"))
    edited = connection.execute(
        sa.text(
            "UPDATE sqlite_master SET sql = replace(sql, :before, :after)"
            " WHERE type = 'table' AND name = 'jobs' AND instr(sql, :before) > 0"
        ),
        {"before": f"CHECK ({before})", "after": f"CHECK ({after})"},
    ).rowcount
    # Every connection, this one as well, reads the schema anew when its version has changed.
    connection.execute(sa.text(f"PRAGMA schema_version = {version + 1}"))
    connection.execute(sa.text("PRAGMA writable_schema = OFF"))
    if edited != 1:
        raise RuntimeError("the table of jobs is not as 0001 made it: its condition ck_jobs_claimable was not found")


def downgrade() -> None:
    op.execute("UPDATE jobs SET waits_for = model WHERE waits_for IS NOT NULL")
    _replace_claimable(CLAIMABLE_WITH_LORA, CLAIMABLE)
    op.drop_column("jobs", "lora")
    op.drop_index("ix_jobs_masks", "jobs")
    op.drop_column("jobs", "mask_key")
    op.drop_column("jobs", "passed_over")
    op.drop_column("jobs", "drawn_mode")
    for table in ("program", "shard_starts", "uploaded_commands", "bots"):
        op.drop_table(table)
