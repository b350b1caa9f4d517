"""When a job's turn is, asked of the studio, as cards and lists tell it."""

from __future__ import annotations

import time
from collections.abc import Callable

from bot.cards import Turn
from flux_core.jobs import Job, JobState
from flux_core.service import Studio


async def turn_of(studio: Studio, job: Job, clock: Callable[[], float] = time.time) -> Turn:
    """Return when the turn of ``job`` is; raises JobNotFound."""
    place = await studio.place(job.id)
    ready_at = None if place.seconds is None else clock() + place.seconds
    stops = await studio.line.stops(job.account.guild_id) if job.state is JobState.QUEUED else ()
    return Turn(
        place.position,
        ready_at,
        place.workers,
        paused=any(not stop.drains for stop in stops),
        draining=bool(stops) and all(stop.drains for stop in stops),
    )
