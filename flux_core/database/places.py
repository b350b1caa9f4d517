"""Where a job stands: what is drawn before it and how long that takes."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database import policies
from flux_core.database.crew import Crew, errand_of, is_bound, total
from flux_core.database.hosted import Terms
from flux_core.database.lineup import ahead_of
from flux_core.database.pauses import holding
from flux_core.database.tables import jobs
from flux_core.database.workers import WorkerInfo
from flux_core.jobs import Job, JobState
from flux_core.router import LOCAL, Choice, route, takes_now


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job stands."""

    position: int
    """1: next to be drawn; 0: being drawn, or ended. Counts no further than ``lineup.FAR`` jobs."""
    seconds: float | None
    """Until it is done, from measured speeds; None when nothing was measured, nobody can draw it or it is held."""
    workers: int
    """Living workers that can draw it, those of hosted providers that take nothing at the moment not counted."""


c = jobs.c

_RESTS_UNTIL = sa.select(c.rests_until).where(c.id == bindparam("job"))


def place_of(connection: Connection, job: Job, terms: Terms, now: float) -> Place:
    """Return where ``job`` stands."""
    crew = terms.look(connection, now)
    able = [worker for worker in crew.workers if _can_draw(worker, job)]
    if job.state.ended:
        return Place(0, 0.0, len(able))
    if job.state is JobState.RUNNING:
        return Place(0, _running(crew, job), len(able))
    held = job.held is not None or holding(connection, job.account.guild_id)
    model, units = job.request.model, job.request.megapixel_steps
    ahead = ahead_of(connection, job.id, crew.rivals(model))
    decided = policies.policy_of(connection, job.account.guild_id)
    policy = decided.routing or terms.policy
    errand = errand_of(job)
    venues = crew.venues(model, units, ahead, guild_id=job.account.guild_id, policy=decided)
    verdict = route(errand, venues, policy)
    if not is_bound(job):
        ready = {venue.provider for venue in venues if venue.hosted and takes_now(errand, venue, policy)}
        able = [worker for worker in able if not worker.hosted or worker.provider in ready]
    seconds: float | None
    if isinstance(verdict, Choice) and verdict.provider != LOCAL:
        position, seconds = 1, crew.drawing(verdict.provider, model, units)
    elif job.venue != "hosted" and LOCAL not in job.tried and not is_bound(job):
        position, seconds = 1 + sum(count for count, _ in ahead.values()), crew.local_seconds(model, units, ahead)
    else:
        count, work = ahead_of(connection, job.id, [model], hosted=True).get(model, (0, 0.0))
        providers = {worker.provider for worker in able if worker.hosted}
        position, seconds = 1 + count, crew.hosted_seconds(providers, model, units, count, work)
    if seconds is not None:
        seconds += max(0.0, (connection.execute(_RESTS_UNTIL, {"job": job.id}).scalar() or 0.0) - now)
    return Place(position, None if held else seconds, len(able))


def _can_draw(worker: WorkerInfo, job: Job) -> bool:
    if is_bound(job):
        return worker.provider == job.provider
    venue = worker.provider if worker.hosted else LOCAL
    return (
        job.request.model in worker.offers
        and job.request.provider in (None, venue)
        and job.venue in ("any", "hosted" if worker.hosted else "local")
        and venue not in job.tried
    )


def _running(crew: Crew, job: Job) -> float | None:
    """Return the seconds that a running job still needs."""
    mine = crew.in_hands(job.worker_id)
    own = [row for row in mine if row.id == job.id]
    if any(row.provider not in (None, LOCAL) for row in own):
        return total([crew.remaining(row) for row in own])  # a hosted provider draws many at once
    # Those claimed at the same moment are drawn side by side: all of them take what they take together.
    by_then = [row for row in mine if (row.started_at or 0.0) <= (job.started_at or 0.0)]
    return total([crew.remaining(row) for row in by_then])
