"""The queue as moderators see it: what waits and runs in a guild, and how they take jobs out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database import audit
from flux_core.database.jobs import COLUMNS, IS_QUEUED, IS_RUNNING, find, job_of, request_cancel
from flux_core.database.submissions import withdraw
from flux_core.database.tables import EVERYWHERE, jobs
from flux_core.errors import AlreadySo, JobAlreadyEnded, JobNotFound, NotThere
from flux_core.jobs import Job, JobState, Lane

AT_ONCE = 500
"""Jobs taken out in one transaction, about half a second: other writers wait no longer than that."""

c = jobs.c


@dataclass(slots=True)
class Crowd:
    """How much there is to do in a guild."""

    waiting: dict[Lane, int] = field(default_factory=lambda: dict.fromkeys(Lane, 0))
    """Without those that wait for a moderator's approval."""
    for_approval: int = 0
    running: int = 0
    oldest: float | None = None
    """When the job that has waited longest was asked for (unix seconds); None: nothing waits."""

    @property
    def all_waiting(self) -> int:
        """Return how many jobs wait, for whatever."""
        return sum(self.waiting.values()) + self.for_approval


@dataclass(frozen=True, slots=True)
class Removed:
    """What was taken out of the queue."""

    waiting: int = 0
    """Jobs that are cancelled, with their cost back."""
    running: int = 0
    """Jobs whose workers were asked to stop."""
    refunded: int = 0
    """Thousandths of a credit that went back with ``waiting``."""

    def __add__(self, other: Removed) -> Removed:
        return Removed(self.waiting + other.waiting, self.running + other.running, self.refunded + other.refunded)


_HERE = c.guild_id == bindparam("guild")
_WAITING = (
    sa.select(c.lane, c.held, sa.func.count().label("jobs"), sa.func.min(c.created_at).label("oldest"))
    .where(_HERE, IS_QUEUED)
    .group_by(c.lane, c.held)
)
_RUNNING = sa.select(sa.func.count()).where(_HERE, IS_RUNNING)
_RUNNING_JOBS = sa.select(*COLUMNS).where(_HERE, IS_RUNNING).order_by(c.started_at, c.id)
_TURN = (c.held.is_not(None), c.lane, c.start_tag, c.id)
# Whole rows are read of one page alone: a long line is sorted by what decides the order.
_PAGE = sa.select(c.id).where(_HERE, IS_QUEUED).order_by(*_TURN).limit(bindparam("most")).offset(bindparam("skipped"))
_IN_TURN = sa.select(*COLUMNS).where(c.id.in_(_PAGE)).order_by(*_TURN)
_OF_MEMBER = sa.select(*COLUMNS).where(_HERE, c.user_id == bindparam("user")).order_by(c.start_tag.desc(), c.id.desc())
_LAST = (
    sa.select(*COLUMNS)
    .where(IS_QUEUED, c.created_at <= bindparam("until"))
    .order_by(c.start_tag.desc(), c.id.desc())
    .limit(bindparam("most"))
)
_LAST_HERE = _LAST.where(_HERE)
_COUNT = sa.select(sa.func.count()).where(IS_QUEUED)


def crowd(connection: Connection, guild_id: int) -> Crowd:
    """Return how much there is to do in a guild."""
    found = Crowd(running=connection.execute(_RUNNING, {"guild": guild_id}).scalar_one())
    for row in connection.execute(_WAITING, {"guild": guild_id}):
        if row.held is None:
            found.waiting[Lane(row.lane)] += row.jobs
        else:
            found.for_approval += row.jobs
        found.oldest = row.oldest if found.oldest is None else min(found.oldest, row.oldest)
    return found


def in_turn(connection: Connection, guild_id: int, skipped: int, limit: int) -> list[Job]:
    """Return a guild's jobs in the order of their turns, the running ones first, without the first ``skipped``."""
    key = {"guild": guild_id}
    running = connection.execute(_RUNNING_JOBS, key).all()
    rows = list(running[skipped : skipped + limit])
    behind = {"skipped": max(0, skipped - len(running)), "most": limit - len(rows)}
    if behind["most"] > 0:
        rows += connection.execute(_IN_TURN, key | behind).all()
    return [job_of(row) for row in rows]


def waiting(connection: Connection, guild_id: int | None) -> int:
    """Return how many jobs wait in a guild, or everywhere for None."""
    if guild_id is None:
        return int(connection.execute(_COUNT).scalar_one())
    return crowd(connection, guild_id).all_waiting


def cancel(connection: Connection, guild_id: int, job_id: str, by: int, now: float) -> Job:
    """Stop a job of a guild; raises JobNotFound, JobAlreadyEnded, or AlreadySo where it is being stopped."""
    job = find(connection, job_id)
    if job is None or job.account.guild_id != guild_id:
        raise JobNotFound(job=job_id)
    if job.state.ended:
        raise JobAlreadyEnded(state=job.state.value)
    if job.cancel_requested:
        raise AlreadySo(what="this job is being stopped already")
    removed = _remove(connection, job, now)
    told = {"job": job_id, "refunded": removed.refunded}
    audit.note(connection, guild_id, by, "queue cancel", now, target=job.account.user_id, **told)
    return find(connection, job_id) or job


def of_member(connection: Connection, guild_id: int, user_id: int) -> list[Job]:
    """Return a member's jobs in a guild that wait or run and are not being stopped, those whose turn is last first."""
    key = {"guild": guild_id, "user": user_id}
    rows = [row for kind in (IS_QUEUED, IS_RUNNING) for row in connection.execute(_OF_MEMBER.where(kind), key).all()]
    return [job_of(row) for row in rows if not row.cancel_requested]


def cancel_of(connection: Connection, guild_id: int, user_id: int, by: int, now: float) -> Removed:
    """Stop all jobs of a member in a guild; raises NotThere where there are none."""
    removed = _remove_all(connection, of_member(connection, guild_id, user_id), now)
    if removed == Removed():
        raise NotThere(what="job of that member that waits or is being drawn")
    audit.note(connection, guild_id, by, "queue cancel", now, target=user_id, **_told(removed))
    return removed


def clear(connection: Connection, guild_id: int | None, by: int, until: float, now: float) -> Removed:
    """Cancel up to ``AT_ONCE`` waiting jobs of a guild (None: of all) that were asked for until ``until``."""
    look = {"until": until, "most": AT_ONCE}
    if guild_id is None:
        rows = connection.execute(_LAST, look).all()
    else:
        rows = connection.execute(_LAST_HERE, look | {"guild": guild_id}).all()
    removed = _remove_all(connection, [job_of(row) for row in rows], now)
    if removed.waiting:
        where = EVERYWHERE if guild_id is None else guild_id
        audit.note(connection, where, by, "queue clear", now, **_told(removed))
    return removed


def _remove_all(connection: Connection, found: Sequence[Job], now: float) -> Removed:
    """Stop jobs, given the last of each member first, so that none moves up only to be cancelled itself."""
    removed = Removed()
    for job in found:
        removed += _remove(connection, job, now)
    return removed


def _remove(connection: Connection, job: Job, now: float) -> Removed:
    if job.state is JobState.QUEUED:
        withdraw(connection, job, now)
        return Removed(waiting=1, refunded=job.cost)
    request_cancel(connection, job.id)
    return Removed(running=1)


def _told(removed: Removed) -> dict[str, int]:
    return {"waiting": removed.waiting, "running": removed.running, "refunded": removed.refunded}
