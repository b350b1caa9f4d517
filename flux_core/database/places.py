"""Where a job stands: what is drawn before it and how long that takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database import speeds, workers
from flux_core.database.jobs import COLUMNS, IS_RUNNING, job_of
from flux_core.database.pauses import reason
from flux_core.database.tables import jobs
from flux_core.estimates import Speed, wait
from flux_core.jobs import Job, JobState

FAR = 10_000
"""Waiting jobs that are counted, per model, so that a look stays short; a job further behind is told this much."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job stands."""

    position: int
    """1: next to be drawn; 0: being drawn, or ended. Counts no further than ``FAR`` jobs per model."""
    seconds: float | None
    """Until it is done, from measured speeds; None when nothing was measured, nobody can draw it or it is held."""
    workers: int
    """Living workers that can draw it."""


c = jobs.c

_ahead = (
    sa.select(c.units)
    .where(c.waits_for == bindparam("of"))
    .where(sa.tuple_(c.start_tag, c.id) < sa.tuple_(bindparam("start"), bindparam("job")))
    .limit(bindparam("most"))
    .subquery("ahead")
)
_AHEAD = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(_ahead.c.units), 0.0)).select_from(_ahead)
_RUNNING = sa.select(*COLUMNS).where(IS_RUNNING).order_by(c.started_at, c.id)


def place_of(connection: Connection, job: Job, now: float, alive_since: float) -> Place:
    """Return where ``job`` stands, given the workers that gave a sign of life after ``alive_since``."""
    able = [worker for worker in workers.alive(connection, alive_since) if job.request.model in worker.models]
    if job.state.ended:
        return Place(0, 0.0, len(able))
    speed_of = speeds.known(connection)
    running = [job_of(row) for row in connection.execute(_RUNNING)]
    if job.state is JobState.RUNNING:
        mine = [other for other in running if other.worker_id == job.worker_id]
        before = [other for other in mine if (other.started_at or 0.0, other.id) < (job.started_at or 0.0, job.id)]
        return Place(0, _total([_remaining(other, speed_of) for other in [*before, job]]), len(able))
    rivals = {job.request.model} | {model for worker in able for model in worker.models}
    position, work = 1, [_drawing(job, speed_of)]
    ahead: list[float | None] = []
    for model in sorted(rivals):
        count, units = connection.execute(
            _AHEAD, {"of": model, "start": job.start_tag, "job": job.id, "most": FAR}
        ).one()
        position += count
        if count:
            speed = speed_of.get(model)
            ahead.append(None if speed is None else speed.seconds_for(units, count))
    busy = [
        _total([_remaining(other, speed_of) for other in running if other.worker_id == worker.id]) for worker in able
    ]
    seconds = None
    if able and reason(connection, job.account.guild_id) is None:
        total_ahead, known_busy = _total(ahead), [until for until in busy if until is not None]
        own = _total(work)
        if total_ahead is not None and own is not None and len(known_busy) == len(busy):
            seconds = wait(total_ahead, known_busy) + own
    return Place(position, seconds, len(able))


def _drawing(job: Job, speed_of: dict[str, Speed]) -> float | None:
    speed = speed_of.get(job.request.model)
    return None if speed is None else speed.seconds_for(job.request.megapixel_steps)


def _remaining(job: Job, speed_of: dict[str, Speed]) -> float | None:
    whole = _drawing(job, speed_of)
    if whole is None:
        return None
    return whole * (1 - min(job.steps_done / job.steps_total, 1.0)) if job.steps_total else whole


def _total(parts: Sequence[float | None]) -> float | None:
    """Return the sum, or None when one part is not known."""
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None
