"""When a job's turn is, asked of the studio, as cards and lists tell it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from bot.layouts.cards import Turn
from flux_core.database.pauses import Stop
from flux_core.jobs import Job, JobState
from flux_core.service import Place, Studio


async def turn_of(studio: Studio, job: Job, clock: Callable[[], float] = time.time) -> Turn:
    """Return when the turn of ``job`` is; raises JobNotFound."""
    place = await studio.place(job.id)
    stops = await studio.line.stops(job.account.guild_id) if job.state is JobState.QUEUED else ()
    return _turn(place, stops, clock)


async def turns_of(studio: Studio, listed: Sequence[Job], clock: Callable[[], float] = time.time) -> list[Turn]:
    """Return when the turn of each of several jobs of one guild is: one look along the line for all of them."""
    if not listed:
        return []
    stops = await studio.line.stops(listed[0].account.guild_id)
    places = await studio.places(listed)
    return [
        _turn(place, stops if job.state is JobState.QUEUED else (), clock)
        for job, place in zip(listed, places, strict=True)
    ]


def _turn(place: Place, stops: Sequence[Stop], clock: Callable[[], float]) -> Turn:
    return Turn(
        place.position,
        None if place.seconds is None else clock() + place.seconds,
        place.workers,
        paused=any(not stop.drains for stop in stops),
        draining=bool(stops) and all(stop.drains for stop in stops),
    )
