"""In which order the waiting jobs will be claimed, as things stand: what claims do one by one, in one look.

A job's turn among the guilds starts where its guild's next turn does, after what the guild's jobs before it take.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database.tables import guilds, jobs, virtual_time

FAR = 10_000
"""Waiting jobs that are looked at, so that a look stays short; whoever stands further behind is told this much."""

c = jobs.c


_TURN = (c.lane, c.guild_id, c.start_tag, c.id, c.price, c.units)
"""What decides the order, and the work: in both indexes of claims, so that a look is answered from one of them."""
_OF_OURS = (*_TURN, c.waits_for)
_OF_HOSTED = (*_OF_OURS, c.waits_hosted, c.asked, c.rests_until, c.provider_job_id)


def _that_fit(columns: Sequence[sa.Column[Any]], condition: sa.ColumnElement[bool]) -> sa.Subquery:
    return sa.select(*columns).where(condition).limit(bindparam("far")).subquery("fit")


def _in_turn(waiting: sa.Subquery) -> sa.Select[Any]:
    """Return jobs with ``turn`` (where it starts among the guilds) and ``place`` (1 is next).

    Lanes come one after the other.
    """
    w = waiting.c
    before = sa.func.sum(w.price).over(partition_by=w.guild_id, order_by=[w.lane, w.start_tag, w.id], rows=(None, -1))
    next_turn = sa.case((guilds.c.finish > virtual_time.c.value, guilds.c.finish), else_=virtual_time.c.value)
    turn = next_turn + sa.func.coalesce(before, 0)
    foreseen = (
        # By the time a later job of a guild is claimed, the guild's finish is where its turn starts.
        sa.select(waiting, sa.case((before.is_(None), guilds.c.finish), else_=turn).label("finish"), turn.label("turn"))
        .select_from(waiting.join(guilds, guilds.c.guild_id == w.guild_id).join(virtual_time, sa.true()))
        .subquery("foreseen")
    )
    f = foreseen.c
    order = [f.lane, f.turn, f.finish, f.guild_id, f.start_tag, f.id]
    return sa.select(foreseen, sa.func.row_number().over(order_by=order).label("place"))


_MODELS: sa.BindParameter[Any] = bindparam("models", expanding=True)
_IS_OURS = c.waits_for.in_(_MODELS)
_IS_HOSTED = sa.and_(c.waits_hosted.in_(_MODELS), c.provider_job_id.is_(None))


def _first(line: sa.Select[Any]) -> sa.Select[Any]:
    return line.order_by(sa.literal_column("place")).limit(bindparam("most"))


_OURS = _first(_in_turn(_that_fit(_OF_OURS, _IS_OURS)))
_HOSTED = _first(_in_turn(_that_fit(_OF_HOSTED, _IS_HOSTED)))


def for_hosted(connection: Connection, models: Collection[str], most: int) -> Sequence[Any]:
    """Return the first ``most`` jobs that hosted providers may claim, in their turn."""
    return connection.execute(_HOSTED, {"models": sorted(models), "most": most, "far": FAR}).all()


def for_us(connection: Connection, models: Collection[str], most: int) -> Sequence[Any]:
    """Return the first ``most`` jobs that our own cards may claim, in their turn."""
    return connection.execute(_OURS, {"models": sorted(models), "most": most, "far": FAR}).all() if models else []


def _ahead(columns: Sequence[sa.Column[Any]], name: str, condition: sa.ColumnElement[bool]) -> sa.Select[Any]:
    own_row = sa.select(*columns).where(c.id == bindparam("job"))
    line = _in_turn(sa.union(sa.select(_that_fit(columns, condition)), own_row).subquery("waiting")).cte("line")
    own = sa.select(line.c.place).where(line.c.id == bindparam("job")).scalar_subquery()
    of = line.c[name]
    return (
        sa.select(of.label("model"), sa.func.count().label("jobs"), sa.func.sum(line.c.units).label("units"))
        .where(line.c.place < own)
        .group_by(of)
    )


_AHEAD_OF_US = _ahead(_OF_OURS, "waits_for", _IS_OURS)
_AHEAD_OF_HOSTED = _ahead(_OF_HOSTED, "waits_hosted", sa.and_(_IS_HOSTED, c.waits_for.is_(None)))


def ahead_of(
    connection: Connection, job_id: str, models: Collection[str], *, hosted: bool = False
) -> dict[str, tuple[int, float]]:
    """Return what comes before a job among those of ``models``: model → how many jobs, and their megapixel-steps.

    ``hosted``: among those that wait for hosted providers alone.
    """
    statement = _AHEAD_OF_HOSTED if hosted else _AHEAD_OF_US
    rows = connection.execute(statement, {"job": job_id, "models": sorted(models), "far": FAR})
    return {row.model: (row.jobs, row.units) for row in rows}
