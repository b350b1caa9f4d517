"""The append-only ledger of credits. A balance is the sum of its rows; the database refuses to change one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database.tables import ledger, pools
from flux_core.jobs import Account, Job
from flux_core.quota import BEHIND_GRANTED, GRANTED, expiry_of, granted_purse, shares_back

LATE_REFUNDS_LAST = 24 * 3600.0
"""Seconds for which credits can be spent that came back after they had expired."""
LATE = "came back after it had expired"
"""Why the ledger moves them."""

c = ledger.c

_INSERT = sa.insert(ledger).inline()


def _literal(text: str) -> sa.ColumnElement[Any]:
    return sa.literal_column(text)


def _row(account: Account, at: float, purse: str, kind: str, amount: int, **more: Any) -> dict[str, Any]:
    row = {"job_id": None, "part": 0, "by_user": None, "reason": None, "pool": None}
    return row | {
        "guild_id": account.guild_id,
        "user_id": account.user_id,
        "at": at,
        "purse": purse,
        "kind": kind,
        "amount": amount,
        **more,
    }


_SPENT = (
    sa.update(pools)
    .where(pools.c.guild_id == bindparam("guild"), pools.c.period == bindparam("of"))
    .values(spent=pools.c.spent + bindparam("amount"))
)
_FIRST_SPENT = sa.insert(pools).inline()


def _count(connection: Connection, guild_id: int, period: str, amount: int) -> None:
    """Keep at hand what the members of a guild spent together."""
    if amount and connection.execute(_SPENT, {"guild": guild_id, "of": period, "amount": amount}).rowcount == 0:
        connection.execute(_FIRST_SPENT, {"guild_id": guild_id, "period": period, "spent": amount})


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """What a new job is paid from."""

    shares: Mapping[str, int]
    """Purse → thousandths of a credit."""
    allowance: str
    """The purse of the allowance."""
    topped_up: int = 0
    """What that purse receives first: the allowance is posted with the first job of its period, and again when it
    changes during it. A rolling one is never posted."""
    pool: str | None = None
    """The period of the guild's pool that the allowance's share counts towards."""


def reservation(job: Job, payment: Payment) -> list[dict[str, Any]]:
    """Return the rows that take the cost of a new job."""
    rows = [
        _row(job.account, job.created_at, purse, "reserve", -share, job_id=job.id, part=part)
        | {"pool": payment.pool if purse == payment.allowance else None}
        for part, (purse, share) in enumerate(payment.shares.items())
    ]
    if payment.topped_up:
        rows.insert(0, _row(job.account, job.created_at, payment.allowance, "allowance", payment.topped_up))
    return rows


def reserve(connection: Connection, job: Job, payment: Payment) -> None:
    """Take the cost of a new job."""
    connection.execute(_INSERT, reservation(job, payment))
    count_pool(connection, job, payment)


def count_pool(connection: Connection, job: Job, payment: Payment) -> None:
    """Count what a new job costs towards its guild's pool, where it has one."""
    if payment.pool is not None:
        _count(connection, job.account.guild_id, payment.pool, payment.shares.get(payment.allowance, 0))


def settle(connection: Connection, job: Job, now: float) -> None:
    """Keep what was reserved for a job that succeeded."""
    connection.execute(_INSERT, [_row(job.account, now, "settled", "settle", 0, job_id=job.id)])


def settlement(ended: sa.FromClause) -> sa.Insert:
    """Return the statement that does so for the jobs in ``ended``. Parameter: ``now``."""
    of = ended.c
    row = (bindparam("now", type_=sa.Double), of.guild_id, of.user_id, *map(_literal, ("'settled'", "'settle'", "0")))
    columns = ["at", "guild_id", "user_id", "purse", "kind", "amount", "job_id"]
    return sa.insert(ledger).from_select(columns, sa.select(*row, of.id), include_defaults=False)


_RESERVED = (
    sa.select(c.purse, c.part, c.amount, c.pool)
    .where(c.job_id == bindparam("job"), c.kind == sa.literal_column("'reserve'"))
    .order_by(c.part)
)


def settle_partly(connection: Connection, job: Job, missing: int, why: str, now: float) -> int:
    """Keep what was reserved for a job except for ``missing`` of its pictures; return what went back.

    Each part's refund stands in place of the settlement, so that nothing can be given back later.
    """
    reserved = connection.execute(_RESERVED, {"job": job.id}).all()
    back = shares_back([-row.amount for row in reserved], missing, job.request.count)
    if not any(back):
        settle(connection, job, now)
        return 0
    rows = [
        _row(job.account, now, row.purse, "refund", amount, job_id=job.id, part=row.part, reason=why, pool=row.pool)
        for row, amount in zip(reserved, back, strict=True)
    ]
    connection.execute(_INSERT, rows)
    for row, amount in zip(reserved, back, strict=True):
        if row.pool is not None:
            _count(connection, job.account.guild_id, row.pool, -amount)
        _extend(connection, job, row.purse, amount, now)
    return sum(back)


_REFUND = sa.insert(ledger).from_select(
    ["at", "guild_id", "user_id", "purse", "kind", "amount", "job_id", "part", "reason", "pool"],
    sa.select(
        bindparam("now", type_=sa.Double),
        c.guild_id,
        c.user_id,
        c.purse,
        sa.literal_column("'refund'"),
        -c.amount,
        c.job_id,
        c.part,
        bindparam("why", type_=sa.Text),
        c.pool,
    ).where(c.job_id == bindparam("job"), c.kind == sa.literal_column("'reserve'")),
    include_defaults=False,
)


_FOLLOWED = sa.select(c.purse, c.pool, c.amount).where(
    c.job_id == bindparam("job"),
    c.kind == sa.literal_column("'reserve'"),
    # Of a pool, or of credits that expire.
    sa.or_(c.pool.is_not(None), sa.and_(c.purse > GRANTED, c.purse < BEHIND_GRANTED)),
)


def refund(connection: Connection, job: Job, now: float, why: str) -> None:
    """Give back everything reserved for a job, each share to the purse it came from.

    Granted credits that have expired since, and would be worth nothing there, can be spent for another day.
    """
    connection.execute(_REFUND, {"job": job.id, "now": now, "why": why})
    for row in connection.execute(_FOLLOWED, {"job": job.id}).all():
        if row.pool is not None:
            _count(connection, job.account.guild_id, row.pool, row.amount)
        _extend(connection, job, row.purse, -row.amount, now)


def _extend(connection: Connection, job: Job, purse: str, back: int, now: float) -> None:
    """Move what went ``back`` to a purse of granted credits that has expired by now into one that has not."""
    if not (back and GRANTED < purse < BEHIND_GRANTED):
        return
    ended_at = expiry_of(purse)
    if ended_at is None or ended_at > now:
        return
    fresh = granted_purse(now + LATE_REFUNDS_LAST)
    moved = [(purse, -back), (fresh, back)]
    connection.execute(_INSERT, [_row(job.account, now, name, "grant", part, reason=LATE) for name, part in moved])


def grant(
    connection: Connection, account: Account, amount: int, *, by: int, reason: str, now: float, purse: str = GRANTED
) -> None:
    """Add ``amount`` thousandths (or take them, when negative) to a purse of an account in a moderator's name."""
    grant_each(connection, [account], amount, by=by, reason=reason, now=now, purse=purse)


def grant_each(
    connection: Connection,
    accounts: Collection[Account],
    amount: int,
    *,
    by: int,
    reason: str,
    now: float,
    purse: str,
) -> None:
    """Do so for each of several accounts."""
    connection.execute(
        _INSERT, [_row(account, now, purse, "grant", amount, by_user=by, reason=reason) for account in accounts]
    )
