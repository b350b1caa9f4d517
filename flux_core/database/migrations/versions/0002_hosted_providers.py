"""Hosted providers: who may draw a job and who failed on it, what each provider offers, and what it cost.

Columns are added by statements of our own: with a named condition on it, Alembic would rebuild the table in SQLite.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

JOB_COLUMNS = {
    "waits_hosted": (
        "TEXT CONSTRAINT ck_jobs_claimable_hosted"
        " CHECK (waits_hosted IS NULL OR (state = 'queued' AND waits_hosted = model))"
    ),
    "venue": "TEXT DEFAULT 'any' NOT NULL CONSTRAINT ck_jobs_venue CHECK (venue IN ('any', 'local', 'hosted'))",
    "asked": "TEXT",
    "tried": "TEXT",
    "remarks": "TEXT",
    "microdollars": "BIGINT",
}
HOSTED = "waits_hosted IS NOT NULL AND provider_job_id IS NULL"
BOUND = "state = 'queued' AND provider_job_id IS NOT NULL"


def upgrade() -> None:
    for name, definition in JOB_COLUMNS.items():
        op.execute(f"ALTER TABLE jobs ADD COLUMN {name} {definition}")
    op.add_column("jobs", sa.Column("rests_until", sa.Double()))
    op.execute("UPDATE jobs SET waits_hosted = waits_for WHERE waits_for IS NOT NULL")
    op.create_index(
        "ix_jobs_hosted",
        "jobs",
        [
            *("waits_hosted", "start_tag", "id", "guild_id", "waits_for", "asked", "rests_until", "units"),
            "provider_job_id",
        ],
        unique=False,
        sqlite_where=sa.text(HOSTED),
        postgresql_where=sa.text(HOSTED),
    )
    op.create_index(
        "ix_jobs_bound",
        "jobs",
        ["provider", "start_tag", "id"],
        unique=False,
        sqlite_where=sa.text(BOUND),
        postgresql_where=sa.text(BOUND),
    )
    # Workers introduce themselves anew, and speeds are measured anew: now for each provider.
    op.drop_table("workers")
    op.create_table(
        "workers",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.BigInteger(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("hosted", sa.Boolean(), nullable=False),
        sa.Column("offers", sa.Text(), nullable=False),
        sa.Column("closed", sa.Text(), nullable=True),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("links", sa.Boolean(), nullable=False),
        sa.Column("money_cap", sa.BigInteger(), nullable=True),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
    )
    op.drop_table("speeds")
    op.create_table(
        "speeds",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        *_means(),
        sa.PrimaryKeyConstraint("provider", "model", name=op.f("pk_speeds")),
    )
    op.create_table(
        "spending",
        sa.Column("job_id", sa.String(length=24), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("guild_id", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("microdollars", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("microdollars >= 0", name=op.f("ck_spending_amount")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_spending_job_id")),
        sa.PrimaryKeyConstraint("job_id", "provider", name=op.f("pk_spending")),
    )
    op.create_index("ix_spending_day", "spending", ["day", "provider", "microdollars"], unique=False)
    op.create_table(
        "routing",
        sa.Column("guild_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("by_user", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("guild_id", name=op.f("pk_routing")),
    )


def _means() -> list[sa.Column[object]]:
    return [
        sa.Column("samples", sa.Integer(), nullable=False),
        *(
            sa.Column(name, sa.Double(), nullable=False)
            for name in ("units", "seconds", "units_squared", "units_seconds")
        ),
    ]


def downgrade() -> None:
    for table in ("routing", "spending", "speeds", "workers"):
        op.drop_table(table)
    for index in ("ix_jobs_bound", "ix_jobs_hosted"):
        op.drop_index(index, "jobs")
    for name in ("rests_until", *reversed(JOB_COLUMNS)):
        op.execute(f"ALTER TABLE jobs DROP COLUMN {name}")
    op.create_table(
        "workers",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.BigInteger(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("models", sa.Text(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
    )
    op.create_table(
        "speeds",
        sa.Column("model", sa.Text(), nullable=False),
        *_means(),
        sa.PrimaryKeyConstraint("model", name=op.f("pk_speeds")),
    )
