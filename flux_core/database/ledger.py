"""The append-only ledger of credits. A balance is the sum of its rows; the database refuses to change one."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database.tables import ledger
from flux_core.jobs import Account, Job
from flux_core.quota import GRANTED, shares_back

c = ledger.c

_INSERT = sa.insert(ledger).inline()


def _row(account: Account, at: float, purse: str, kind: str, amount: int, **more: Any) -> dict[str, Any]:
    row = {"job_id": None, "part": 0, "by_user": None, "reason": None}
    return row | {
        "guild_id": account.guild_id,
        "user_id": account.user_id,
        "at": at,
        "purse": purse,
        "kind": kind,
        "amount": amount,
        **more,
    }


def reserve(connection: Connection, job: Job, shares: dict[str, int], day: str, topped_up: int) -> None:
    """Take the ``shares`` (purse → thousandths) of a new job's cost, after adding ``topped_up`` to the day's purse.

    The day's allowance is posted with the first job of the day, and again when the allowance changes during it.
    """
    rows = [
        _row(job.account, job.created_at, purse, "reserve", -share, job_id=job.id, part=part)
        for part, (purse, share) in enumerate(shares.items())
    ]
    if topped_up:
        rows.insert(0, _row(job.account, job.created_at, day, "allowance", topped_up))
    connection.execute(_INSERT, rows)


def settle(connection: Connection, job: Job, now: float) -> None:
    """Keep what was reserved for a job that succeeded."""
    connection.execute(_INSERT, [_row(job.account, now, "settled", "settle", 0, job_id=job.id)])


_RESERVED = (
    sa.select(c.purse, c.part, c.amount)
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
        _row(job.account, now, row.purse, "refund", amount, job_id=job.id, part=row.part, reason=why)
        for row, amount in zip(reserved, back, strict=True)
    ]
    connection.execute(_INSERT, rows)
    return sum(back)


_REFUND = sa.insert(ledger).from_select(
    ["at", "guild_id", "user_id", "purse", "kind", "amount", "job_id", "part", "reason"],
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
    ).where(c.job_id == bindparam("job"), c.kind == sa.literal_column("'reserve'")),
    include_defaults=False,
)


def refund(connection: Connection, job: Job, now: float, why: str) -> None:
    """Give back everything reserved for a job, each share to the purse it came from."""
    connection.execute(_REFUND, {"job": job.id, "now": now, "why": why})


def grant(connection: Connection, account: Account, amount: int, *, by: int, reason: str, now: float) -> None:
    """Add ``amount`` thousandths (or take them, when negative) to the granted credits of an account."""
    connection.execute(_INSERT, [_row(account, now, GRANTED, "grant", amount, by_user=by, reason=reason)])
