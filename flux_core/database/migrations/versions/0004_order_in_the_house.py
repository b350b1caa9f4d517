"""Order in the house: policies, lanes, turns of guilds, bans, audit, reviews, and what members set for themselves."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

JOB_COLUMNS = {
    "lane": "INTEGER DEFAULT '0' NOT NULL CONSTRAINT ck_jobs_lane CHECK (lane IN (0, 1))",
    "price": "BIGINT DEFAULT '0' NOT NULL",
    "held": "TEXT CONSTRAINT ck_jobs_held CHECK (held IS NULL OR held = 'approval')",
}
HOSTED = "waits_hosted IS NOT NULL AND provider_job_id IS NULL"
OLD_CLAIM = ["waits_for", "start_tag", "id", "units"]
NEW_CLAIM = ["waits_for", "lane", "guild_id", "start_tag", "id", "price", "units"]
OLD_HOSTED = [
    *("waits_hosted", "start_tag", "id", "guild_id", "waits_for", "asked", "rests_until", "units", "provider_job_id"),
]
NEW_HOSTED = [
    *("waits_hosted", "lane", "guild_id", "start_tag", "id", "waits_for", "asked", "rests_until", "units", "price"),
    "provider_job_id",
]
NEW_TABLES = ("batches", "removals", "reviews", "audit", "bans", "preferences", "pools", "guilds", "policies")
LEAST_SECONDS = 30 * 24 * 3600
"""How long nobody can delete an entry of the audit log: whoever would hide something is found out first."""
AUDIT_IS_APPEND_ONLY = {
    "sqlite": [
        "CREATE TRIGGER audit_no_UPDATE BEFORE UPDATE ON audit"
        " BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END",
        "CREATE TRIGGER audit_no_DELETE BEFORE DELETE ON audit"
        f" WHEN OLD.at > CAST(strftime('%s', 'now') AS REAL) - {LEAST_SECONDS}"
        " BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END",
    ],
    "postgresql": [
        "CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'the audit log is append-only'"
        " USING ERRCODE = 'integrity_constraint_violation'; END $$",
        "CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit FOR EACH ROW EXECUTE FUNCTION audit_is_append_only()",
        "CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit FOR EACH ROW"
        f" WHEN (OLD.at > extract(epoch FROM now()) - {LEAST_SECONDS}) EXECUTE FUNCTION audit_is_append_only()",
    ],
}


def upgrade() -> None:
    _jobs()
    _members()
    op.add_column("ledger", sa.Column("pool", sa.Text()))
    op.add_column("pictures", sa.Column("unsafe", sa.Double()))
    op.add_column("pauses", sa.Column("drains", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_index("ix_spending_guild", "spending", ["guild_id", "day", "microdollars"], unique=False)
    _policies()
    _guilds()
    _accounts()
    _reviews()
    op.create_table(
        "batches",
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("scale", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("pictures", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("samples", sa.Integer(), nullable=False),
        sa.Column("pace", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("device", "model", "scale", "pictures", name=op.f("pk_batches")),
    )
    for statement in AUDIT_IS_APPEND_ONLY[op.get_bind().dialect.name]:
        op.execute(statement)


def _claim_index(columns: list[str]) -> None:
    condition = sa.text("waits_for IS NOT NULL")
    op.create_index("ix_jobs_claim", "jobs", columns, unique=False, sqlite_where=condition, postgresql_where=condition)


def _hosted_index(columns: list[str]) -> None:
    condition = sa.text(HOSTED)
    op.create_index("ix_jobs_hosted", "jobs", columns, unique=False, sqlite_where=condition, postgresql_where=condition)


def _jobs() -> None:
    op.drop_index("ix_jobs_claim", "jobs")
    op.drop_index("ix_jobs_hosted", "jobs")
    for name, definition in JOB_COLUMNS.items():
        op.execute(f"ALTER TABLE jobs ADD COLUMN {name} {definition}")
    for name in ("age_restricted", "notify"):
        op.add_column("jobs", sa.Column(name, sa.Boolean(), server_default=sa.false(), nullable=False))
    op.execute("UPDATE jobs SET price = cost")
    _claim_index(NEW_CLAIM)
    _hosted_index(NEW_HOSTED)
    op.create_index("ix_jobs_usage", "jobs", ["guild_id", "created_at"], unique=False)


def _members() -> None:
    bind = op.get_bind()
    rows = bind.execute(sa.text("SELECT guild_id, user_id, weight, allowance, last_finish FROM members")).all()
    op.drop_table("members")
    op.create_table(
        "members",
        sa.Column("guild_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("limits", sa.Text(), nullable=True),
        sa.Column("most_running", sa.Integer(), nullable=True),
        sa.Column("roles", sa.Text(), nullable=True),
        sa.Column("last_finish", sa.Double(), server_default="0", nullable=False),
        sa.Column("last_relaxed", sa.Double(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("guild_id", "user_id", name=op.f("pk_members")),
    )
    moved = [
        {"guild": row.guild_id, "user": row.user_id, "limits": _limits(row), "finish": row.last_finish} for row in rows
    ]
    if moved:
        bind.execute(
            sa.text(
                "INSERT INTO members (guild_id, user_id, limits, last_finish) VALUES (:guild, :user, :limits, :finish)"
            ),
            moved,
        )


def _limits(row: Any) -> str | None:
    own: dict[str, Any] = {}
    if row.weight != 1:
        own["weight"] = min(max(row.weight, 0.01), 100.0)
    if row.allowance is not None:
        own |= {"credits": min(row.allowance / 1000, 1_000_000.0), "renewal": {"every": "day"}}
    return json.dumps(own) if own else None


def _policies() -> None:
    op.create_table(
        "policies",
        sa.Column("guild_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("by_user", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("guild_id", name=op.f("pk_policies")),
    )
    bind = op.get_bind()
    rows = bind.execute(sa.text("SELECT guild_id, policy, by_user, since FROM routing")).all()
    moved = [
        {"guild": row.guild_id, "policy": json.dumps({"routing": json.loads(row.policy)}), "by": row.by_user}
        | {"since": row.since}
        for row in rows
    ]
    if moved:
        bind.execute(
            sa.text("INSERT INTO policies (guild_id, policy, by_user, since) VALUES (:guild, :policy, :by, :since)"),
            moved,
        )
    op.drop_table("routing")


def _guilds() -> None:
    op.create_table(
        "guilds",
        sa.Column("guild_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("finish", sa.Double(), server_default="0", nullable=False),
        sa.Column("fast", sa.Double(), server_default="0", nullable=False),
        sa.Column("relaxed", sa.Double(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("guild_id", name=op.f("pk_guilds")),
    )
    # Turns were counted in one virtual time for all; each guild goes on from there in its own.
    op.execute(
        "INSERT INTO guilds (guild_id, finish, fast)"
        " SELECT guild_id, 0, (SELECT value FROM virtual_time)"
        " FROM (SELECT guild_id FROM members UNION SELECT guild_id FROM jobs) AS known"
    )
    op.create_table(
        "pools",
        sa.Column("guild_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("spent", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("guild_id", "period", name=op.f("pk_pools")),
    )


def _accounts() -> None:
    op.create_table(
        "preferences",
        sa.Column("guild_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("given", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("guild_id", "user_id", name=op.f("pk_preferences")),
    )
    op.create_table(
        "bans",
        sa.Column("guild_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("until", sa.Double(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("by_user", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("guild_id", "user_id", name=op.f("pk_bans")),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("guild_id", sa.BigInteger(), nullable=False),
        sa.Column("by_user", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("target_user", sa.BigInteger(), nullable=True),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index("ix_audit_guild", "audit", ["guild_id", "id"], unique=False)


def _reviews() -> None:
    op.create_table(
        "reviews",
        sa.Column("id", sa.String(length=24), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("guild_id", sa.BigInteger(), nullable=False),
        sa.Column("job_id", sa.String(length=24), nullable=False),
        sa.Column("by_user", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.Double(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=True),
        sa.Column("decided_by", sa.BigInteger(), nullable=True),
        sa.Column("decided_at", sa.Double(), nullable=True),
        sa.Column("channel_id", sa.BigInteger(), nullable=True),
        sa.Column("message_id", sa.BigInteger(), nullable=True),
        sa.Column("told", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_at", sa.Double(), server_default="0", nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.CheckConstraint("kind IN ('approval', 'report')", name=op.f("ck_reviews_kind")),
        sa.CheckConstraint("(kind = 'report') = (by_user IS NOT NULL)", name=op.f("ck_reviews_reporter")),
        sa.CheckConstraint("(verdict IS NULL) = (decided_at IS NULL)", name=op.f("ck_reviews_decided")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_reviews_job_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reviews")),
    )
    op.create_index("ix_reviews_job", "reviews", ["job_id"], unique=False)
    for name, columns, condition, unique in (
        ("ix_reviews_open", ["guild_id", "id"], "verdict IS NULL", False),
        ("uq_reviews_approval", ["job_id"], "kind = 'approval'", True),
        ("uq_reviews_report", ["job_id", "by_user"], "kind = 'report'", True),
    ):
        where = sa.text(condition)
        op.create_index(name, "reviews", columns, unique=unique, sqlite_where=where, postgresql_where=where)
    op.create_index(
        "ix_reviews_untold",
        "reviews",
        ["id"],
        unique=False,
        sqlite_where=sa.text("told = false"),
        postgresql_where=sa.text("NOT told"),
    )
    op.create_table(
        "removals",
        sa.Column("channel_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("message_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("guild_id", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_at", sa.Double(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("channel_id", "message_id", name=op.f("pk_removals")),
    )


def downgrade() -> None:
    op.create_table(
        "routing",
        sa.Column("guild_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("by_user", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("guild_id", name=op.f("pk_routing")),
    )
    for table in NEW_TABLES:
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION audit_is_append_only()")
    op.drop_index("ix_spending_guild", "spending")
    op.drop_column("pauses", "drains")
    op.drop_column("pictures", "unsafe")
    op.drop_column("ledger", "pool")
    op.drop_table("members")
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
    for index in ("ix_jobs_usage", "ix_jobs_hosted", "ix_jobs_claim"):
        op.drop_index(index, "jobs")
    for name in ("notify", "age_restricted", *reversed(JOB_COLUMNS)):
        op.execute(f"ALTER TABLE jobs DROP COLUMN {name}")
    _claim_index(OLD_CLAIM)
    _hosted_index(OLD_HOSTED)
