"""Everything about an account that decides whether it may submit and when its turn is, in two looks.

What the account may do has to be known before its purses can be named, so the first look reads what was decided for it,
and the second what it has.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database import locks, policies
from flux_core.database import members as own
from flux_core.database.routines import Direct
from flux_core.database.tables import EVERYWHERE, bans, guilds, jobs, ledger, members, pauses, pools, virtual_time
from flux_core.database.tables import policies as kept
from flux_core.errors import RulesUnreadable
from flux_core.jobs import SHELL_ACCOUNT, Account, Lane
from flux_core.policy.entitlement import Entitlement, entitled
from flux_core.policy.guild import NOTHING_DECIDED, GuildPolicy, Renewal, millicredits
from flux_core.quota import BEHIND_GRANTED, GRANTED, ROLLING, UTC, Period, Purse, QuotaRules, expiry_of, period_at

UNLIMITED = Entitlement(
    allowance=10**15,
    renewal=Renewal(),
    zone=UTC,
    weight=1.0,
    max_waiting=10_000,
    max_running=None,
    max_megapixels=None,
    max_count=None,
    models=None,
)
"""What the operator may do from the shell."""


class Versions(NamedTuple):
    """What was seen, for ``locks.UNCHANGED``."""

    house_version: str
    member_version: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """An account as the database knows it; money in thousandths of a credit."""

    policy: GuildPolicy
    entitlement: Entitlement
    banned: tuple[str, float | None] | None
    """Why, and until when."""
    paused: tuple[str, bool] | None
    """Why no job may be submitted, and whether those that wait are drawn all the same."""
    virtual_time: dict[Lane, float]
    """Of the guild."""
    guild_known: bool
    """Whether the guild has a row."""
    known: bool
    """Whether the member has a row."""
    last_finish: dict[Lane, float]
    waiting: int
    running: int
    last_order: float | None
    """When the account's last job was submitted."""
    submitted: str | None
    """The job that was submitted with the same key before."""
    was_limited: bool
    """Whether the account had a limit of running jobs when it submitted last."""
    period: Period
    topped_up: int
    """What the period's purse has not received of the allowance; 0 for a rolling one."""
    spent: int
    """Of the allowance in this period."""
    purses: tuple[Purse, ...]
    """The allowance's first, then granted credits that have not expired."""
    rolling_back_at: float | None
    """When the next part of a rolling allowance comes back; None: nothing of it is spent."""
    pool: Period | None
    """The period of the guild's pool, where it has one."""
    pool_left: int | None
    seen: Versions | None = None

    @property
    def shares_with_guild(self) -> bool:
        """Whether the account's next job changes what is the whole guild's."""
        return self.pool is not None or not self.guild_known


def _mine(table: sa.Table) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.guild_id == bindparam("guild"), table.c.user_id == bindparam("user"))


def _count(state: str) -> sa.ScalarSelect[Any]:
    of_account = sa.select(sa.func.count()).select_from(jobs).where(_mine(jobs))
    return of_account.where(jobs.c.state == sa.literal_column(f"'{state}'")).scalar_subquery()


_PAUSE = (
    sa.select(pauses.c.reason, pauses.c.drains, pauses.c.guild_id)
    .where(pauses.c.guild_id.in_([bindparam("guild"), sa.literal_column(str(EVERYWHERE))]))
    .order_by(pauses.c.drains, pauses.c.guild_id)  # one that holds what waits says more than one that drains
    .limit(1)
    .subquery("pause")
)
_BAN = (
    sa.select(bans.c.reason, bans.c.until)
    .where(_mine(bans), sa.or_(bans.c.until.is_(None), bans.c.until > bindparam("now")))
    .subquery("ban")
)
_LAST_ORDER = sa.select(jobs.c.created_at).where(_mine(jobs)).order_by(jobs.c.id.desc()).limit(1).scalar_subquery()
_ACCOUNT = sa.select(
    guilds.c.guild_id.label("guild_row"),
    guilds.c.fast,
    guilds.c.relaxed,
    members.c.user_id.label("member_row"),
    members.c.limits,
    members.c.most_running,
    members.c.last_finish,
    members.c.last_relaxed,
    kept.c.policy,
    _PAUSE.c.reason.label("pause_reason"),
    _PAUSE.c.drains,
    _BAN.c.reason.label("ban_reason"),
    _BAN.c.until.label("ban_until"),
    _count("queued").label("waiting"),
    _count("running").label("running"),
    _LAST_ORDER.label("last_order"),
    sa.select(jobs.c.id).where(jobs.c.key == bindparam("key")).scalar_subquery().label("submitted"),
).select_from(
    virtual_time.outerjoin(guilds, guilds.c.guild_id == bindparam("guild"))
    .outerjoin(members, _mine(members))
    .outerjoin(kept, kept.c.guild_id == bindparam("guild"))
    .outerjoin(_PAUSE, sa.true())
    .outerjoin(_BAN, sa.true())
)
_SUMS = (
    sa.select(
        ledger.c.purse,
        sa.func.sum(ledger.c.amount).label("amount"),
        sa.func.sum(sa.case((ledger.c.kind == "allowance", ledger.c.amount), else_=0)).label("posted"),
    )
    .where(_mine(ledger))
    .group_by(ledger.c.purse)
)
# Two steps into the index; one condition that joins them with OR would walk through all of the account's rows.
_PURSES = sa.union_all(
    _SUMS.where(ledger.c.purse == bindparam("of_period")),
    _SUMS.where(ledger.c.purse >= GRANTED, ledger.c.purse < BEHIND_GRANTED),
)
_refund = ledger.alias("refund")
_BACK = (
    sa.select(sa.func.coalesce(sa.func.sum(_refund.c.amount), 0))
    .where(_refund.c.job_id == ledger.c.job_id, _refund.c.part == ledger.c.part)
    # As literals, like the condition of the index; what was settled amounts to nothing.
    .where(_refund.c.kind.in_([sa.literal_column("'settle'"), sa.literal_column("'refund'")]))
    .scalar_subquery()
)
_ROLLING = (
    sa.select(ledger.c.at, ledger.c.kind, ledger.c.amount, _BACK.label("back"))
    .where(_mine(ledger), ledger.c.purse == ROLLING, ledger.c.kind.in_(["reserve", "grant"]))
    .where(ledger.c.at > bindparam("since"))
    .order_by(ledger.c.at)
)
_POOL = sa.select(pools.c.spent).where(pools.c.guild_id == bindparam("guild"), pools.c.period == bindparam("of_period"))


_sums = _PURSES.subquery("sums")
_ACCOUNT_AND_PURSES = _ACCOUNT.add_columns(
    sa.select(sa.func.json_agg(sa.func.json_build_array(_sums.c.purse, _sums.c.amount, _sums.c.posted)))
    .scalar_subquery()
    .cast(sa.Text)
    .label("sums")
)
"""Both looks in one, on PostgreSQL."""
_BEFORE_LOCKS = Direct(_ACCOUNT_AND_PURSES.add_columns(*locks.VERSIONS))


class _Sums(NamedTuple):
    """What an account has in a purse, in thousandths of a credit."""

    purse: str
    amount: int
    posted: int
    """What it received of an allowance."""


def _look(
    connection: Connection,
    account: Account,
    rules: QuotaRules,
    now: float,
    submitted_as: str | None,
    before_locks: bool,
) -> tuple[Any, str | None, list[_Sums]]:
    """Return what is known of an account, and on a server the purse of the allowance that it most likely has, with it.

    Who has another allowance, since their community has decided so, costs another look.
    """
    key = {"guild": account.guild_id, "user": account.user_id, "now": now, "key": submitted_as}
    if connection.dialect.name != "postgresql":
        return connection.execute(_ACCOUNT, key).one(), None, []
    usual = period_at(now, Renewal(), rules.zone).purse
    key["of_period"] = usual
    if before_locks:
        (row,) = _BEFORE_LOCKS.rows(connection, key)
    else:
        row = connection.execute(_ACCOUNT_AND_PURSES, key).one()
    return row, usual, [_Sums(*one) for one in json.loads(row.sums or "[]")]


def standing(
    connection: Connection,
    account: Account,
    role_ids: Collection[int],
    rules: QuotaRules,
    now: float,
    submitted_as: str | None = None,
    *,
    before_locks: bool = False,
) -> Standing:
    """Return how ``account`` stands now, as a member with these roles, and what was submitted as that key already.

    ``before_locks``: look on a server before the transaction begins, and say what it was that was ``seen``.
    Raises RulesUnreadable where it is not known what was decided: nobody guesses what is open.
    """
    key = {"guild": account.guild_id, "user": account.user_id}
    row, looked_for, sums = _look(connection, account, rules, now, submitted_as, before_locks)
    if account == SHELL_ACCOUNT:
        policy, entitlement = NOTHING_DECIDED, UNLIMITED
    else:
        policy = NOTHING_DECIDED if row.policy is None else _legible(row.policy)
        entitlement = entitled(policy, role_ids, own.read(row.limits), rules)
    period = period_at(now, entitlement.renewal, entitlement.zone)
    if looked_for != period.purse:
        sums = [_Sums(*one) for one in connection.execute(_PURSES, key | {"of_period": period.purse})]
    rows = {one.purse: one for one in sums}
    back_at = None
    if period.renews_at is None:
        spent, back_at = _rolled(connection, account, period.since, entitlement.renewal)
        topped_up, ends_at = 0, now
    else:
        mine = rows.get(period.purse)
        amount, posted = (0, 0) if mine is None else (int(mine.amount), int(mine.posted))
        # What the period's purse has not received yet arrives with the next job.
        spent, topped_up, ends_at = posted - amount, entitlement.allowance - posted, period.renews_at
    pool, pool_left = _pool(connection, account.guild_id, policy, rules, now)
    left = entitlement.allowance - spent
    granted = [_granted(name, one) for name, one in rows.items() if name != period.purse]
    return Standing(
        policy=policy,
        entitlement=entitlement,
        banned=None if row.ban_reason is None else (row.ban_reason, row.ban_until),
        paused=None if row.pause_reason is None else (row.pause_reason, bool(row.drains)),
        virtual_time={Lane.FAST: row.fast or 0.0, Lane.RELAXED: row.relaxed or 0.0},
        guild_known=row.guild_row is not None,
        known=row.member_row is not None,
        last_finish={Lane.FAST: row.last_finish or 0.0, Lane.RELAXED: row.last_relaxed or 0.0},
        waiting=row.waiting,
        running=row.running,
        last_order=row.last_order,
        submitted=row.submitted,
        was_limited=row.most_running is not None,
        period=period,
        topped_up=topped_up,
        spent=spent,
        purses=(
            Purse(period.purse, left if pool_left is None else min(left, pool_left), ends_at),
            *sorted(
                (purse for purse in granted if purse.ends_at is None or purse.ends_at > now),
                key=lambda purse: purse.name,
            ),
        ),
        rolling_back_at=back_at,
        pool=pool,
        pool_left=pool_left,
        seen=Versions(row.house_version, row.member_version) if before_locks else None,
    )


def _legible(text: str) -> GuildPolicy:
    kept = policies.read(text)
    if kept.problems:
        raise RulesUnreadable(whose="server")
    return kept.policy


def _granted(name: str, row: _Sums) -> Purse:
    return Purse(name, int(row.amount), expiry_of(name))


def spent_while_rolling(connection: Connection, account: Account, since: float) -> list[tuple[float, int]]:
    """Return what is spent of a rolling allowance after ``since``: (when, thousandths of a credit), the oldest first.

    A job counts from the moment it was asked for, its refund with it; what moderators gave back counts likewise.
    """
    key = {"guild": account.guild_id, "user": account.user_id, "since": since}
    spent: dict[float, int] = {}
    for row in connection.execute(_ROLLING, key):
        net = row.amount + (row.back if row.kind == "reserve" else 0)
        spent[row.at] = spent.get(row.at, 0) - int(net)
    return [(at, amount) for at, amount in spent.items() if amount]


def _rolled(connection: Connection, account: Account, since: float, renewal: Renewal) -> tuple[int, float | None]:
    """Return what is spent of a rolling allowance, and when the next part of it comes back."""
    parts = spent_while_rolling(connection, account, since)
    first = next((at for at, amount in parts if amount > 0), None)
    return max(sum(amount for _, amount in parts), 0), None if first is None else first + renewal.hours * 3600


def _pool(
    connection: Connection, guild_id: int, policy: GuildPolicy, rules: QuotaRules, now: float
) -> tuple[Period | None, int | None]:
    if policy.pool is None:
        return None, None
    renewal = policy.everybody.renewal or Renewal()
    if renewal.every == "rolling":
        renewal = Renewal(every="day", zone=renewal.zone)  # together they roll by the day
    period = period_at(now, renewal, rules.zone)
    spent = connection.execute(_POOL, {"guild": guild_id, "of_period": period.purse}).scalar() or 0
    return period, max(millicredits(policy.pool) - int(spent), 0)


def roles_text(role_ids: Collection[int]) -> str | None:
    """Return the roles of a member as they are kept; None for none."""
    return json.dumps(sorted(role_ids)) if role_ids else None
