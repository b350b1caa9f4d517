"""Jobs as rows: how one is written and read, listed and cancelled."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database.tables import jobs, members, pauses
from flux_core.database.unreadable import request_in, stand_in
from flux_core.errors import FluxError
from flux_core.generation import GenerationRequest
from flux_core.jobs import Account, Job, JobState, Lane, Origin, Remark, ReplyTo
from flux_core.models import Mode
from flux_core.router import LOCAL
from flux_core.skills import BETWEEN, skill_for

c = jobs.c

# Conditions of the partial indexes. SQLite recognises them only as literals, not as bound parameters.
IS_QUEUED = c.state == sa.literal_column("'queued'")
IS_RUNNING = c.state == sa.literal_column("'running'")
_REMEMBERED = c.kept != sa.literal_column("'nothing'")

_SUBMITTED = c.provider_job_id.is_not(None)
_FAILED_HERE = c.tried.like(f'%"{LOCAL}"%')
_BY_US = sa.case(
    (sa.and_(_SUBMITTED, c.provider != LOCAL), None),
    (sa.or_(c.venue == "hosted", _FAILED_HERE), None),
    (c.lora.is_(None), c.model),
    else_=c.model + sa.literal_column(f"'{BETWEEN}'") + c.lora,
)
_BY_HOSTED = sa.case(
    (sa.and_(_SUBMITTED, c.provider != LOCAL), c.model), (sa.or_(_SUBMITTED, c.venue == "local"), None), else_=c.model
)
_other = jobs.alias("other")
_OTHERS_RUNNING = (
    sa.select(sa.func.count())
    .where(_other.c.guild_id == c.guild_id, _other.c.user_id == c.user_id)
    .where(_other.c.state == sa.literal_column("'running'"), _other.c.id != c.id)
    .correlate(jobs)
    .scalar_subquery()
)
_HELD = sa.or_(
    c.held.is_not(None),
    sa.exists(sa.select(pauses.c.guild_id).where(pauses.c.guild_id == c.guild_id, pauses.c.drains.is_(sa.false()))),
    sa.exists(
        sa.select(members.c.user_id)
        .where(members.c.guild_id == c.guild_id, members.c.user_id == c.user_id)
        .where(members.c.most_running <= _OTHERS_RUNNING)
    ),
)
"""Its guild is paused, it waits for a moderator, or its member has as many jobs running as they may."""

CLAIMED_BY_NOBODY = {"waits_for": None, "waits_hosted": None}
"""The claim columns of a job that does not wait, or is held."""
CLAIMED_AGAIN = {
    "waits_for": sa.case((_HELD, None), else_=_BY_US),
    "waits_hosted": sa.case((_HELD, None), else_=_BY_HOSTED),
}
"""Those of a job that waits (again): whoever may claim it now, if anybody."""

LIMITED = (
    # Columns in RETURNING are named without their table: there, `guild_id = guild_id` would be true of every member.
    sa.select(members.c.most_running)
    .where(members.c.guild_id == sa.literal_column("jobs.guild_id"))
    .where(members.c.user_id == sa.literal_column("jobs.user_id"))
    .scalar_subquery()
    .label("limited")
)
"""Most jobs that a job's member may have running; NULL: any number, and nothing has to be reconsidered."""

AFTER_ALL = "g"
"""Behind every id, which is hexadecimal, in any collation."""

COLUMNS: tuple[sa.Column[Any], ...] = (
    *(c.id, c.guild_id, c.user_id, c.model, c.request, c.origin, c.cost, c.created_at, c.state, c.parent_id),
    c.parent_position,
    *(c.application_id, c.channel_id, c.interaction_token, c.token_expires_at, c.message_id, c.upload_limit, c.private),
    *(c.spoiler, c.start_tag, c.finish_tag, c.attempts, c.worker_id, c.lease_until, c.started_at, c.ended_at),
    *(c.cancel_requested, c.steps_done, c.steps_total, c.preview_key, c.provider, c.provider_job_id, c.error_code),
    *(c.error_facts, c.delivered_at, c.venue, c.tried, c.remarks, c.microdollars, c.lane, c.price, c.held),
    *(c.age_restricted, c.notify, c.drawn_mode),
)
"""What ``job_of`` reads."""


def job_of(row: Any) -> Job:
    """Return the job in a row that has ``COLUMNS``; ``unreadable`` where it is damaged, or of another version."""
    request = request_in(row.request)
    if request is not None:
        try:
            return _job(row, request)
        except (ValueError, TypeError, AttributeError):
            pass
    blank = {"origin": Origin.IMAGINE, "error_facts": None, "tried": None, "remarks": None, "drawn_mode": None}
    legible = SimpleNamespace(**{column.name: getattr(row, column.name) for column in COLUMNS} | blank)
    return replace(_job(legible, stand_in(row.model)), unreadable=True)


def _job(row: Any, request: GenerationRequest) -> Job:
    reply_to = None
    if row.channel_id is not None:
        reply_to = ReplyTo(
            application_id=row.application_id,
            channel_id=row.channel_id,
            interaction_token=row.interaction_token or "",
            token_expires_at=row.token_expires_at,
            message_id=row.message_id,
            upload_limit=row.upload_limit,
            private=row.private,
            spoiler=row.spoiler,
        )
    return Job(
        id=row.id,
        account=Account(row.guild_id, row.user_id),
        request=request,
        origin=Origin(row.origin),
        cost=row.cost,
        created_at=row.created_at,
        state=JobState(row.state),
        parent_id=row.parent_id,
        parent_position=row.parent_position,
        reply_to=reply_to,
        start_tag=row.start_tag,
        finish_tag=row.finish_tag,
        attempts=row.attempts,
        worker_id=row.worker_id,
        lease_until=row.lease_until,
        started_at=row.started_at,
        ended_at=row.ended_at,
        cancel_requested=row.cancel_requested,
        steps_done=row.steps_done,
        steps_total=row.steps_total,
        preview_key=row.preview_key,
        provider=row.provider,
        provider_job_id=row.provider_job_id,
        error_code=row.error_code,
        error_facts=None if row.error_facts is None else json.loads(row.error_facts),
        delivered_at=row.delivered_at,
        venue=row.venue,
        tried=() if row.tried is None else tuple(json.loads(row.tried)),
        remarks=() if row.remarks is None else tuple(Remark(**remark) for remark in json.loads(row.remarks)),
        microdollars=row.microdollars,
        lane=Lane(row.lane),
        price=row.price,
        held=row.held,
        age_restricted=row.age_restricted,
        notify=row.notify,
        drawn_mode=None if row.drawn_mode is None else Mode(row.drawn_mode),
    )


def values_of(job: Job, key: str | None = None) -> dict[str, Any]:
    """Return the columns of a job that is new in the queue."""
    reply = job.reply_to
    return {
        "id": job.id,
        "key": key,
        "guild_id": job.account.guild_id,
        "user_id": job.account.user_id,
        "model": job.request.model,
        "request": job.request.model_dump_json(),
        "input_key": job.request.input_picture and job.request.input_picture.key,
        "mask_key": job.request.input_mask and job.request.input_mask.key,
        "origin": job.origin.value,
        "parent_id": job.parent_id,
        "parent_position": job.parent_position,
        "cost": job.cost,
        "units": job.request.work if job.units is None else job.units,
        "created_at": job.created_at,
        "state": job.state.value,
        "lora": job.request.lora and job.request.lora.name,
        "waits_for": None if job.venue == "hosted" or job.held is not None else skill_for(job.request),
        "waits_hosted": None if job.venue == "local" or job.held is not None else job.request.model,
        "venue": job.venue,
        "asked": None if job.request.provider == LOCAL else job.request.provider,
        "lane": job.lane.value,
        "price": job.price,
        "held": job.held,
        "age_restricted": job.age_restricted,
        "notify": job.notify,
        "start_tag": job.start_tag,
        "finish_tag": job.finish_tag,
        "application_id": reply and reply.application_id,
        "channel_id": reply and reply.channel_id,
        "interaction_token": reply and reply.interaction_token,
        "token_expires_at": reply and reply.token_expires_at,
        "message_id": reply and reply.message_id,
        "upload_limit": reply and reply.upload_limit,
        "private": reply is not None and reply.private,
        "spoiler": reply is not None and reply.spoiler,
    }


_INSERT = sa.insert(jobs).inline()


def insert(connection: Connection, job: Job, key: str | None) -> None:
    """Add a new job."""
    connection.execute(_INSERT, values_of(job, key))


_BY_ID = sa.select(*COLUMNS).where(c.id == bindparam("job"), _REMEMBERED)


def find(connection: Connection, job_id: str) -> Job | None:
    """Return the job, or None: also for one that retention has forgotten."""
    row = connection.execute(_BY_ID, {"job": job_id}).one_or_none()
    return None if row is None else job_of(row)


_BY_KEY = sa.select(*COLUMNS).where(c.key == bindparam("known_as"), _REMEMBERED)


def find_by_key(connection: Connection, key: str) -> Job | None:
    """Return the job that was submitted under ``key``, or None."""
    row = connection.execute(_BY_KEY, {"known_as": key}).one_or_none()
    return None if row is None else job_of(row)


_OF_ACCOUNT = (
    sa.select(*COLUMNS)
    .where(c.guild_id == bindparam("guild"), c.user_id == bindparam("user"), c.id < bindparam("before"))
    .where(_REMEMBERED)
    .order_by(c.id.desc())
    .limit(bindparam("most"))
)
_ACTIVE_OF_ACCOUNT = [_OF_ACCOUNT.where(kind) for kind in (IS_QUEUED, IS_RUNNING, c.undeliverable_at.is_not(None))]
"""One for each partial index; a condition that joins them with OR would walk through the account's whole history."""


def of_account(
    connection: Connection, account: Account, active_only: bool, limit: int, before: str | None
) -> list[Job]:
    """Return an account's jobs, newest first, those before the job ``before`` when it is given.

    Active are jobs that have not ended, and ended ones whose answer could not be delivered.
    """
    key = {"guild": account.guild_id, "user": account.user_id, "before": before or AFTER_ALL, "most": limit}
    if not active_only:
        return [job_of(row) for row in connection.execute(_OF_ACCOUNT, key)]
    rows = [row for active in _ACTIVE_OF_ACCOUNT for row in connection.execute(active, key)]
    return [job_of(row) for row in sorted(rows, key=lambda row: str(row.id), reverse=True)[:limit]]


_REQUESTS = (
    sa.select(c.request)
    .where(c.guild_id == bindparam("guild"), c.user_id == bindparam("user"))
    .order_by(c.id.desc())
    .limit(bindparam("most"))
)


def recent_prompts(connection: Connection, account: Account, prefix: str, limit: int, among: int = 200) -> list[str]:
    """Return the account's different prompts that begin with ``prefix``, newest first, of its last ``among`` jobs."""
    key = {"guild": account.guild_id, "user": account.user_id, "most": among}
    wanted = prefix.strip().casefold()
    requests = (request_in(row.request) for row in connection.execute(_REQUESTS, key))
    # A job that retention has forgotten has no words.
    prompts = (request.prompt for request in requests if request is not None and request.prompt)
    different = dict.fromkeys(prompt for prompt in prompts if prompt.casefold().startswith(wanted))
    return list(different)[:limit]


_END_QUEUED = (
    sa.update(jobs)
    .where(c.id == bindparam("job"), IS_QUEUED)
    .values(
        state=bindparam("ends_as"),
        ended_at=bindparam("now"),
        error_code=bindparam("code"),
        error_facts=bindparam("facts"),
        **CLAIMED_BY_NOBODY,
    )
    .returning(*COLUMNS)
)
_REQUEST_CANCEL = (
    sa.update(jobs).where(c.id == bindparam("job"), IS_RUNNING).values(cancel_requested=True).returning(*COLUMNS)
)


def end_queued(
    connection: Connection, job_id: str, state: JobState, now: float, error: FluxError | None = None
) -> Job | None:
    """Take a waiting job out of the queue, ended as ``state``; None when it does not wait."""
    facts = None if error is None else json.dumps(error.facts, default=str)
    end = {"job": job_id, "now": now, "ends_as": state.value, "code": error and error.code, "facts": facts}
    row = connection.execute(_END_QUEUED, end).one_or_none()
    return None if row is None else job_of(row)


def request_cancel(connection: Connection, job_id: str) -> Job | None:
    """Ask the worker of a running job to stop; None when it does not run."""
    row = connection.execute(_REQUEST_CANCEL, {"job": job_id}).one_or_none()
    return None if row is None else job_of(row)


_MOVE = (
    sa.update(jobs).where(c.id == bindparam("job")).values(start_tag=bindparam("start"), finish_tag=bindparam("finish"))
)
_WAITING_OF_ACCOUNT = (
    sa.select(c.id, c.start_tag, c.finish_tag)
    .where(c.guild_id == bindparam("guild"), c.user_id == bindparam("user"), IS_QUEUED)
    .where(c.lane == bindparam("of_lane"), c.start_tag >= bindparam("since"))
    .order_by(c.start_tag, c.id)
)


def waiting_since(connection: Connection, account: Account, lane: Lane, start: float) -> Sequence[Any]:
    """Return (id, start_tag, finish_tag) of an account's waiting jobs in a lane from the tag ``start`` on, in order."""
    key = {"guild": account.guild_id, "user": account.user_id, "of_lane": lane.value, "since": start}
    return connection.execute(_WAITING_OF_ACCOUNT, key).all()


def retag(connection: Connection, job_id: str, start: float, finish: float) -> None:
    """Give a waiting job another turn."""
    connection.execute(_MOVE, {"job": job_id, "start": start, "finish": finish})


_HOLD = sa.update(jobs).where(IS_QUEUED, c.guild_id == bindparam("guild")).values(CLAIMED_BY_NOBODY)
_RELEASE = sa.update(jobs).where(IS_QUEUED, c.guild_id == bindparam("guild")).values(CLAIMED_AGAIN)


def hold(connection: Connection, guild_id: int) -> None:
    """Keep the waiting jobs of a guild from being claimed."""
    connection.execute(_HOLD, {"guild": guild_id})


def release(connection: Connection, guild_id: int) -> None:
    """Let the waiting jobs of a guild be claimed again."""
    connection.execute(_RELEASE, {"guild": guild_id})


_ADMIT_ALL = sa.update(jobs).where(c.id == bindparam("job"), IS_QUEUED).values(venue="any")
_APPROVE = sa.update(jobs).where(c.id == bindparam("job"), IS_QUEUED, c.held == "approval").values(held=None)
_WAIT_AGAIN = sa.update(jobs).where(c.id == bindparam("job"), IS_QUEUED).values(CLAIMED_AGAIN)
_LIMITED = sa.exists(
    sa.select(members.c.user_id)
    .where(members.c.guild_id == bindparam("guild"), members.c.user_id == bindparam("user"))
    .where(members.c.most_running.is_not(None))
)
RECONSIDER = (
    sa.update(jobs)
    .where(c.guild_id == bindparam("guild"), c.user_id == bindparam("user"), IS_QUEUED, _LIMITED)
    .values(CLAIMED_AGAIN)
)
"""The statement of ``reconsider``, with the parameters ``guild`` and ``user``."""

_RELEASE_HELD = (
    sa.update(jobs)
    .where(c.guild_id == bindparam("guild"), c.user_id == bindparam("user"), IS_QUEUED)
    .where(c.waits_for.is_(None), c.waits_hosted.is_(None))
    .values(CLAIMED_AGAIN)
)


def admit_all(connection: Connection, job_id: str) -> None:
    """Let our own cards draw a waiting job that was meant for hosted providers."""
    connection.execute(_ADMIT_ALL, {"job": job_id})
    connection.execute(_WAIT_AGAIN, {"job": job_id})


def approve(connection: Connection, job_id: str) -> bool:
    """Let a job go on that waited for a moderator; False when it did not."""
    if connection.execute(_APPROVE, {"job": job_id}).rowcount == 0:
        return False
    connection.execute(_WAIT_AGAIN, {"job": job_id})
    return True


def reconsider(connection: Connection, account: Account) -> None:
    """Hold or release an account's waiting jobs, after one of its jobs began or stopped running.

    Nothing is touched of members who may have any number of jobs running.
    """
    connection.execute(RECONSIDER, {"guild": account.guild_id, "user": account.user_id})


def release_held(connection: Connection, account: Account) -> None:
    """Release what was held of an account while it might have fewer jobs running than now."""
    connection.execute(_RELEASE_HELD, {"guild": account.guild_id, "user": account.user_id})


_REMARKS = sa.update(jobs).where(c.id == bindparam("job")).values(remarks=bindparam("new_remarks"))


def remark(connection: Connection, job: Job, *added: Remark) -> Job:
    """Keep remarks with a job; who is to draw it now replaces who was to draw it before nothing came of that."""
    kept = list(job.remarks)
    for one in added:
        if one.code == "routed" and kept and kept[-1].code == "routed":
            kept.pop()
        kept.append(one)
    text = json.dumps([{"code": one.code, "facts": dict(one.facts)} for one in kept], default=str)
    connection.execute(_REMARKS, {"job": job.id, "new_remarks": text})
    return job.evolve(remarks=tuple(kept))
