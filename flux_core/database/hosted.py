"""What hosted providers claim: the first waiting job that the router sends to the one that asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database import lineup, spending
from flux_core.database import policies as community
from flux_core.database.claims import TAKEN
from flux_core.database.crew import Crew, Line, errand_of
from flux_core.database.jobs import (
    COLUMNS,
    IS_QUEUED,
    admit_all,
    find,
    job_of,
    reconsider,
    remark,
)
from flux_core.database.pauses import holding
from flux_core.database.tables import jobs
from flux_core.database.turns import overtake
from flux_core.database.workers import WorkerInfo
from flux_core.jobs import Job, Remark
from flux_core.policy.guild import NOTHING_DECIDED
from flux_core.quota import day_at
from flux_core.router import LOCAL, Choice, RoutingPolicy, route

LOOKED_AT = 2_000
"""Waiting jobs that one claim passes by at most."""
ROUTED = 100
"""Jobs of them about which it asks the router."""

c = jobs.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the operator decides for all."""

    policy: RoutingPolicy
    """Where a guild has none of its own."""
    zone: ZoneInfo
    """Where a day of spending begins at midnight."""
    lease_seconds: float
    """Also the silence after which a worker does not count as alive."""

    def look(self, connection: Connection, now: float) -> Crew:
        """Look who draws now."""
        return Crew(connection, now - self.lease_seconds, day_at(now, self.zone))


_BOUND = (
    sa.select(c.id)
    .where(IS_QUEUED, c.provider_job_id.is_not(None), c.waits_hosted.is_not(None), c.provider == bindparam("by"))
    .order_by(c.start_tag, c.id)
    .limit(1)
)
_FOR_HOSTED_ALONE = (
    sa.select(c.id, c.guild_id)
    .where(c.waits_hosted.in_(bindparam("of", expanding=True)), c.waits_hosted.is_not(None))
    .where(c.provider_job_id.is_(None), c.waits_for.is_(None), c.asked.is_(None))
    .order_by(c.waits_hosted, c.lane, c.guild_id, c.start_tag, c.id)
    .limit(bindparam("most"))
)
_TAKE = (
    sa.update(jobs)
    .where(c.id == bindparam("job"), IS_QUEUED)
    .values(TAKEN | {"provider": bindparam("by")})
    .returning(*COLUMNS)
)


@dataclass(frozen=True, slots=True)
class _Found:
    """What a look along the queue came to."""

    worker: WorkerInfo
    bound: str | None = None
    """A job that was submitted to this provider already."""
    sent: tuple[Job, Choice] | None = None
    """The first job that the router sends there."""
    for_us: Sequence[str] = ()
    """Jobs met on the way that our own cards shall draw but may not claim."""
    line: Line | None = None
    """The jobs that wait for our own cards."""


def claim(connection: Connection, worker_id: str, terms: Terms, now: float) -> Job | None:
    """Give a hosted provider's worker the first job that is to be drawn there now, or None.

    What was submitted there comes first, then the others in their turn.
    """
    found = _look(connection, worker_id, terms, now)
    if found is None:
        return None
    if found.bound is not None:
        job = _take(connection, found.bound, found.worker, terms, now)
        reconsider(connection, job.account)
        return job
    for job_id in found.for_us:
        admit_all(connection, job_id)
    if found.sent is None:
        return None
    (waiting, choice), worker = found.sent, found.worker
    job = _take(connection, waiting.id, worker, terms, now)
    _charge(connection, job, found.line)
    offer = worker.offers[waiting.request.model]
    if offer.price is not None:
        day = day_at(now, terms.zone)
        spending.reserve(connection, waiting, worker.provider, offer.cost(waiting.request), day, now)
    return remark(connection, job, Remark("routed", {"provider": choice.provider, "why": choice.why}))


def anything_for(connection: Connection, worker_id: str, terms: Terms, now: float) -> bool:
    """Say whether a claim would change anything now; a look, for which no writer has to wait."""
    found = _look(connection, worker_id, terms, now)
    return found is not None and bool(found.bound or found.sent or found.for_us)


def _look(connection: Connection, worker_id: str, terms: Terms, now: float) -> _Found | None:
    if holding(connection, None):
        return None
    crew = terms.look(connection, now)
    worker = next((worker for worker in crew.workers if worker.id == worker_id and worker.hosted), None)
    if worker is None:
        return None
    bound = connection.execute(_BOUND, {"by": worker.provider}).scalar()
    if bound is not None:
        return _Found(worker, bound=bound)
    if worker.closed is not None or crew.free(worker.provider) == 0:
        return None
    waiting = _waiting(connection, worker, now)
    if not waiting:
        return _Found(worker)
    line = Line(connection, crew.local_skills)
    sent, for_us = _walk(connection, crew, line, waiting, worker, terms.policy, now)
    return _Found(worker, sent=sent, for_us=for_us, line=line)


def _charge(connection: Connection, job: Job, line: Line | None) -> None:
    """Charge the turn of a job that may overtake what waits for our own cards."""
    first = line and line.first(besides=job.id)
    own = line and line.first(besides=job.id, guild_id=job.account.guild_id)
    overtake(connection, job, ahead=first.turn if first else None, ahead_in_guild=own.start_tag if own else None)
    reconsider(connection, job.account)


def _walk(
    connection: Connection,
    crew: Crew,
    line: Line,
    waiting: Sequence[Any],
    worker: WorkerInfo,
    default: RoutingPolicy,
    now: float,
) -> tuple[tuple[Job, Choice] | None, list[str]]:
    """Return the job for ``worker``, and those met on the way that our own cards shall draw but may not claim."""
    policies = community.policies_of(connection, [row.guild_id for row in waiting])
    for_us, routed = list[str](), 0
    for row in waiting:
        decided = policies.get(row.guild_id, NOTHING_DECIDED)
        policy = decided.routing or default
        ahead = line.walk_to(row)
        if row.waits_for is not None and _is_ours(crew, row, ahead, policy):
            continue
        routed += 1
        if routed > ROUTED:
            break
        job = find(connection, row.id)
        if job is None:
            continue
        if job.unreadable:
            return (job, Choice(worker.provider, "unreadable")), for_us  # whoever meets it gives it up
        # What may wait for our own cards does so for a moment even while none of them is up.
        venues = crew.venues(
            job.request,
            ahead,
            expected=row.waits_for is not None,
            guild_id=row.guild_id,
            policy=decided,
        )
        verdict = route(errand_of(job, now=now, since=worker.started_at), venues, policy)
        if isinstance(verdict, Choice) and verdict.provider == worker.provider:
            return (job, verdict), for_us
        if isinstance(verdict, Choice) and verdict.provider == LOCAL and row.waits_for is None:
            for_us.append(row.id)
    return None, for_us


def _waiting(connection: Connection, worker: WorkerInfo, now: float) -> list[Any]:
    """Return the jobs that ``worker`` may be sent now, in their turn, as the index knows them."""
    return [
        row
        for row in lineup.for_hosted(connection, worker.offers, LOOKED_AT)
        if row.asked in (None, worker.provider) and (row.rests_until or 0.0) <= now
    ]


def _is_ours(crew: Crew, row: Any, ahead: Mapping[str, tuple[int, float]], policy: RoutingPolicy) -> bool:
    """Say, without reading the request, that the router would leave a job to our own cards."""
    if policy.first != "local" or not crew.able(row.waits_for):
        return False
    seconds = crew.local_seconds(row.waits_for, row.units, ahead)
    return seconds is None or seconds <= policy.overflow_seconds


def _take(connection: Connection, job_id: str, worker: WorkerInfo, terms: Terms, now: float) -> Job:
    until = now + terms.lease_seconds
    key = {"job": job_id, "worker": worker.id, "by": worker.provider, "now": now, "until": until}
    return job_of(connection.execute(_TAKE, key).one())


def left_for_us(connection: Connection, terms: Terms, now: float, most: int = 500) -> list[str]:
    """Return the jobs meant for hosted providers that none of those takes now, and that our own cards could draw.

    A claim finds them on its way; this is for the time in which no hosted provider asks.
    """
    crew, found = terms.look(connection, now), []
    rows = connection.execute(_FOR_HOSTED_ALONE, {"of": list(crew.local_models), "most": most}).all()
    policies = community.policies_of(connection, [row.guild_id for row in rows])
    for job_id, guild_id in rows:
        job = find(connection, job_id)
        if job is None:
            continue
        decided = policies.get(guild_id, NOTHING_DECIDED)
        venues = crew.venues(job.request, {}, guild_id=guild_id, policy=decided)
        verdict = route(errand_of(job), venues, decided.routing or terms.policy)
        if isinstance(verdict, Choice) and verdict.provider == LOCAL:
            found.append(job_id)
    return found


def admit(connection: Connection, job_ids: Sequence[str]) -> int:
    """Let our own cards claim jobs that were meant for hosted providers; return how many."""
    for job_id in job_ids:
        admit_all(connection, job_id)
    return len(job_ids)
