"""What happens to a job between the queue and its end: claimed, kept alive, handed back, ended, rescued."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database import ledger, spending
from flux_core.database.jobs import (
    CLAIMED_AGAIN_UNLESS_PAUSED,
    CLAIMED_BY_NOBODY,
    COLUMNS,
    IS_RUNNING,
    advance_virtual_time,
    job_of,
    remark,
)
from flux_core.database.pictures import discard, insert_pictures
from flux_core.database.tables import EVERYWHERE, jobs, pauses
from flux_core.database.tables import spending as spending_table
from flux_core.errors import FluxError, LeaseLost, OutcomeUnknown, TimedOut, WorkerLost
from flux_core.jobs import Job, JobState, Picture, Remark

c = jobs.c

_IS_OWNED = (c.id == bindparam("job"), IS_RUNNING, c.worker_id == bindparam("worker"))


@cache
def _claim(models: int) -> sa.sql.dml.ReturningUpdate[Any]:
    """Return the claim among ``models`` models: one step into the claim's index for each, and the smallest of them."""
    heads = []
    for number in range(models):
        waiting = jobs.alias(f"waiting_{number}")
        heads.append(
            sa.select(waiting.c.id, waiting.c.start_tag)
            .where(waiting.c.waits_for == bindparam(f"model_{number}"))
            .order_by(waiting.c.start_tag, waiting.c.id)
            .limit(sa.literal_column("1"))
            .subquery(f"head_{number}")
        )
    first = sa.union_all(*(sa.select(head) for head in heads)).subquery("first")
    chosen = sa.select(first.c.id).order_by(first.c.start_tag, first.c.id).limit(sa.literal_column("1"))
    open_everywhere = ~sa.exists(
        sa.select(pauses.c.guild_id).where(pauses.c.guild_id == sa.literal_column(str(EVERYWHERE)))
    )
    return (
        sa.update(jobs)
        .where(c.id == chosen.scalar_subquery(), open_everywhere)
        .values(
            state=JobState.RUNNING.value,
            **CLAIMED_BY_NOBODY,
            attempts=c.attempts + 1,
            worker_id=bindparam("worker"),
            lease_until=bindparam("until"),
            started_at=bindparam("now"),
            steps_done=0,
            steps_total=0,
        )
        .returning(*COLUMNS)
    )


def claim(connection: Connection, worker_id: str, models: Sequence[str], now: float, lease: float) -> Job | None:
    """Give the worker the job whose turn it is among ``models``, or None."""
    if not models:
        return None
    wanted = {f"model_{number}": model for number, model in enumerate(models)}
    row = connection.execute(
        _claim(len(models)), wanted | {"worker": worker_id, "now": now, "until": now + lease}
    ).one_or_none()
    if row is None:
        return None
    advance_virtual_time(connection, row.start_tag)
    return job_of(row)


_EXTEND = (
    sa.update(jobs)
    .where(c.id.in_(bindparam("jobs", expanding=True)), IS_RUNNING, c.worker_id == bindparam("worker"))
    .values(lease_until=bindparam("until"))
    .returning(c.id, c.cancel_requested)
)


def heartbeat(connection: Connection, worker_id: str, job_ids: Sequence[str], until: float) -> dict[str, bool]:
    """Extend the leases that the worker still has; return for each whether it should stop."""
    if not job_ids:
        return {}
    rows = connection.execute(_EXTEND, {"jobs": list(job_ids), "worker": worker_id, "until": until})
    return {row.id: row.cancel_requested for row in rows}


_WANTED = sa.select(c.id, c.cancel_requested).where(
    c.id.in_(bindparam("jobs", expanding=True)), IS_RUNNING, c.worker_id == bindparam("worker")
)


def wanted(connection: Connection, worker_id: str, job_ids: Sequence[str]) -> dict[str, bool]:
    """Return what a heartbeat would, without extending any lease."""
    rows = connection.execute(_WANTED, {"jobs": list(job_ids), "worker": worker_id})
    return {row.id: row.cancel_requested for row in rows}


_PREVIEW = sa.select(c.preview_key).where(*_IS_OWNED)
_PROGRESS = sa.update(jobs).where(*_IS_OWNED).values(steps_done=bindparam("done"), steps_total=bindparam("total"))
_PROGRESS_WITH_PREVIEW = _PROGRESS.values(preview_key=bindparam("preview"))


def progress(
    connection: Connection, worker_id: str, job_id: str, done: int, total: int, preview_key: str | None, now: float
) -> None:
    """Note how far a job is; of a worker that does not own it, nothing is kept."""
    owned = {"job": job_id, "worker": worker_id, "done": done, "total": total}
    if preview_key is None:
        connection.execute(_PROGRESS, owned)
        return
    before = connection.execute(_PREVIEW, {"job": job_id, "worker": worker_id}).scalar()
    if connection.execute(_PROGRESS_WITH_PREVIEW, owned | {"preview": preview_key}).rowcount == 0:
        discard(connection, [preview_key], now)  # it lies in the store already
    elif before is not None and before != preview_key:
        discard(connection, [before], now)


_SUBMITTED = sa.update(jobs).where(*_IS_OWNED).values(provider=bindparam("by"), provider_job_id=bindparam("known_as"))


def submitted(connection: Connection, worker_id: str, job_id: str, provider: str, provider_job_id: str) -> None:
    """Keep the provider's own id of a job, or forget it when it is empty; raises LeaseLost."""
    owned = {"job": job_id, "worker": worker_id, "by": provider, "known_as": provider_job_id or None}
    if connection.execute(_SUBMITTED, owned).rowcount == 0:
        raise LeaseLost(job=job_id)


_END = (
    sa.update(jobs)
    .where(*_IS_OWNED)
    .values(
        state=bindparam("ends_as"),
        lease_until=None,
        ended_at=bindparam("now"),
        started_at=sa.func.coalesce(bindparam("began", type_=sa.Double), c.started_at),
        provider=sa.func.coalesce(bindparam("by", type_=sa.Text), c.provider),
        error_code=bindparam("code"),
        error_facts=bindparam("facts"),
        microdollars=bindparam("paid", type_=sa.BigInteger),
    )
    .returning(*COLUMNS)
)
_SUCCEED = _END.values(
    microdollars=sa.func.coalesce(
        bindparam("paid", type_=sa.BigInteger),
        # What was expected, where the provider does not tell.
        sa.select(spending_table.c.microdollars)
        .where(spending_table.c.job_id == c.id, spending_table.c.provider == bindparam("by", type_=sa.Text))
        .scalar_subquery(),
    )
)


def _end(
    connection: Connection,
    worker_id: str,
    job_id: str,
    state: JobState,
    now: float,
    *,
    error: FluxError | None = None,
    provider: str | None = None,
    began: float | None = None,
    microdollars: int | None = None,
) -> Job:
    changes = {
        "job": job_id,
        "worker": worker_id,
        "ends_as": state.value,
        "now": now,
        "began": began,
        "by": provider,
        "code": error and error.code,
        "facts": error and json.dumps(error.facts, default=str),
        "paid": microdollars,
    }
    row = connection.execute(_SUCCEED if state is JobState.SUCCEEDED else _END, changes).one_or_none()
    if row is None:
        raise LeaseLost(job=job_id)
    return job_of(row)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What a provider tells of a drawing besides its pictures."""

    provider: str
    seconds: float
    withheld: str | None = None
    missing: int = 0
    from_words: bool = False
    microdollars: int | None = None


def succeed(
    connection: Connection, worker_id: str, job_id: str, pictures: Sequence[Picture], drawn: Drawn, now: float
) -> Job:
    """End a job with its pictures and keep its cost, except for pictures that are missing; raises LeaseLost."""
    if drawn.microdollars is not None:
        spending.correct(connection, job_id, drawn.provider, drawn.microdollars)
    began = now - max(drawn.seconds, 0.0)
    job = _end(
        connection,
        worker_id,
        job_id,
        JobState.SUCCEEDED,
        now,
        provider=drawn.provider,
        began=began,
        microdollars=drawn.microdollars,
    )
    insert_pictures(connection, job_id, pictures)
    remarks = []
    if drawn.missing:
        reason = drawn.withheld or ""
        refunded = ledger.settle_partly(connection, job, drawn.missing, "partly_withheld", now)
        facts = {"missing": drawn.missing, "reason": reason, "refunded": refunded}
        remarks.append(Remark("partly_withheld", facts))
    else:
        ledger.settle(connection, job, now)
    if drawn.from_words:
        remarks.append(Remark("from_words", {"provider": drawn.provider}))
    return remark(connection, job, *remarks) if remarks else job


def end_without_pictures(
    connection: Connection,
    worker_id: str,
    job_id: str,
    state: JobState,
    now: float,
    error: FluxError | None = None,
    microdollars: int | None = None,
) -> Job:
    """End a job as failed, refused or cancelled and give its cost back; raises LeaseLost.

    ``microdollars`` is what a hosted provider charged all the same, where that is known.
    """
    job = _end(connection, worker_id, job_id, state, now, error=error, microdollars=microdollars)
    ledger.refund(connection, job, now, state.value if error is None else error.code)
    if job.provider is not None and not (microdollars is None and _may_be_billed(job, error)):
        spending.correct(connection, job_id, job.provider, microdollars or 0)
    return job


def _may_be_billed(job: Job, error: FluxError | None) -> bool:
    """Say whether a provider may charge for a job that ended without its answer."""
    without_answer = error is None or isinstance(error, TimedOut | WorkerLost)
    return isinstance(error, OutcomeUnknown) or (without_answer and job.provider_job_id is not None)


_OWNED = sa.select(*COLUMNS).where(*_IS_OWNED)


def owned(connection: Connection, worker_id: str, job_id: str) -> Job:
    """Return a job that the worker owns; raises LeaseLost."""
    row = connection.execute(_OWNED, {"job": job_id, "worker": worker_id}).one_or_none()
    if row is None:
        raise LeaseLost(job=job_id)
    return job_of(row)


_REQUEUE = (
    sa.update(jobs)
    .where(*_IS_OWNED)
    .values(
        state=JobState.QUEUED.value,
        worker_id=None,
        lease_until=None,
        started_at=None,
        attempts=c.attempts - bindparam("uncounted", type_=sa.Integer),
        provider=sa.case((c.provider_job_id.is_(None), None), else_=c.provider),
        steps_done=0,
        steps_total=0,
        **CLAIMED_AGAIN_UNLESS_PAUSED,
    )
    .returning(*COLUMNS)
)


def requeue(connection: Connection, worker_id: str, job_id: str, *, counted: bool) -> Job:
    """Put a running job back where it stood in the queue; raises LeaseLost.

    ``counted`` says whether the attempt that ends here is one of those it has. A hosted provider that was told
    nothing of the job costs nothing.
    """
    before = owned(connection, worker_id, job_id)
    if before.provider is not None and before.provider_job_id is None:
        spending.correct(connection, job_id, before.provider, 0)
    key = {"job": job_id, "worker": worker_id, "uncounted": 0 if counted else 1}
    return job_of(connection.execute(_REQUEUE, key).one())


_EXPIRED = sa.select(*COLUMNS).where(IS_RUNNING, c.lease_until <= bindparam("now")).order_by(c.lease_until)


def rescue(connection: Connection, now: float, max_attempts: int) -> list[Job]:
    """Take every job with an expired lease from its worker; return the jobs as they are after.

    Back to the queue while attempts are left, else failed; a job that was to be cancelled is cancelled.
    """
    expired = [job_of(row) for row in connection.execute(_EXPIRED, {"now": now})]
    return [_rescued(connection, job, now, max_attempts) for job in expired]


def _rescued(connection: Connection, job: Job, now: float, max_attempts: int) -> Job:
    worker = job.worker_id or ""
    if job.cancel_requested:
        return end_without_pictures(connection, worker, job.id, JobState.CANCELLED, now)
    if job.attempts >= max_attempts:
        error = WorkerLost(attempts=job.attempts)
        return end_without_pictures(connection, worker, job.id, JobState.FAILED, now, error)
    return requeue(connection, worker, job.id, counted=True)


_EXPIRE = sa.update(jobs).where(IS_RUNNING, c.worker_id == bindparam("worker")).values(lease_until=bindparam("now"))


def expire(connection: Connection, worker_id: str, now: float) -> None:
    """End the leases of a worker that is gone, so that the next rescue need not wait for them."""
    connection.execute(_EXPIRE, {"worker": worker_id, "now": now})
