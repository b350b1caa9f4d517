"""In which order the waiting jobs will be claimed, as things stand: what claims do one by one, in one look.

A job's turn among the guilds starts where its guild's next turn does, after what the guild's jobs before it take.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database.tables import guilds, jobs, virtual_time
from flux_core.database.turns import guilds_in_turn
from flux_core.jobs import Lane

FAR = 10_000
"""Waiting jobs that are looked at, so that a look stays short; whoever stands further behind is told this much."""

GUILDS = 50
"""Guilds that are looked at in a long line: those whose turns come first."""

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
    """Return the first ``most`` jobs that hosted providers may claim, in their turn (see ``_first_of_first``)."""
    return _in_line(connection, "waits_hosted", models, most)


def for_us(connection: Connection, skills: Collection[str], most: int) -> Sequence[Any]:
    """Return the first ``most`` jobs that our own cards may claim, in their turn (see ``_first_of_first``)."""
    return _in_line(connection, "waits_for", skills, most)


def _in_line(connection: Connection, column: str, models: Collection[str], most: int) -> Sequence[Any]:
    if not models:
        return []
    # One more than is wanted: where that many wait, what was looked at are not the first ones.
    look = {"models": sorted(models), "most": most + 1, "far": most + 1}
    rows = connection.execute(_HOSTED if column == "waits_hosted" else _OURS, look).all()
    return rows if len(rows) <= most else _first_of_first(connection, column, sorted(models), most)


class InTurn(NamedTuple):
    """A job in a long line; in the order of the line."""

    lane: int
    turn: float
    finish: float
    guild_id: int
    start_tag: float
    id: str
    units: float
    waits_for: str | None
    waits_hosted: str | None
    asked: str | None
    rests_until: float | None


_NOW = sa.select(virtual_time.c.value)
_HEADS = {
    column: sa.select(*_TURN, c.waits_for, c.waits_hosted, c.asked, c.rests_until)
    .where(c[column] == bindparam("of"), *in_index)
    .where(c.lane == bindparam("of_lane"), c.guild_id == bindparam("guild"))
    .order_by(c.start_tag, c.id)
    .limit(bindparam("most"))
    for column, in_index in (
        ("waits_for", (c.waits_for.is_not(None),)),
        ("waits_hosted", (c.waits_hosted.is_not(None), c.provider_job_id.is_(None))),
    )
}


def _first_of_first(connection: Connection, column: str, models: Sequence[str], most: int) -> Sequence[InTurn]:
    """Return the first jobs of the first guilds of a line that is too long to be sorted, in their turn.

    As many of each guild as make ``most`` of all: a guild that many wait in does not hide the others.
    """
    now = connection.execute(_NOW).scalar_one()
    wanted: dict[str, Any] = {f"model_{number}": model for number, model in enumerate(models)}
    line: list[InTurn] = []
    taken: dict[int, float] = {}
    there_are_more = False
    for lane in Lane:
        if there_are_more:
            break  # and this lane comes behind those
        first = guilds_in_turn(column, len(models), GUILDS)
        guilds_first = connection.execute(first, wanted | {"of_lane": lane.value}).all()
        each = -(-most // max(len(guilds_first), 1))
        there_are_more = len(guilds_first) == GUILDS
        for guild_id, finish in guilds_first:
            key = {"of_lane": lane.value, "guild": guild_id, "most": each + 1}
            rows = [row for model in models for row in connection.execute(_HEADS[column], key | {"of": model})]
            there_are_more = there_are_more or len(rows) > each
            for row in sorted(rows, key=lambda row: (row.start_tag, row.id))[:each]:
                turn = max(now, finish) + taken.get(guild_id, 0.0)
                ends = turn if guild_id in taken else finish
                place = (lane.value, turn, ends, guild_id, row.start_tag, row.id)
                line.append(InTurn(*place, row.units, row.waits_for, row.waits_hosted, row.asked, row.rests_until))
                taken[guild_id] = taken.get(guild_id, 0.0) + row.price
    return sorted(line, key=lambda job: job[:6])[:most]


def _with(
    columns: Sequence[sa.Column[Any]], condition: sa.ColumnElement[bool], own: sa.ColumnElement[bool]
) -> sa.Select[Any]:
    """Return the line of those that meet ``condition``, with ``own`` jobs in it that may stand further behind."""
    own_rows = sa.select(*columns).where(own)
    return _in_turn(sa.union(sa.select(_that_fit(columns, condition)), own_rows).subquery("waiting"))


def _ahead(columns: Sequence[sa.Column[Any]], name: str, condition: sa.ColumnElement[bool]) -> sa.Select[Any]:
    line = _with(columns, condition, c.id == bindparam("job")).cte("line")
    own = sa.select(line.c.place).where(line.c.id == bindparam("job")).scalar_subquery()
    of = line.c[name]
    return (
        sa.select(of.label("model"), sa.func.count().label("jobs"), sa.func.sum(line.c.units).label("units"))
        .where(line.c.place < own)
        .group_by(of)
    )


_AHEAD_OF_US = _ahead(_OF_OURS, "waits_for", _IS_OURS)
_HOSTED_ALONE = sa.and_(_IS_HOSTED, c.waits_for.is_(None))
_AHEAD_OF_HOSTED = _ahead(_OF_HOSTED, "waits_hosted", _HOSTED_ALONE)


def _whole(columns: Sequence[sa.Column[Any]], name: str, condition: sa.ColumnElement[bool]) -> sa.Select[Any]:
    line = _with(columns, condition, c.id.in_(bindparam("jobs", expanding=True))).subquery("line")
    return sa.select(line.c.id, line.c[name].label("model"), line.c.units).order_by(line.c.place)


_ALL_OF_OURS = _whole(_OF_OURS, "waits_for", _IS_OURS)
_ALL_OF_HOSTED = _whole(_OF_HOSTED, "waits_hosted", _HOSTED_ALONE)


def ahead_of(
    connection: Connection, job_id: str, models: Collection[str], *, hosted: bool = False
) -> dict[str, tuple[int, float]]:
    """Return what comes before a job among those of ``models``: model → how many jobs, and their megapixel-steps.

    Of our own cards, ``models`` are skills (``flux_core.skills``), and so are those in the answer.
    ``hosted``: among those that wait for hosted providers alone.
    """
    statement = _AHEAD_OF_HOSTED if hosted else _AHEAD_OF_US
    rows = connection.execute(statement, {"job": job_id, "models": sorted(models), "far": FAR})
    return {row.model: (row.jobs, row.units) for row in rows}


class Look:
    """What comes before each of several jobs, read once for each kind of line however many they are."""

    def __init__(self, job_ids: Collection[str]) -> None:
        self._jobs = frozenset(job_ids)
        self._seen: dict[tuple[frozenset[str], bool], dict[str, dict[str, tuple[int, float]]]] = {}

    def ahead_of(
        self, connection: Connection, job_id: str, models: Collection[str], *, hosted: bool = False
    ) -> dict[str, tuple[int, float]]:
        """Return the same as the function of this name."""
        line = (frozenset(models), hosted)
        if line not in self._seen:
            self._seen[line] = self._walk(connection, *line)
        return self._seen[line].get(job_id, {})

    def _walk(
        self, connection: Connection, models: frozenset[str], hosted: bool
    ) -> dict[str, dict[str, tuple[int, float]]]:
        statement = _ALL_OF_HOSTED if hosted else _ALL_OF_OURS
        before: dict[str, tuple[int, float]] = {}
        found: dict[str, dict[str, tuple[int, float]]] = {}
        rows = connection.execute(statement, {"jobs": sorted(self._jobs), "models": sorted(models), "far": FAR})
        for row in rows:
            if row.id in self._jobs:
                found[row.id] = dict(before)
            if row.model in models:  # others stand in it for themselves alone
                count, units = before.get(row.model, (0, 0.0))
                before[row.model] = (count + 1, units + row.units)
        return found
