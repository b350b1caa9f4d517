"""Waiting jobs that are claimed together with the one whose turn it is, to be drawn side by side with it.

Where several guilds wait, those of one guild are taken in its own order: a guild pays with its turns, so a job that is
taken over the head of another one of its guild would push that one back, again and again. So what is left stands in
the line as it stood before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.batching import WINDOW, InLine, company, shape_of
from flux_core.database import batches
from flux_core.database.claims import OPEN_EVERYWHERE, TAKEN
from flux_core.database.jobs import COLUMNS, job_of, reconsider
from flux_core.database.lineup import for_us
from flux_core.database.tables import jobs
from flux_core.database.turns import overtake
from flux_core.generation import GenerationRequest
from flux_core.jobs import Job

c = jobs.c

_REQUESTS = sa.select(c.id, c.request, c.attempts).where(c.id.in_(bindparam("jobs", expanding=True)))
_TAKE = (
    sa.update(jobs)
    .where(c.id == bindparam("job"), c.waits_for == bindparam("of"), c.waits_for.is_not(None), OPEN_EVERYWHERE)
    .values(TAKEN)
    .returning(*COLUMNS)
)


@dataclass(frozen=True, slots=True)
class Party:
    """Who looks for company."""

    job: Job
    """Just claimed: it was its turn."""
    models: Sequence[str]
    """What its worker draws: whose jobs stand in its line."""
    device: str
    most_pictures: int


def find(connection: Connection, party: Party) -> bool:
    """Say whether there is company worth taking now; a look, for which no writer has to wait."""
    return bool(_look(connection, party)[1])


def take(connection: Connection, worker_id: str, party: Party, now: float, lease: float) -> list[Job]:
    """Give a worker the jobs that go with the one it has just claimed at ``now``; return them, in their turn.

    Each is charged to its own member and guild. Those whom they overtake lose nothing by it: time goes on only to where
    the first turn starts that is not taken.
    """
    line, places = _look(connection, party)
    chosen = [line[place] for place in places]
    left = [row for place, row in enumerate(line) if place not in places]
    taken = []
    for row in chosen:
        key = {"job": row.id, "of": party.job.request.model, "worker": worker_id, "now": now, "until": now + lease}
        found = connection.execute(_TAKE, key).one_or_none()
        if found is None:  # its member has as many in hand by now as they may have
            continue
        job = job_of(found)
        in_guild = [other for other in left if (other.guild_id, other.lane) == (row.guild_id, row.lane)]
        overtake(
            connection,
            job,
            ahead=min((other.turn for other in left), default=None),
            ahead_in_guild=min((other.start_tag for other in in_guild), default=None),
        )
        reconsider(connection, job.account)
        taken.append(job)
    return taken


def _look(connection: Connection, party: Party) -> tuple[Sequence[Any], list[int]]:
    """Return the next jobs in line, and the places in it of those to take."""
    job, shape = party.job, shape_of(party.job.request)
    if shape is None or job.attempts > 1 or job.request.count >= party.most_pictures:
        return (), []
    paces = batches.known(connection, party.device, shape.model, shape.scale)
    if not paces:
        return (), []
    line = for_us(connection, party.models, WINDOW)
    rows = connection.execute(_REQUESTS, {"jobs": [row.id for row in line if row.waits_for == shape.model]})
    requests = {row.id: GenerationRequest.model_validate_json(row.request) for row in rows if row.attempts == 0}

    several = len({row.guild_id for row in line}) > 1
    blocked: set[int] = set()
    found = []
    for row in line:
        request = requests.get(row.id)
        alike = request is not None and row.lane == job.lane and shape_of(request) == shape
        if several and not alike:
            blocked.add(row.guild_id)
        alike = alike and row.guild_id not in blocked
        found.append(InLine(pictures=1 if request is None else request.count, alike=alike))
    return line, company(job.request.count, found, paces, party.most_pictures)
