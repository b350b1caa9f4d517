"""Jobs that a provider could not draw: another one gets them, or they end."""

from __future__ import annotations

import json
from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database import leases, ledger, policies, spending, workers
from flux_core.database.crew import errand_of
from flux_core.database.hosted import Terms
from flux_core.database.jobs import CLAIMED_BY_NOBODY, COLUMNS, IS_QUEUED, admit_all, job_of, remark
from flux_core.database.tables import jobs
from flux_core.errors import (
    FluxError,
    GenerationFailed,
    ModelUnavailable,
    OutcomeUnknown,
    ProviderBroken,
    ProviderFault,
    from_code,
)
from flux_core.jobs import Job, JobState, Remark
from flux_core.router import LOCAL, Choice, Nobody, Verdict, route
from flux_core.skills import skill_for

ABANDONED = 600.0
"""Seconds without a worker of its provider after which a submitted job is given up."""

PAUSES = (5.0, 30.0, 120.0)
"""Seconds between the attempts at the only provider there is, when its faults are transient: two and a half minutes of
an outage cost nothing but time, and a job at which it always stumbles does not occupy it."""

c = jobs.c

_REST = sa.update(jobs).where(c.id == bindparam("job")).values(rests_until=bindparam("until"))
_LET_GO = (
    sa.update(jobs)
    .where(c.id == bindparam("job"))
    .values(provider=None, provider_job_id=None, tried=bindparam("failed"))
)
_BOUND_TO = sa.select(c.provider).where(IS_QUEUED, c.provider_job_id.is_not(None), c.provider != LOCAL).distinct()
_BOUND = (
    sa.select(c.id)
    .where(IS_QUEUED, c.provider_job_id.is_not(None), c.provider.in_(bindparam("providers", expanding=True)))
    .order_by(c.id)
)
_GIVE_UP = (
    sa.update(jobs)
    .where(c.id == bindparam("job"), IS_QUEUED)
    .values(
        state=JobState.FAILED.value,
        ended_at=bindparam("now"),
        error_code=bindparam("code"),
        error_facts=bindparam("facts"),
        **CLAIMED_BY_NOBODY,
    )
    .returning(*COLUMNS)
)


def pass_on(
    connection: Connection,
    worker_id: str,
    job_id: str,
    error: GenerationFailed,
    terms: Terms,
    now: float,
) -> Job:
    """Give a job on which its provider failed to somebody else, to the same again, or end it; raises LeaseLost."""
    job = leases.owned(connection, worker_id, job_id)
    provider = job.provider or LOCAL  # a hosted one is noted with its claim
    crew = terms.look(connection, now)
    others = [worker for worker in crew.able(skill_for(job.request)) if worker.id != worker_id]
    if isinstance(error, ModelUnavailable) and provider == LOCAL and others and not job.cancel_requested:
        return leases.requeue(connection, worker_id, job_id, counted=False)
    if not isinstance(error, ProviderBroken):  # what came was no picture, and may well have been billed
        spending.correct(connection, job_id, provider, 0)
    job = remark(connection, job, Remark("passed_on", {"provider": provider, "code": error.code}))
    job = _let_go(connection, job, (*job.tried, provider))
    if job.cancel_requested:
        return leases.end_without_pictures(connection, worker_id, job_id, JobState.CANCELLED, now)
    decided = policies.policy_of(connection, job.account.guild_id)
    policy = decided.routing or terms.policy

    def verdict(*, expected: bool) -> Verdict:
        venues = crew.venues(
            job.request,
            {},
            expected=expected,
            guild_id=job.account.guild_id,
            policy=decided,
        )
        return route(errand_of(job, bound=False), venues, policy)

    found = verdict(expected=False)
    if isinstance(found, Nobody) and _transient(error) and job.attempts <= len(PAUSES):
        _let_go(connection, job, _failed_for_good(job))
        connection.execute(_REST, {"job": job_id, "until": now + PAUSES[job.attempts - 1]})
        return leases.requeue(connection, worker_id, job_id, counted=True)
    if isinstance(found, Nobody) and job.venue != "hosted":
        found = verdict(expected=True)  # our own cards are away, and will be back
    if isinstance(found, Nobody):
        return leases.end_without_pictures(connection, worker_id, job_id, JobState.FAILED, now, error)
    back = leases.requeue(connection, worker_id, job_id, counted=False)
    if isinstance(found, Choice) and found.provider == LOCAL and back.venue == "hosted":
        admit_all(connection, job_id)
        return back.evolve(venue="any")
    return back


def _let_go(connection: Connection, job: Job, tried: tuple[str, ...]) -> Job:
    """Unbind a job and set who failed on it."""
    tried = tuple(dict.fromkeys(tried))
    connection.execute(_LET_GO, {"job": job.id, "failed": json.dumps(tried) if tried else None})
    return job.evolve(provider=None, provider_job_id=None, tried=tried)


def _transient(error: FluxError) -> bool:
    return isinstance(error, ProviderFault) and error.transient


def _failed_for_good(job: Job) -> tuple[str, ...]:
    """Return those among the providers tried that would fail on the job again."""
    last = {one.facts["provider"]: one.facts["code"] for one in job.remarks if one.code == "passed_on"}
    return tuple(provider for provider in job.tried if not _transient(from_code(last.get(provider, ""), {})))


def missing(connection: Connection, known: Mapping[str, float], alive_since: float, now: float) -> dict[str, float]:
    """Return the providers at which waiting jobs were submitted and that have no worker: provider → since when.

    ``known`` is what the look before this one returned.
    """
    waited_for = set(connection.execute(_BOUND_TO).scalars())
    if not waited_for:
        return {}
    alive = {worker.provider for worker in workers.alive(connection, alive_since)}
    return {provider: known.get(provider, now) for provider in waited_for - alive}


def abandon(connection: Connection, providers: list[str], now: float) -> list[Job]:
    """End the waiting jobs that were submitted to ``providers``, with their cost back."""
    ended = []
    for job_id in connection.execute(_BOUND, {"providers": providers}).scalars().all():
        error = OutcomeUnknown()
        key = {"job": job_id, "now": now, "code": error.code, "facts": json.dumps(error.facts)}
        job = job_of(connection.execute(_GIVE_UP, key).one())
        ledger.refund(connection, job, now, error.code)
        ended.append(job)
    return ended
