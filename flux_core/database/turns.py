"""Whose turn it is: guilds take turns with one another, and within a guild its members do. See ``flux_core.fairness``.

A guild's turn starts where its last one ended, and not before now (in the virtual time of the guilds). So the guild
that was served least so far comes first, and nothing has to be kept up to date but one number per guild.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from flux_core.database.tables import guilds, jobs, virtual_time
from flux_core.jobs import Job, Lane

c = jobs.c

_V = sa.select(virtual_time.c.value).scalar_subquery()
_LANES = {Lane.FAST: guilds.c.fast, Lane.RELAXED: guilds.c.relaxed}


def _later(one: sa.ColumnElement[float], other: sa.ColumnElement[float]) -> sa.ColumnElement[float]:
    return sa.case((one < other, other), else_=one)


def charged(lane: Lane, price: sa.ColumnElement[Any], start: sa.ColumnElement[Any]) -> dict[str, Any]:
    """Return what becomes of the row of a guild whose job was claimed in its turn: ``price`` and ``start`` are its own.

    The turn began where the guild's last one ended, and not before now.
    """
    column = _LANES[lane]
    return {"finish": _later(guilds.c.finish, _V) + price, column.name: _later(column, start)}


def advanced(to: sa.ColumnElement[float]) -> sa.Update:
    """Return the statement that moves the guilds' time on to where a turn began."""
    return sa.update(virtual_time).where(virtual_time.c.value < to).values(value=to)


def cost_of(price: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """Return what a turn takes: the price of its job, and never nothing."""
    return sa.case((price < 1, 1), else_=price)


_SERVED = {
    lane: sa.update(guilds)
    .where(guilds.c.guild_id == bindparam("guild"))
    .values(charged(lane, bindparam("price"), bindparam("start", type_=sa.Double)))
    .returning((guilds.c.finish - bindparam("price")).label("began"))
    for lane in Lane
}
_ADVANCE = advanced(bindparam("to", type_=sa.Double))
_ADD = sa.insert(guilds).inline()

_WHERE_IT_STANDS = (
    sa.select(virtual_time.c.value, guilds.c.finish)
    .select_from(guilds.join(virtual_time, sa.true()))
    .where(guilds.c.guild_id == bindparam("guild"))
)
_FINISH_AT = sa.update(guilds).where(guilds.c.guild_id == bindparam("guild")).values(finish=bindparam("finish"))
_OWN_TIME = {
    lane: sa.update(guilds)
    .where(guilds.c.guild_id == bindparam("guild"), column < bindparam("start"))
    .values({column.name: bindparam("start")})
    for lane, column in _LANES.items()
}


def guild_first(column: str, models: int) -> sa.ScalarSelect[Any]:
    """Return the guild whose turn it is, as ``guilds_in_turn`` does."""
    return guilds_in_turn(column, models, 1).with_only_columns(guilds.c.guild_id).scalar_subquery()


@cache
def guilds_in_turn(column: str, models: int, most: int) -> sa.Select[Any]:
    """Return guild_id and finish of the first guilds among those with jobs for some of the models in ``column``.

    ``column``: waits_for, say. Parameters: ``model_0`` …, ``of_lane``. The claim's index is stepped through from guild
    to guild: a look-up for each guild that has such a job, however many jobs those have.
    """
    seen = [_guilds_with(jobs.c[column], number) for number in range(models)]
    found = sa.union(*(sa.select(one.c.guild_id).where(one.c.guild_id.is_not(None)) for one in seen)).subquery("found")
    return (
        sa.select(guilds.c.guild_id, guilds.c.finish)
        .join(found, found.c.guild_id == guilds.c.guild_id)
        .order_by(guilds.c.finish, guilds.c.guild_id)
        .limit(sa.literal_column(str(most)))
    )


def _guilds_with(column: sa.Column[Any], number: int) -> sa.CTE:
    lane = bindparam("of_lane", type_=sa.Integer)
    first = jobs.alias(f"first_{number}")
    seen = sa.select(_next_guild(first, column, number, first.c.lane >= lane).scalar_subquery().label("guild_id")).cte(
        f"seen_{number}", recursive=True
    )
    further = jobs.alias(f"further_{number}")
    behind = _Behind(further.c.lane, further.c.guild_id, lane, seen.c.guild_id)
    following = _next_guild(further, column, number, behind).correlate(seen).scalar_subquery()
    return seen.union_all(sa.select(following).where(seen.c.guild_id.is_not(None)))


class _Behind(FunctionElement[Any]):
    """Whether a job of (lane, guild) stands behind another (lane, guild) in the index, and in the same lane on SQLite.

    Each database has a way of its own to step there at once. SQLite walks through the lane for pairs that are compared:
    117 ms instead of 0.5 ms among a million jobs.
    """

    type = sa.types.NullType()  # of a boolean, SQLite would be asked whether it is 1
    inherit_cache = True


@compiles(_Behind)
def _pairs(element: _Behind, compiler: SQLCompiler, **options: Any) -> str:
    lane, guild, of_lane, of_guild = (compiler.process(one, **options) for one in element.clauses)
    return f"({lane}, {guild}) > ({of_lane}, {of_guild})"


@compiles(_Behind, "sqlite")
def _one_by_one(element: _Behind, compiler: SQLCompiler, **options: Any) -> str:
    lane, guild, of_lane, of_guild = (compiler.process(one, **options) for one in element.clauses)
    return f"{lane} = {of_lane} AND {guild} > {of_guild}"


def _next_guild(
    waiting: sa.FromClause, column: sa.Column[Any], number: int, behind: sa.ColumnElement[bool]
) -> sa.Select[Any]:
    """Return the first guild among jobs for a model that are ``behind`` a place in the index, or NULL for another lane.

    Ordered by the lane as well, though it is always the same one: in that order jobs stand in this index alone. With
    another one PostgreSQL would walk through all jobs there are for a model that none of them waits for.
    """
    of_lane = sa.case((waiting.c.lane == bindparam("of_lane", type_=sa.Integer), waiting.c.guild_id))
    return (
        sa.select(of_lane)
        .where(waiting.c[column.name] == bindparam(f"model_{number}"), behind, *_in_index(waiting, column))
        .order_by(waiting.c.lane, waiting.c.guild_id)
        .limit(sa.literal_column("1"))
    )


def _in_index(waiting: sa.FromClause, column: sa.Column[Any]) -> tuple[sa.ColumnElement[bool], ...]:
    """Return what else holds of all jobs in the column's index."""
    return (waiting.c.provider_job_id.is_(None),) if column.name == "waits_hosted" else ()


def enter(connection: Connection, guild_id: int) -> None:
    """Make a guild known that never had a job; its first turn starts now."""
    connection.execute(_ADD, {"guild_id": guild_id})


def overtake(connection: Connection, job: Job, *, ahead: float | None, ahead_in_guild: float | None) -> None:
    """Charge the turn of a job that is claimed while others may stand before it, whom somebody else shall draw.

    ``ahead``: where the first turn starts that is not taken yet, ``ahead_in_guild``: the same within the job's guild;
    None where there is none. Their time is not over: newcomers still start at theirs.
    """
    guild = {"guild": job.account.guild_id}
    now, finish = connection.execute(_WHERE_IT_STANDS, guild).one()
    start = max(now, finish)
    connection.execute(_ADVANCE, {"to": start if ahead is None else min(start, ahead)})
    connection.execute(_FINISH_AT, guild | {"finish": start + max(job.price, 1)})
    own = job.start_tag if ahead_in_guild is None else min(job.start_tag, ahead_in_guild)
    connection.execute(_OWN_TIME[job.lane], guild | {"start": own})


def serve(connection: Connection, job: Job) -> None:
    """Charge the turn of a job that is claimed when it is its turn."""
    turn = {"guild": job.account.guild_id, "price": max(job.price, 1), "start": job.start_tag}
    connection.execute(_ADVANCE, {"to": connection.execute(_SERVED[job.lane], turn).scalar_one()})
