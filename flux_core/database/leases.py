"""What happens to a job between its claim and its end: kept alive, handed back, ended, rescued."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam
from sqlalchemy.dialects.postgresql import JSON

from flux_core.database import ledger, locks, members, policies, spending
from flux_core.database.jobs import (
    CLAIMED_AGAIN,
    COLUMNS,
    IS_RUNNING,
    LIMITED,
    job_of,
    reconsider,
    remark,
)
from flux_core.database.pictures import as_json, discard, insert_pictures, pictures_from_json
from flux_core.database.rejoining import rejoin_after
from flux_core.database.routines import Routine
from flux_core.database.tables import jobs
from flux_core.database.tables import spending as spending_table
from flux_core.errors import FluxError, LeaseLost, OrderUnreadable, OutcomeUnknown, OutputRefused, TimedOut, WorkerLost
from flux_core.jobs import Job, JobState, Picture, Remark
from flux_core.models import Mode
from flux_core.moderation.output import Fate, fate

c = jobs.c

_IS_OWNED = (c.id == bindparam("job"), IS_RUNNING, c.worker_id == bindparam("worker"))


_EXTEND = (
    sa.update(jobs)
    .where(c.id.in_(bindparam("jobs", expanding=True)), IS_RUNNING, c.worker_id == bindparam("worker"))
    .values(lease_until=bindparam("until"))
    .returning(c.id, c.cancel_requested)
)


@locks.may_be_undone
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


@locks.may_be_undone
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


@locks.beside_others
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
        drawn_mode=bindparam("in_mode", type_=sa.Text),
    )
    .returning(*COLUMNS, LIMITED)
)
_DRAWN = _END.values(
    microdollars=sa.func.coalesce(
        bindparam("paid", type_=sa.BigInteger),
        # What was expected, where the provider does not tell.
        sa.select(spending_table.c.microdollars)
        .where(spending_table.c.job_id == c.id, spending_table.c.provider == bindparam("by", type_=sa.Text))
        .scalar_subquery(),
    )
)


def _together() -> Routine:
    """Return the routine that ends a drawn job on PostgreSQL with its pictures and its settlement.

    No row: its worker has lost it, its member may have so many running at most, or something is to be remarked.
    """
    asked_mode = sa.func.coalesce(sa.cast(c.request, JSON)["mode"].astext, Mode.QUALITY.value)
    as_asked = asked_mode == bindparam("in_mode", type_=sa.Text)
    mine = sa.select(c.guild_id, c.user_id).where(*_IS_OWNED, as_asked).cte("mine")
    ended = _DRAWN.where(members.unlimited(mine)).cte("ended")
    shown, settled = pictures_from_json(ended), ledger.settlement(ended)
    statement = sa.select(ended).add_cte(shown.cte("shown"), settled.cte("settled"))
    return Routine("succeed", statement, before=(locks.TOGETHER,))


_SUCCEEDED = _together()


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
    mode: Mode | None = None,
    drawn: bool = False,
    at_once: Sequence[Picture] | None = None,
) -> Job:
    changes: dict[str, Any] = {
        "job": job_id,
        "worker": worker_id,
        "ends_as": state.value,
        "now": now,
        "began": began,
        "by": provider,
        "code": error and error.code,
        "facts": error and json.dumps(error.facts, default=str),
        "paid": microdollars,
        "in_mode": mode,
    }
    if at_once is not None:
        rows = _SUCCEEDED.rows(connection, changes | {"finished": as_json(at_once)})
        if not rows:
            raise locks.Contended
        return job_of(rows[0])
    row = connection.execute(_DRAWN if drawn else _END, changes).one_or_none()
    if row is None:
        raise LeaseLost(job=job_id)
    job = job_of(row)
    if row.limited is not None:
        reconsider(connection, job.account)
        rejoin_after(connection, job.account, row.limited)
    return job


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What a provider tells of a drawing besides its pictures."""

    provider: str
    seconds: float
    withheld: str | None = None
    missing: int = 0
    from_words: bool = False
    microdollars: int | None = None
    mode: Mode = Mode.QUALITY
    why_mode: str | None = None
    """Why it was drawn in another mode than was asked for, in plain words, where the provider tells."""


@locks.in_a_message
def succeed(
    connection: Connection, worker_id: str, job_id: str, pictures: Sequence[Picture], drawn: Drawn, now: float
) -> Job:
    """End a job with its pictures and keep its cost, except for pictures that are missing; raises LeaseLost.

    Where its community does not want them shown, they are discarded, and the job ends as refused with its cost back:
    what a hosted provider got for them is spent all the same.
    """
    plain = not (any(picture.unsafe for picture in pictures) or drawn.missing or drawn.from_words)
    began = now - max(drawn.seconds, 0.0)
    if plain and drawn.microdollars is None and locks.unneeded(connection):
        return _end(
            connection,
            worker_id,
            job_id,
            JobState.SUCCEEDED,
            now,
            provider=drawn.provider,
            began=began,
            mode=drawn.mode,
            at_once=pictures,
        )
    locks.account_of(connection, job_id)
    if drawn.microdollars is not None:
        spending.correct(connection, job_id, drawn.provider, drawn.microdollars)
    decided, error = _fate(connection, worker_id, job_id, pictures)
    job = _end(
        connection,
        worker_id,
        job_id,
        JobState.SUCCEEDED if error is None else JobState.REFUSED,
        now,
        error=error,
        provider=drawn.provider,
        began=began,
        microdollars=drawn.microdollars,
        mode=drawn.mode,
        drawn=True,
    )
    if error is not None:
        return _not_shown(connection, job, pictures, error, now)
    if decided == "spoiler":
        job = job_of(connection.execute(_HIDE, {"job": job_id}).one())
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
    remarks += _of_mode(job, drawn)
    return remark(connection, job, *remarks) if remarks else job


def _of_mode(job: Job, drawn: Drawn) -> list[Remark]:
    """Return what is remarked on a drawing in another mode than was asked for."""
    if drawn.mode is job.request.mode:
        return []
    facts = {"provider": drawn.provider, "mode": drawn.mode.value, "reason": drawn.why_mode}
    return [Remark("other_mode", facts)]


def _fate(
    connection: Connection, worker_id: str, job_id: str, pictures: Sequence[Picture]
) -> tuple[Fate, OutputRefused | None]:
    """Return what becomes of drawn pictures, and what their member is told where they are not shown."""
    unsafe = [picture.unsafe for picture in pictures]
    if not any(unsafe):
        return "show", None  # nothing was found, or nobody looked: whatever the community has decided
    job = owned(connection, worker_id, job_id)
    rule = policies.policy_of(connection, job.account.guild_id).output
    decided = fate(rule, unsafe, age_restricted=job.age_restricted)
    error = OutputRefused(elsewhere=rule.action == "age_restricted") if decided == "refuse" else None
    return decided, error


_HIDE = sa.update(jobs).where(c.id == bindparam("job")).values(spoiler=True).returning(*COLUMNS)
_NO_PREVIEW = sa.update(jobs).where(c.id == bindparam("job")).values(preview_key=None).returning(*COLUMNS)


def _not_shown(connection: Connection, job: Job, pictures: Sequence[Picture], error: FluxError, now: float) -> Job:
    keys = [*(picture.key for picture in pictures), job.preview_key]
    discard(connection, [key for key in keys if key is not None], now)
    ledger.refund(connection, job, now, error.code)
    return job_of(connection.execute(_NO_PREVIEW, {"job": job.id}).one())


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
    without_answer = error is None or isinstance(error, TimedOut | WorkerLost | OrderUnreadable)
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
        **CLAIMED_AGAIN,
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
    after = job_of(connection.execute(_REQUEUE, key).one())
    reconsider(connection, after.account)
    return after


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
