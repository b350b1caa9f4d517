"""The first tables: jobs, pictures, the ledger, members, the queue's clock, pauses, workers, speeds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = ["ledger", "pictures", "jobs", "inputs", "discarded", "members", "virtual_time", "pauses", "workers", "speeds"]
"""Those that refer to others first."""

LEDGER_IS_APPEND_ONLY = {
    "sqlite": [
        f"""
        CREATE TRIGGER ledger_no_{change.lower()} BEFORE {change} ON ledger
        BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END
        """
        for change in ("UPDATE", "DELETE")
    ],
    "postgresql": [
        """
        CREATE FUNCTION ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'the ledger is append-only' USING ERRCODE = 'integrity_constraint_violation'; END $$
        """,
        """
        CREATE TRIGGER ledger_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger
        FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only()
        """,
    ],
}


def upgrade() -> None:
    op.create_table(
        "discarded",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_discarded")),
    )
    op.create_table(
        "inputs",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("stored_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_inputs")),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(length=24), nullable=False),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column("guild_id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("input_key", sa.Text(), nullable=True),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("parent_id", sa.String(length=24), nullable=True),
        sa.Column("parent_position", sa.Integer(), nullable=True),
        sa.Column("cost", sa.BigInteger(), nullable=False),
        sa.Column("units", sa.Double(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("waits_for", sa.Text(), nullable=True),
        sa.Column("start_tag", sa.Double(), nullable=False),
        sa.Column("finish_tag", sa.Double(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("worker_id", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.Double(), nullable=True),
        sa.Column("started_at", sa.Double(), nullable=True),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("cancel_requested", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("steps_done", sa.Integer(), server_default="0", nullable=False),
        sa.Column("steps_total", sa.Integer(), server_default="0", nullable=False),
        sa.Column("preview_key", sa.Text(), nullable=True),
        sa.Column("provider", sa.Text(), nullable=True),
        sa.Column("provider_job_id", sa.Text(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_facts", sa.Text(), nullable=True),
        sa.Column("application_id", sa.BigInteger(), nullable=True),
        sa.Column("channel_id", sa.BigInteger(), nullable=True),
        sa.Column("interaction_token", sa.Text(), nullable=True),
        sa.Column("token_expires_at", sa.Double(), nullable=True),
        sa.Column("message_id", sa.BigInteger(), nullable=True),
        sa.Column("upload_limit", sa.BigInteger(), nullable=True),
        sa.Column("private", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("spoiler", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("delivered_at", sa.Double(), nullable=True),
        sa.Column("undeliverable_at", sa.Double(), nullable=True),
        sa.Column("delivery_attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_delivery_at", sa.Double(), nullable=True),
        sa.Column("delivery_owner", sa.Text(), nullable=True),
        sa.Column("delivery_until", sa.Double(), nullable=True),
        sa.Column("delivery_problem", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(state = 'running') = (lease_until IS NOT NULL) AND (state <> 'running' OR worker_id IS NOT NULL)",
            name=op.f("ck_jobs_running_is_leased"),
        ),
        sa.CheckConstraint(
            "(state IN ('queued', 'running')) = (ended_at IS NULL)", name=op.f("ck_jobs_ended_has_a_time")
        ),
        sa.CheckConstraint("state <> 'succeeded' OR error_code IS NULL", name=op.f("ck_jobs_success_has_no_error")),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'refused')", name=op.f("ck_jobs_state")
        ),
        sa.CheckConstraint(
            "waits_for IS NULL OR (state = 'queued' AND waits_for = model)", name=op.f("ck_jobs_claimable")
        ),
        sa.CheckConstraint("channel_id IS NULL OR application_id IS NOT NULL", name=op.f("ck_jobs_answer_has_a_place")),
        sa.CheckConstraint(
            "cost >= 0 AND units > 0 AND finish_tag > start_tag AND attempts >= 0", name=op.f("ck_jobs_amounts")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
    )
    op.create_index(
        "ix_jobs_claim",
        "jobs",
        ["waits_for", "start_tag", "id", "units"],
        unique=False,
        sqlite_where=sa.text("waits_for IS NOT NULL"),
        postgresql_where=sa.text("waits_for IS NOT NULL"),
    )
    op.create_index("ix_jobs_history", "jobs", ["guild_id", "user_id", "id"], unique=False)
    op.create_index(
        "ix_jobs_inputs",
        "jobs",
        ["input_key"],
        unique=False,
        sqlite_where=sa.text("input_key IS NOT NULL"),
        postgresql_where=sa.text("input_key IS NOT NULL"),
    )
    op.create_index(
        "ix_jobs_outbox",
        "jobs",
        ["state", "id"],
        unique=False,
        sqlite_where=sa.text("channel_id IS NOT NULL AND delivered_at IS NULL AND undeliverable_at IS NULL"),
        postgresql_where=sa.text("channel_id IS NOT NULL AND delivered_at IS NULL AND undeliverable_at IS NULL"),
    )
    op.create_index(
        "ix_jobs_previews",
        "jobs",
        ["id"],
        unique=False,
        sqlite_where=sa.text("preview_key IS NOT NULL AND ended_at IS NOT NULL"),
        postgresql_where=sa.text("preview_key IS NOT NULL AND ended_at IS NOT NULL"),
    )
    op.create_index(
        "ix_jobs_queued",
        "jobs",
        ["guild_id", "user_id", "id"],
        unique=False,
        sqlite_where=sa.text("state = 'queued'"),
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_index(
        "ix_jobs_running",
        "jobs",
        ["guild_id", "user_id", "id"],
        unique=False,
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
    )
    op.create_index(
        "ix_jobs_undeliverable",
        "jobs",
        ["guild_id", "user_id", "id"],
        unique=False,
        sqlite_where=sa.text("undeliverable_at IS NOT NULL"),
        postgresql_where=sa.text("undeliverable_at IS NOT NULL"),
    )
    op.create_index(
        "uq_jobs_key",
        "jobs",
        ["key"],
        unique=True,
        sqlite_where=sa.text("key IS NOT NULL"),
        postgresql_where=sa.text("key IS NOT NULL"),
    )
    op.create_table(
        "members",
        sa.Column("guild_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("weight", sa.Double(), server_default="1", nullable=False),
        sa.Column("allowance", sa.BigInteger(), nullable=True),
        sa.Column("last_finish", sa.Double(), server_default="0", nullable=False),
        sa.CheckConstraint("weight > 0 AND (allowance IS NULL OR allowance >= 0)", name=op.f("ck_members_settings")),
        sa.PrimaryKeyConstraint("guild_id", "user_id", name=op.f("pk_members")),
    )
    op.create_table(
        "pauses",
        sa.Column("guild_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("by_user", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("guild_id", name=op.f("pk_pauses")),
    )
    op.create_table(
        "speeds",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("samples", sa.Integer(), nullable=False),
        sa.Column("units", sa.Double(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("units_squared", sa.Double(), nullable=False),
        sa.Column("units_seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("model", name=op.f("pk_speeds")),
    )
    op.create_table(
        "virtual_time",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_virtual_time_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_virtual_time")),
    )
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
        "ledger",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("guild_id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("purse", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("job_id", sa.String(length=24), nullable=True),
        sa.Column("part", sa.Integer(), server_default="0", nullable=False),
        sa.Column("by_user", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(kind <> 'reserve' OR amount <= 0) AND (kind <> 'settle' OR (amount = 0 AND part = 0))"
            " AND (kind <> 'refund' OR amount >= 0)",
            name=op.f("ck_ledger_sign"),
        ),
        sa.CheckConstraint(
            "(kind IN ('reserve', 'settle', 'refund')) = (job_id IS NOT NULL)", name=op.f("ck_ledger_job")
        ),
        sa.CheckConstraint(
            "kind IN ('allowance', 'grant', 'reserve', 'settle', 'refund')", name=op.f("ck_ledger_kind")
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_ledger_job_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger")),
    )
    op.create_index("ix_ledger_balance", "ledger", ["guild_id", "user_id", "purse", "kind", "amount"], unique=False)
    op.create_index(
        "uq_ledger_outcome",
        "ledger",
        ["job_id", "part"],
        unique=True,
        sqlite_where=sa.text("kind IN ('settle', 'refund')"),
        postgresql_where=sa.text("kind IN ('settle', 'refund')"),
    )
    op.create_index(
        "uq_ledger_reserve",
        "ledger",
        ["job_id", "purse"],
        unique=True,
        sqlite_where=sa.text("kind = 'reserve'"),
        postgresql_where=sa.text("kind = 'reserve'"),
    )
    op.create_table(
        "pictures",
        sa.Column("job_id", sa.String(length=24), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_pictures_job_id")),
        sa.PrimaryKeyConstraint("job_id", "position", name=op.f("pk_pictures")),
        sqlite_with_rowid=False,
    )
    clock = sa.table("virtual_time", sa.column("id", sa.Integer), sa.column("value", sa.Double))
    op.bulk_insert(clock, [{"id": 1, "value": 0.0}])
    for statement in LEDGER_IS_APPEND_ONLY[op.get_bind().dialect.name]:
        op.execute(statement)


def downgrade() -> None:
    for table in TABLES:
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION ledger_is_append_only()")
