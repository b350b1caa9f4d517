"""The tables of the studio, as SQLAlchemy Core sees them. ``migrations/`` creates them; a test holds the two together.

Money is whole thousandths of a credit, or millionths of a dollar where that is said; times are unix seconds. Index
conditions are declared for SQLite and PostgreSQL.
"""

from __future__ import annotations

from typing import Any, cast

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

EVERYWHERE = -1
"""The guild id of a pause that holds for all guilds; Discord's ids are positive, and 0 is outside any guild."""

Serial = sa.BigInteger().with_variant(sa.Integer, "sqlite")
"""SQLite numbers rows by itself only in a column of type INTEGER."""


def _partial(
    name: str, *columns: sa.Column[Any], where: str, postgresql_where: str | None = None, unique: bool = False
) -> None:
    conditions = {"sqlite_where": sa.text(where), "postgresql_where": sa.text(postgresql_where or where)}
    sa.Index(name, *columns, unique=unique, **cast("dict[str, Any]", conditions))


jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.String(24), primary_key=True),
    # What the submitter calls this submit, so that a repeated one finds the job instead of paying again.
    sa.Column("key", sa.Text),
    sa.Column("guild_id", sa.BigInteger, nullable=False),
    sa.Column("user_id", sa.BigInteger, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("request", sa.Text, nullable=False),
    # Of the request's input picture, and of its mask.
    sa.Column("input_key", sa.Text),
    sa.Column("mask_key", sa.Text),
    sa.Column("origin", sa.Text, nullable=False),
    sa.Column("parent_id", sa.String(24)),
    sa.Column("parent_position", sa.Integer),
    sa.Column("cost", sa.BigInteger, nullable=False),
    # Megapixel-steps, less where the mode leaves some out that those drew in who lived when it was submitted: what the
    # estimate multiplies with the measured speed.
    sa.Column("units", sa.Double, nullable=False),
    # In which mode it was drawn, where the one who drew it has several.
    sa.Column("drawn_mode", sa.Text),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    # The LoRA that the request names.
    sa.Column("lora", sa.Text),
    # The skill that it takes (flux_core.skills: the model, and the LoRA behind it), while a worker of ours that has it
    # may claim the job; NULL when it does not wait, or waits in a paused guild, or for a hosted provider alone. So one
    # index holds exactly what can be claimed, and answers alone.
    sa.Column("waits_for", sa.Text),
    # In the virtual time of its guild and lane.
    sa.Column("start_tag", sa.Double, nullable=False),
    sa.Column("finish_tag", sa.Double, nullable=False),
    # Jobs that were taken before it though it was its turn, because their models were at hand.
    sa.Column("passed_over", sa.Integer, nullable=False, server_default="0"),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("worker_id", sa.Text),
    sa.Column("lease_until", sa.Double),
    sa.Column("started_at", sa.Double),
    sa.Column("ended_at", sa.Double),
    sa.Column("cancel_requested", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("steps_done", sa.Integer, nullable=False, server_default="0"),
    sa.Column("steps_total", sa.Integer, nullable=False, server_default="0"),
    sa.Column("preview_key", sa.Text),
    sa.Column("provider", sa.Text),
    sa.Column("provider_job_id", sa.Text),
    sa.Column("error_code", sa.Text),
    sa.Column("error_facts", sa.Text),
    # Where the answer belongs; channel_id is NULL for jobs from the shell.
    sa.Column("application_id", sa.BigInteger),
    sa.Column("channel_id", sa.BigInteger),
    sa.Column("interaction_token", sa.Text),
    sa.Column("token_expires_at", sa.Double),
    sa.Column("message_id", sa.BigInteger),
    sa.Column("upload_limit", sa.BigInteger),
    sa.Column("private", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("spoiler", sa.Boolean, nullable=False, server_default=sa.false()),
    # The outbox.
    sa.Column("delivered_at", sa.Double),
    sa.Column("undeliverable_at", sa.Double),
    sa.Column("delivery_attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("next_delivery_at", sa.Double),
    sa.Column("delivery_owner", sa.Text),
    sa.Column("delivery_until", sa.Double),
    sa.Column("delivery_problem", sa.Text),
    # The model, while a hosted provider may claim the job, as `waits_for` has the skill for our own. Often both.
    sa.Column(
        "waits_hosted",
        sa.Text,
        sa.CheckConstraint(
            "waits_hosted IS NULL OR (state = 'queued' AND waits_hosted = model)", name="claimable_hosted"
        ),
    ),
    # Who may draw it. A job that was submitted to a hosted provider goes back to that one, whatever is said here.
    sa.Column(
        "venue",
        sa.Text,
        sa.CheckConstraint("venue IN ('any', 'local', 'hosted')", name="venue"),
        nullable=False,
        server_default="any",
    ),
    # The hosted provider that the member named, so that others pass the job by without reading its request.
    sa.Column("asked", sa.Text),
    # After a transient fault: until when no hosted provider is asked again.
    sa.Column("rests_until", sa.Double),
    # JSON list: the providers that failed on it.
    sa.Column("tried", sa.Text),
    # JSON list of {"code", "facts"}.
    sa.Column("remarks", sa.Text),
    sa.Column("microdollars", sa.BigInteger),
    # What retention has left: all, the words without the pictures, or nothing that says anything of the member.
    sa.Column(
        "kept",
        sa.Text,
        sa.CheckConstraint("kept IN ('all', 'words', 'nothing')", name="kept"),
        nullable=False,
        server_default="all",
    ),
    # 0: paid from an allowance or from granted credits; 1: relaxed, drawn when nothing of lane 0 waits.
    sa.Column(
        "lane", sa.Integer, sa.CheckConstraint("lane IN (0, 1)", name="lane"), nullable=False, server_default="0"
    ),
    # What it takes of the workers, in thousandths of a credit: its cost, also where nothing is charged.
    sa.Column("price", sa.BigInteger, nullable=False, server_default="0"),
    # Why it waits without being claimed, besides pauses: 'approval'. It stays so where the job ends without one.
    sa.Column("held", sa.Text, sa.CheckConstraint("held IS NULL OR held = 'approval'", name="held")),
    # Whether it was asked for in an age-restricted channel.
    sa.Column("age_restricted", sa.Boolean, nullable=False, server_default=sa.false()),
    # Whether its member wants a direct message when it has been delivered.
    sa.Column("notify", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.CheckConstraint("state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'refused')", name="state"),
    sa.CheckConstraint(
        "(state = 'running') = (lease_until IS NOT NULL) AND (state <> 'running' OR worker_id IS NOT NULL)",
        name="running_is_leased",
    ),
    sa.CheckConstraint("(state IN ('queued', 'running')) = (ended_at IS NULL)", name="ended_has_a_time"),
    # By its model alone: so do programs before 0005, which know nothing of LoRAs.
    sa.CheckConstraint(
        "waits_for IS NULL OR (state = 'queued' AND "
        "(waits_for = model OR (lora IS NOT NULL AND waits_for = model || ' ' || lora)))",
        name="claimable",
    ),
    sa.CheckConstraint("state <> 'succeeded' OR error_code IS NULL", name="success_has_no_error"),
    sa.CheckConstraint("cost >= 0 AND units > 0 AND finish_tag > start_tag AND attempts >= 0", name="amounts"),
    sa.CheckConstraint("channel_id IS NULL OR application_id IS NOT NULL", name="answer_has_a_place"),
)
_job = jobs.c
# A claim steps from guild to guild through this index, per skill and lane, and then to the first job of one of them;
# `price` and `units` let the estimate be answered from it alone.
_partial(
    "ix_jobs_claim",
    *(_job.waits_for, _job.lane, _job.guild_id, _job.start_tag, _job.id, _job.price, _job.units),
    where="waits_for IS NOT NULL",
)
# The same for hosted providers, with what they need to pass by the jobs that are better left to others. SQLite reads
# an index alone only when it has the columns of its condition, too.
_partial(
    "ix_jobs_hosted",
    *(_job.waits_hosted, _job.lane, _job.guild_id, _job.start_tag, _job.id, _job.waits_for, _job.asked),
    *(_job.rests_until, _job.units, _job.price, _job.provider_job_id),
    where="waits_hosted IS NOT NULL AND provider_job_id IS NULL",
)
# Waiting to go on where they were submitted.
_partial(
    "ix_jobs_bound", _job.provider, _job.start_tag, _job.id, where="state = 'queued' AND provider_job_id IS NOT NULL"
)
_partial("ix_jobs_queued", _job.guild_id, _job.user_id, _job.id, where="state = 'queued'")
# Without the lease, which every heartbeat moves: few jobs run, so looking through them all for expired ones is cheap.
_partial("ix_jobs_running", _job.guild_id, _job.user_id, _job.id, where="state = 'running'")
sa.Index("ix_jobs_history", _job.guild_id, _job.user_id, _job.id)
sa.Index("ix_jobs_usage", _job.guild_id, _job.created_at)
_partial(
    "ix_jobs_outbox", _job.state, _job.id,
    where="channel_id IS NOT NULL AND delivered_at IS NULL AND undeliverable_at IS NULL",
)  # fmt: skip
_partial("ix_jobs_undeliverable", _job.guild_id, _job.user_id, _job.id, where="undeliverable_at IS NOT NULL")
_partial("ix_jobs_previews", _job.id, where="preview_key IS NOT NULL AND ended_at IS NOT NULL")
_partial("ix_jobs_inputs", _job.input_key, where="input_key IS NOT NULL")
_partial("ix_jobs_masks", _job.mask_key, where="mask_key IS NOT NULL")
_partial("ix_jobs_kept", _job.kept, _job.ended_at, where="ended_at IS NOT NULL AND kept <> 'nothing'")
_partial("uq_jobs_key", _job.key, where="key IS NOT NULL", unique=True)

pictures = sa.Table(
    "pictures",
    metadata,
    sa.Column("job_id", sa.String(24), sa.ForeignKey("jobs.id"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    # NULL once it was deleted.
    sa.Column("key", sa.Text),
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("height", sa.Integer, nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("content_type", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    # How sure the output check was that it is not for everybody, 0 to 1; NULL: it was not looked at.
    sa.Column("unsafe", sa.Double),
    sqlite_with_rowid=False,
)

inputs = sa.Table(
    "inputs",
    metadata,
    # Uploaded pictures, named by their contents.
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("stored_at", sa.Double, nullable=False),
)

discarded = sa.Table(
    "discarded",
    metadata,
    # Keys in the picture store that nothing refers to any more: written with the change that made them so.
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("since", sa.Double, nullable=False),
)

ledger = sa.Table(
    "ledger",
    metadata,
    sa.Column("id", Serial, primary_key=True),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("guild_id", sa.BigInteger, nullable=False),
    sa.Column("user_id", sa.BigInteger, nullable=False),
    sa.Column("purse", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("job_id", sa.String(24), sa.ForeignKey("jobs.id")),
    # A job paid from several purses has one row for each, counted from 0. A settlement has part 0 alone, and a refund
    # has part 0 at least, so the unique index over (job, part) allows one of them, once.
    sa.Column("part", sa.Integer, nullable=False, server_default="0"),
    sa.Column("by_user", sa.BigInteger),
    sa.Column("reason", sa.Text),
    # The period of the guild's pool that the amount counts towards.
    sa.Column("pool", sa.Text),
    sa.CheckConstraint("kind IN ('allowance', 'grant', 'reserve', 'settle', 'refund')", name="kind"),
    sa.CheckConstraint("(kind IN ('reserve', 'settle', 'refund')) = (job_id IS NOT NULL)", name="job"),
    sa.CheckConstraint(
        "(kind <> 'reserve' OR amount <= 0) AND (kind <> 'settle' OR (amount = 0 AND part = 0))"
        " AND (kind <> 'refund' OR amount >= 0)",
        name="sign",
    ),
)
_row = ledger.c
# Covers the balance: it is read from the index alone.
sa.Index("ix_ledger_balance", _row.guild_id, _row.user_id, _row.purse, _row.kind, _row.amount)
_partial("uq_ledger_reserve", _row.job_id, _row.purse, where="kind = 'reserve'", unique=True)
_partial("uq_ledger_outcome", _row.job_id, _row.part, where="kind IN ('settle', 'refund')", unique=True)

members = sa.Table(
    "members",
    metadata,
    sa.Column("guild_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("user_id", sa.BigInteger, primary_key=True, autoincrement=False),
    # JSON: what is set for this member alone.
    sa.Column("limits", sa.Text),
    # Most jobs drawn at the same time, as it was when the last one was submitted; NULL: no limit.
    sa.Column("most_running", sa.Integer),
    # JSON list: the ids of the roles that the member had then.
    sa.Column("roles", sa.Text),
    # The finish tag of the last job submitted, in each lane: where the member's next turn starts.
    sa.Column("last_finish", sa.Double, nullable=False, server_default="0"),
    sa.Column("last_relaxed", sa.Double, nullable=False, server_default="0"),
)

guilds = sa.Table(
    "guilds",
    metadata,
    sa.Column("guild_id", sa.BigInteger, primary_key=True, autoincrement=False),
    # Where the guild's next turn among the guilds starts.
    sa.Column("finish", sa.Double, nullable=False, server_default="0"),
    # The largest start tag claimed of its jobs, in each lane.
    sa.Column("fast", sa.Double, nullable=False, server_default="0"),
    sa.Column("relaxed", sa.Double, nullable=False, server_default="0"),
)

pools = sa.Table(
    "pools",
    metadata,
    # What the members of a guild spent of their allowances in a period, together: the ledger's sum, kept at hand.
    sa.Column("guild_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("period", sa.Text, primary_key=True),
    sa.Column("spent", sa.BigInteger, nullable=False),
)

preferences = sa.Table(
    "preferences",
    metadata,
    sa.Column("guild_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("user_id", sa.BigInteger, primary_key=True, autoincrement=False),
    # JSON: what a member has set with /settings.
    sa.Column("given", sa.Text, nullable=False),
)

bans = sa.Table(
    "bans",
    metadata,
    sa.Column("guild_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("user_id", sa.BigInteger, primary_key=True, autoincrement=False),
    # NULL: until somebody lifts it.
    sa.Column("until", sa.Double),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("by_user", sa.BigInteger, nullable=False),
    sa.Column("since", sa.Double, nullable=False),
)

audit = sa.Table(
    "audit",
    metadata,
    # What moderators changed: written with the change, never altered.
    sa.Column("id", Serial, primary_key=True),
    sa.Column("at", sa.Double, nullable=False),
    # EVERYWHERE for what the owner does to all guilds.
    sa.Column("guild_id", sa.BigInteger, nullable=False),
    sa.Column("by_user", sa.BigInteger, nullable=False),
    # Such as "quota grant": the command without its group.
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("target_user", sa.BigInteger),
    # JSON object.
    sa.Column("facts", sa.Text, nullable=False),
)
sa.Index("ix_audit_guild", audit.c.guild_id, audit.c.id)

reviews = sa.Table(
    "reviews",
    metadata,
    # What moderators are asked to look at: jobs that wait for approval, and results that members reported.
    sa.Column("id", sa.String(24), primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("guild_id", sa.BigInteger, nullable=False),
    sa.Column("job_id", sa.String(24), sa.ForeignKey("jobs.id"), nullable=False),
    # Who reported it.
    sa.Column("by_user", sa.BigInteger),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("opened_at", sa.Double, nullable=False),
    # NULL: still open.
    sa.Column("verdict", sa.Text),
    sa.Column("decided_by", sa.BigInteger),
    sa.Column("decided_at", sa.Double),
    # The moderators' message, once it was posted.
    sa.Column("channel_id", sa.BigInteger),
    sa.Column("message_id", sa.BigInteger),
    # Whether the message tells the verdict.
    sa.Column("told", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("next_at", sa.Double, nullable=False, server_default="0"),
    # Why the last attempt to post it failed.
    sa.Column("problem", sa.Text),
    sa.CheckConstraint("kind IN ('approval', 'report')", name="kind"),
    sa.CheckConstraint("(kind = 'report') = (by_user IS NOT NULL)", name="reporter"),
    sa.CheckConstraint("(verdict IS NULL) = (decided_at IS NULL)", name="decided"),
)
_review = reviews.c
sa.Index("ix_reviews_job", _review.job_id)
_partial("ix_reviews_untold", _review.id, where="told = false", postgresql_where="NOT told")
_partial("ix_reviews_open", _review.guild_id, _review.id, where="verdict IS NULL")
_partial("uq_reviews_approval", _review.job_id, where="kind = 'approval'", unique=True)
_partial("uq_reviews_report", _review.job_id, _review.by_user, where="kind = 'report'", unique=True)

removals = sa.Table(
    "removals",
    metadata,
    # Messages of the bot's own that are to be deleted.
    sa.Column("channel_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("message_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("guild_id", sa.BigInteger, nullable=False),
    sa.Column("since", sa.Double, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("next_at", sa.Double, nullable=False, server_default="0"),
)

batches = sa.Table(
    "batches",
    metadata,
    # What pictures drawn at once were seen to take, over the drawings measured lately.
    sa.Column("device", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, primary_key=True),
    # Half octaves of the pixels of one picture: small pictures gain more from company than large ones.
    sa.Column("scale", sa.Integer, primary_key=True, autoincrement=False),
    # Pictures drawn at once.
    sa.Column("pictures", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("samples", sa.Integer, nullable=False),
    # Running mean of seconds per megapixel-step.
    sa.Column("pace", sa.Double, nullable=False),
)

virtual_time = sa.Table(
    "virtual_time",
    metadata,
    # One row: the largest start of a guild's turn claimed so far.
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("value", sa.Double, nullable=False),
    sa.CheckConstraint("id = 1", name="one_row"),
)

pauses = sa.Table(
    "pauses",
    metadata,
    sa.Column("guild_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("by_user", sa.BigInteger, nullable=False),
    sa.Column("since", sa.Double, nullable=False),
    # Whether what waits is still drawn, and only new jobs are refused.
    sa.Column("drains", sa.Boolean, nullable=False, server_default=sa.false()),
)

workers = sa.Table(
    "workers",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("pid", sa.BigInteger, nullable=False),
    sa.Column("device", sa.Text, nullable=False),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("hosted", sa.Boolean, nullable=False),
    # JSON: model id → offer.
    sa.Column("offers", sa.Text, nullable=False),
    # Why it takes no jobs at the moment.
    sa.Column("closed", sa.Text),
    sa.Column("slots", sa.Integer, nullable=False),
    sa.Column("links", sa.Boolean, nullable=False),
    # Millionths of a dollar a day; NULL: no limit.
    sa.Column("money_cap", sa.BigInteger),
    sa.Column("started_at", sa.Double, nullable=False),
    sa.Column("seen_at", sa.Double, nullable=False),
)

bots = sa.Table(
    "bots",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("application_id", sa.BigInteger, nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("pid", sa.BigInteger, nullable=False),
    # JSON: the ids of the shards that it keeps.
    sa.Column("shards", sa.Text, nullable=False),
    sa.Column("shard_count", sa.Integer, nullable=False),
    sa.Column("started_at", sa.Double, nullable=False),
    sa.Column("seen_at", sa.Double, nullable=False),
)

uploaded_commands = sa.Table(
    "uploaded_commands",
    metadata,
    # Which commands Discord was told last, so that one bot tells it once.
    sa.Column("application_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("api", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, nullable=False),
    # JSON: the ids that Discord gave them.
    sa.Column("ids", sa.Text, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
)

shard_starts = sa.Table(
    "shard_starts",
    metadata,
    # Discord lets so many shards identify at once, one for each turn: shard id modulo max_concurrency.
    sa.Column("application_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("turn", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("free_at", sa.Double, nullable=False),
)

program = sa.Table(
    "program",
    metadata,
    # One row: the oldest revision of the database whose program may still run on this one.
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("oldest_revision", sa.Text, nullable=False),
    sa.CheckConstraint("id = 1", name="one_row"),
)

speeds = sa.Table(
    "speeds",
    metadata,
    sa.Column("provider", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, primary_key=True),
    # Running means over the jobs measured: n, E[u], E[s], E[u²], E[us] for u megapixel-steps drawn in s seconds.
    sa.Column("samples", sa.Integer, nullable=False),
    sa.Column("units", sa.Double, nullable=False),
    sa.Column("seconds", sa.Double, nullable=False),
    sa.Column("units_squared", sa.Double, nullable=False),
    sa.Column("units_seconds", sa.Double, nullable=False),
)

spending = sa.Table(
    "spending",
    metadata,
    # What a job costs at a hosted provider: expected when it is claimed, real when it ended.
    sa.Column("job_id", sa.String(24), sa.ForeignKey("jobs.id"), primary_key=True),
    sa.Column("provider", sa.Text, primary_key=True),
    sa.Column("guild_id", sa.BigInteger, nullable=False),
    # As 2026-11-21, in the operator's zone: whose cap it counts towards.
    sa.Column("day", sa.Text, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("microdollars", sa.BigInteger, nullable=False),
    sa.CheckConstraint("microdollars >= 0", name="amount"),
)
# A day's sums are read from the index alone.
sa.Index("ix_spending_day", spending.c.day, spending.c.provider, spending.c.microdollars)

sa.Index("ix_spending_guild", spending.c.guild_id, spending.c.day, spending.c.microdollars)

policies = sa.Table(
    "policies",
    metadata,
    sa.Column("guild_id", sa.BigInteger, primary_key=True, autoincrement=False),
    # JSON: what the community has decided (flux_core.policy.guild).
    sa.Column("policy", sa.Text, nullable=False),
    sa.Column("by_user", sa.BigInteger, nullable=False),
    sa.Column("since", sa.Double, nullable=False),
)
