"""Where a job stands: what is drawn before it and how long that takes."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database import policies
from flux_core.database.crew import FAR, Crew, errand_of, is_bound, total
from flux_core.database.hosted import Terms
from flux_core.database.pauses import reason
from flux_core.database.tables import jobs
from flux_core.database.workers import WorkerInfo
from flux_core.jobs import Job, JobState
from flux_core.router import LOCAL, Choice, route, takes_now


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job stands."""

    position: int
    """1: next to be drawn; 0: being drawn, or ended. Counts no further than ``FAR`` jobs per model."""
    seconds: float | None
    """Until it is done, from measured speeds; None when nothing was measured, nobody can draw it or it is held."""
    workers: int
    """Living workers that can draw it, those of hosted providers that take nothing at the moment not counted."""


c = jobs.c

_IS_AHEAD = sa.tuple_(c.start_tag, c.id) < sa.tuple_(bindparam("start"), bindparam("job"))
_ahead = sa.select(c.units).where(c.waits_for == bindparam("of"), _IS_AHEAD).limit(bindparam("most")).subquery("ahead")
_AHEAD = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(_ahead.c.units), 0.0)).select_from(_ahead)
_hosted = (
    sa.select(c.units)
    .where(c.waits_hosted == bindparam("of"), c.provider_job_id.is_(None), c.waits_for.is_(None), _IS_AHEAD)
    .limit(bindparam("most"))
    .subquery("hosted_ahead")
)
_RESTS_UNTIL = sa.select(c.rests_until).where(c.id == bindparam("job"))
_HOSTED_AHEAD = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(_hosted.c.units), 0.0)).select_from(_hosted)


def place_of(connection: Connection, job: Job, terms: Terms, now: float) -> Place:
    """Return where ``job`` stands."""
    crew = terms.look(connection, now)
    able = [worker for worker in crew.workers if _can_draw(worker, job)]
    if job.state.ended:
        return Place(0, 0.0, len(able))
    if job.state is JobState.RUNNING:
        return Place(0, _running(crew, job), len(able))
    held = reason(connection, job.account.guild_id) is not None
    model, units = job.request.model, job.request.megapixel_steps
    key = {"start": job.start_tag, "job": job.id, "most": FAR}
    ahead: dict[str, tuple[int, float]] = {}
    for other in sorted(crew.rivals(model)):
        count, work = connection.execute(_AHEAD, key | {"of": other}).one()
        if count:
            ahead[other] = (count, work)
    policy = policies.routing_of(connection, job.account.guild_id, terms.policy)
    errand, venues = errand_of(job), crew.venues(model, units, ahead)
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
        count, work = connection.execute(_HOSTED_AHEAD, key | {"of": model}).one()
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
    before = [row for row in mine if (row.started_at or 0.0, row.id) < (job.started_at or 0.0, job.id)]
    return total([crew.remaining(row) for row in [*before, *own]])
