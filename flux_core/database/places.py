"""Where a job stands: what is drawn before it and how long that takes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database import policies
from flux_core.database.crew import Crew, Work, errand_of, is_bound, total
from flux_core.database.hosted import Terms
from flux_core.database.jobs import IS_QUEUED
from flux_core.database.lineup import Look, ahead_of
from flux_core.database.pauses import holding
from flux_core.database.tables import jobs, members
from flux_core.database.workers import WorkerInfo
from flux_core.estimates import wait
from flux_core.jobs import Job, JobState
from flux_core.router import LOCAL, Choice, route, takes_now
from flux_core.skills import draws, skill, skill_for


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


_MOST = sa.select(members.c.most_running).where(
    members.c.guild_id == bindparam("guild"), members.c.user_id == bindparam("user")
)
_OWN_BEFORE = (
    sa.select(c.model, c.lora, c.units, c.waits_for, c.waits_hosted)
    .where(c.guild_id == bindparam("guild"), c.user_id == bindparam("user"), IS_QUEUED, c.held.is_(None))
    .where(
        sa.or_(
            c.lane < bindparam("of_lane"),
            sa.and_(
                c.lane == bindparam("of_lane"),
                sa.or_(
                    c.start_tag < bindparam("start"),
                    sa.and_(c.start_tag == bindparam("start"), c.id < bindparam("job")),
                ),
            ),
        )
    )
)


@dataclass(frozen=True, slots=True)
class _OneByOne:
    """What a job waits for by itself, where its member may have only so many drawn at the same time."""

    most: int
    running: Sequence[Any]
    """Those of the member."""
    before: Sequence[Any]
    """Those of the member that come first, claimable or not."""

    def with_held(self, ahead: Work, skills: Collection[str]) -> Work:
        """Return the work ``ahead`` with what of ``skills`` nobody may claim yet, though it comes before this job.

        Hosted providers need no skill but the model.
        """
        held = dict(ahead)
        for row in self.before:
            needed = next((one for one in (skill(row.model, row.lora), row.model) if one in skills), None)
            if row.waits_for is None and row.waits_hosted is None and needed is not None:
                count, units = held.get(needed, (0, 0.0))
                held[needed] = (count + 1, units + row.units)
        return held

    def seconds(self, crew: Crew, provider: str, own: float | None) -> float | None:
        """Return how long it takes at least until all of that is drawn, and the job itself in ``own`` seconds."""
        busy = [crew.remaining(row) for row in self.running][: self.most]
        ahead = total([crew.drawing(provider, row.model, row.units) for row in self.before])
        known = total(busy)
        if own is None or ahead is None or known is None:
            return None
        hands = [until or 0.0 for until in busy] + [0.0] * (self.most - len(busy))
        return wait(ahead, hands) + own


def _one_by_one(connection: Connection, crew: Crew, job: Job) -> _OneByOne | None:
    key = {"guild": job.account.guild_id, "user": job.account.user_id}
    most = connection.execute(_MOST, key).scalar()
    if most is None:
        return None
    place = {"of_lane": job.lane.value, "start": job.start_tag, "job": job.id}
    return _OneByOne(most, crew.running_of(job.account), connection.execute(_OWN_BEFORE, key | place).all())


def place_of(connection: Connection, job: Job, terms: Terms, now: float) -> Place:
    """Return where ``job`` stands."""
    return _place(connection, terms.look(connection, now), ahead_of, job, terms, now)


def places_of(connection: Connection, listed: Sequence[Job], terms: Terms, now: float) -> list[Place]:
    """Return where each of several jobs stands, in one look along the line: each look at a long one takes a while."""
    crew, look = terms.look(connection, now), Look([job.id for job in listed])
    return [_place(connection, crew, look.ahead_of, job, terms, now) for job in listed]


def _place(
    connection: Connection, crew: Crew, find_ahead: Callable[..., Work], job: Job, terms: Terms, now: float
) -> Place:
    able = [worker for worker in crew.workers if _can_draw(worker, job)]
    if job.state.ended:
        return Place(0, 0.0, len(able))
    if job.state is JobState.RUNNING:
        return Place(0, _running(crew, job), len(able))
    held = job.held is not None or holding(connection, job.account.guild_id)
    request, model, needed = job.request, job.request.model, skill_for(job.request)
    ahead = find_ahead(connection, job.id, crew.rivals(needed))
    limit = _one_by_one(connection, crew, job)
    if limit is not None:
        ahead = limit.with_held(ahead, crew.rivals(needed))
    decided = policies.policy_of(connection, job.account.guild_id)
    policy = decided.routing or terms.policy
    errand = errand_of(job)
    venues = crew.venues(request, ahead, guild_id=job.account.guild_id, policy=decided)
    verdict = route(errand, venues, policy)
    if not is_bound(job):
        ready = {venue.provider for venue in venues if venue.hosted and takes_now(errand, venue, policy)}
        able = [worker for worker in able if not worker.hosted or worker.provider in ready]
    provider, seconds = LOCAL, None
    if isinstance(verdict, Choice) and verdict.provider != LOCAL:
        provider, position = verdict.provider, 1 + (0 if limit is None else len(limit.before))
        seconds = crew.drawing(provider, model, crew.units(provider, request))
    elif job.venue != "hosted" and LOCAL not in job.tried and not is_bound(job):
        position = 1 + sum(count for count, _ in ahead.values())
        seconds = crew.local_seconds(needed, crew.units(LOCAL, request), ahead)
    else:
        before = find_ahead(connection, job.id, [model], hosted=True)
        count, work = (before if limit is None else limit.with_held(before, [model])).get(model, (0, 0.0))
        providers = {worker.provider for worker in able if worker.hosted}
        provider = min(providers, default=LOCAL)
        position, seconds = 1 + count, crew.hosted_seconds(providers, request, count, work)
    if seconds is not None and limit is not None:
        own = limit.seconds(crew, provider, crew.drawing(provider, model, crew.units(provider, request)))
        seconds = None if own is None else max(seconds, own)
    if seconds is not None:
        seconds += max(0.0, (connection.execute(_RESTS_UNTIL, {"job": job.id}).scalar() or 0.0) - now)
    return Place(position, None if held else seconds, len(able))


def _can_draw(worker: WorkerInfo, job: Job) -> bool:
    if is_bound(job):
        return worker.provider == job.provider
    venue = worker.provider if worker.hosted else LOCAL
    return (
        draws(worker.offers, job.request.model if worker.hosted else skill_for(job.request))
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
