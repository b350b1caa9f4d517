"""Waiting jobs that are claimed together with the one whose turn it is, to be drawn side by side with it.

Where several guilds wait, those of one guild are taken in its own order: a guild pays with its turns, so a job that is
taken over the head of another one of its guild would push that one back, again and again. So what is left stands in
the line as it stood before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.batching import WINDOW, InLine, company, shape_of
from flux_core.database import batches, locks
from flux_core.database.claims import TAKE_FROM_LINE
from flux_core.database.jobs import job_of, reconsider
from flux_core.database.tables import jobs, virtual_time
from flux_core.database.turns import guilds_in_turn, overtake
from flux_core.database.unreadable import request_in
from flux_core.jobs import Job, Lane
from flux_core.skills import skill_for

c = jobs.c

_REQUESTS = sa.select(c.id, c.request, c.attempts).where(c.id.in_(bindparam("jobs", expanding=True)))
_NOW = sa.select(virtual_time.c.value)
_FIRST = (
    sa.select(c.start_tag, c.id, c.waits_for, c.price)
    .where(c.waits_for == bindparam("of"), c.waits_for.is_not(None))
    .where(c.lane == bindparam("of_lane"), c.guild_id == bindparam("guild"))
    .order_by(c.start_tag, c.id)
    .limit(sa.literal_column(str(WINDOW)))
)


class Waiting(NamedTuple):
    """A job in line; in the order of the line."""

    turn: float
    """Where its turn starts among the guilds."""
    finish: float
    """Where its guild's turn before ends: earlier, where the guild was away. The earlier one comes first."""
    guild_id: int
    start_tag: float
    id: str
    skill: str
    """What it waits for: its model, and a LoRA (``flux_core.skills``)."""


@dataclass(frozen=True, slots=True)
class Party:
    """Who looks for company."""

    job: Job
    """Just claimed: it was its turn."""
    skills: Sequence[str]
    """What its worker draws: whose jobs stand in its line."""
    device: str
    most_pictures: int


def find(connection: Connection, party: Party) -> bool:
    """Say whether there is company worth taking now; a look, for which no writer has to wait."""
    return bool(_look(connection, party)[1])


@locks.writes_nothing_empty_handed
def take(connection: Connection, party: Party, lease: float) -> list[Job]:
    """Give its worker the jobs that go with the one just claimed, as claimed at the same moment; return them in turn.

    Each is charged to its own member and guild. Those whom they overtake lose nothing by it: time goes on only to where
    the first turn starts that is not taken.
    """
    first = party.job
    now = first.started_at or 0.0
    claim = {"of": skill_for(first.request), "worker": first.worker_id, "now": now, "until": now + lease}
    line, places = _look(connection, party)
    chosen = [line[place] for place in places]
    left = [row for place, row in enumerate(line) if place not in places]
    taken = []
    for row in chosen:
        found = connection.execute(TAKE_FROM_LINE, claim | {"job": row.id}).one_or_none()
        if found is None:  # its member has as many in hand by now as they may have
            continue
        job = job_of(found)
        in_guild = [other for other in left if other.guild_id == row.guild_id]
        overtake(
            connection,
            job,
            ahead=min((other.turn for other in left), default=None),
            ahead_in_guild=min((other.start_tag for other in in_guild), default=None),
        )
        reconsider(connection, job.account)
        taken.append(job)
    return taken


def _look(connection: Connection, party: Party) -> tuple[Sequence[Waiting], list[int]]:
    """Return the next jobs in line, and the places in it of those to take."""
    job, shape = party.job, shape_of(party.job.request)
    if shape is None or job.attempts > 1 or job.request.count >= party.most_pictures:
        return (), []
    paces = batches.known(connection, party.device, shape.paced_as, shape.scale)
    if not paces:
        return (), []
    line, needed = first_in_line(connection, party.skills, job.lane), skill_for(job.request)
    rows = connection.execute(_REQUESTS, {"jobs": [row.id for row in line if row.skill == needed]})
    requests = {row.id: request_in(row.request) for row in rows if row.attempts == 0}

    several = len({row.guild_id for row in line}) > 1
    blocked: set[int] = set()
    found = []
    for row in line:
        request = requests.get(row.id)
        alike = request is not None and shape_of(request) == shape
        if several and not alike:
            blocked.add(row.guild_id)
        alike = alike and row.guild_id not in blocked
        found.append(InLine(pictures=1 if request is None else request.count, alike=alike))
    return line, company(job.request.count, found, paces, party.most_pictures)


def first_in_line(connection: Connection, skills: Sequence[str], lane: Lane) -> list[Waiting]:
    """Return the first jobs of a lane that a worker with ``skills`` would claim, one by one.

    As ``lineup`` does, without looking at all that wait: the first jobs of the first guilds are enough.
    """
    now = connection.execute(_NOW).scalar_one()
    wanted: dict[str, Any] = {f"model_{number}": skill for number, skill in enumerate(skills)}
    line: list[Waiting] = []
    guilds = guilds_in_turn("waits_for", len(skills), WINDOW)
    for guild_id, finish in connection.execute(guilds, wanted | {"of_lane": lane.value}).all():
        rows = [
            row
            for skill in skills
            for row in connection.execute(_FIRST, {"of": skill, "of_lane": lane.value, "guild": guild_id})
        ]
        turn = max(now, finish)
        for row in sorted(rows, key=lambda row: (row.start_tag, row.id))[:WINDOW]:
            line.append(Waiting(turn, finish, guild_id, row.start_tag, row.id, row.waits_for))
            turn = finish = turn + max(row.price, 1)
    return sorted(line)[:WINDOW]
