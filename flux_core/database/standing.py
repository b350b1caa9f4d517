"""Everything about an account that decides whether it may submit and when its turn is, in one look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database.members import read
from flux_core.database.tables import EVERYWHERE, jobs, ledger, members, pauses, virtual_time
from flux_core.jobs import Account
from flux_core.quota import GRANTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """An account as the database knows it; money in thousandths of a credit."""

    virtual_time: float
    waiting: int
    paused: str | None
    """Why no job may be submitted."""
    posted: int
    """Allowance that the day's purse has received so far."""
    day: int
    """Sum of the day's purse."""
    granted: int
    known: bool
    """Whether the member has a row."""
    weight: float
    allowance: int | None
    """The member's own, when it differs from the studio's."""
    last_finish: float
    submitted: str | None
    """The job that was submitted with the same key before."""


def _mine(table: sa.Table) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.guild_id == bindparam("guild"), table.c.user_id == bindparam("user"))


def _sum(*conditions: sa.ColumnElement[bool]) -> sa.ScalarSelect[Any]:
    return (
        sa.select(sa.func.coalesce(sa.func.sum(ledger.c.amount), 0)).where(_mine(ledger), *conditions).scalar_subquery()
    )


_STANDING = sa.select(
    virtual_time.c.value.label("virtual_time"),
    members.c.user_id.label("member"),
    members.c.limits,
    members.c.last_finish,
    sa.select(sa.func.count())
    .select_from(jobs)
    .where(_mine(jobs), jobs.c.state == sa.literal_column("'queued'"))
    .scalar_subquery()
    .label("waiting"),
    sa.select(pauses.c.reason)
    .where(pauses.c.guild_id.in_([bindparam("guild"), sa.literal_column(str(EVERYWHERE))]))
    .order_by(pauses.c.guild_id)
    .limit(1)
    .scalar_subquery()
    .label("paused"),
    _sum(ledger.c.purse == bindparam("day"), ledger.c.kind == "allowance").label("posted"),
    _sum(ledger.c.purse == bindparam("day")).label("day"),
    _sum(ledger.c.purse == GRANTED).label("granted"),
    sa.select(jobs.c.id).where(jobs.c.key == bindparam("key")).scalar_subquery().label("submitted"),
).select_from(virtual_time.outerjoin(members, _mine(members)))


def standing(connection: Connection, account: Account, day: str, key: str | None = None) -> Standing:
    """Return how ``account`` stands on the purse ``day``, and what was submitted as ``key`` already."""
    look = {"guild": account.guild_id, "user": account.user_id, "day": day, "key": key}
    row = connection.execute(_STANDING, look).one()
    return Standing(
        virtual_time=row.virtual_time,
        waiting=row.waiting,
        paused=row.paused,
        posted=int(row.posted),
        day=int(row.day),
        granted=int(row.granted),
        known=row.member is not None,
        weight=(own := read(row.limits)).weight or 1.0,
        allowance=None if own.credits is None else round(own.credits * 1000),
        last_finish=row.last_finish or 0.0,
        submitted=row.submitted,
    )
