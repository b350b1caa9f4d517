"""Jobs whose member has not been told how they ended, and who is telling them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database import locks, removals
from flux_core.database.jobs import COLUMNS, job_of
from flux_core.database.shares import of_share, parameters
from flux_core.database.tables import jobs
from flux_core.jobs import Job, JobState
from flux_core.shards import Share

c = jobs.c

ALL = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveJob:
    """A job whose message still lives, with what was tried to deliver it."""

    job: Job
    delivery_attempts: int
    next_delivery_at: float | None
    """Unix seconds before which no bot should try again."""


_UNDELIVERED = (c.channel_id.is_not(None), c.delivered_at.is_(None), c.undeliverable_at.is_(None))
_LIVE = (
    sa.select(*COLUMNS, c.delivery_attempts, c.next_delivery_at)
    .where(*_UNDELIVERED, c.state.in_(bindparam("states", expanding=True)), c.id > bindparam("after"))
    .order_by(c.id)
    .limit(bindparam("most"))
)
_LIVE_IN_GUILDS = _LIVE.where(c.guild_id.in_(bindparam("guilds", expanding=True)))
_LIVE_IN_SHARE = _LIVE.where(sa.or_(of_share(c.guild_id), c.ended_at <= bindparam("overdue")))
_ONE = c.id == bindparam("job")
_CLAIM = (
    sa.update(jobs)
    .where(_ONE, *_UNDELIVERED)
    .where(
        sa.or_(c.delivery_owner.is_(None), c.delivery_owner == bindparam("owner"), c.delivery_until <= bindparam("now"))
    )
    .values(delivery_owner=bindparam("owner"), delivery_until=bindparam("until"))
)
_FORGET = {"interaction_token": None, "delivery_owner": None, "delivery_until": None}
_DELIVERED = (
    sa.update(jobs)
    .where(_ONE, c.delivered_at.is_(None))
    .values(delivered_at=bindparam("now"), undeliverable_at=None, **_FORGET)
)
_LOOKED_UP = (
    sa.update(jobs)
    .where(_ONE, c.undeliverable_at.is_not(None))
    .values(delivered_at=bindparam("now"), undeliverable_at=None, **_FORGET)
)
_FAILED = (
    sa.update(jobs)
    .where(_ONE, *_UNDELIVERED)
    .values(
        delivery_attempts=c.delivery_attempts + 1,
        next_delivery_at=bindparam("retry_at"),
        delivery_problem=bindparam("problem"),
        delivery_owner=None,
        delivery_until=None,
    )
)
_GIVE_UP = (
    sa.update(jobs)
    .where(_ONE, *_UNDELIVERED)
    .values(undeliverable_at=bindparam("now"), delivery_problem=bindparam("problem"), **_FORGET)
)
_ATTACH = sa.update(jobs).where(_ONE, c.channel_id.is_not(None)).values(message_id=bindparam("message"))
_ANSWER = sa.select(c.guild_id, c.channel_id, c.message_id).where(_ONE, c.channel_id.is_not(None))
_FORGET_REPLY = sa.update(jobs).where(_ONE).values(interaction_token=None)
_EXPIRED_TOKENS = (
    sa.update(jobs)
    # Other jobs lost their token when they left the outbox.
    .where(*_UNDELIVERED, c.interaction_token.is_not(None), c.token_expires_at < bindparam("before"))
    .values(interaction_token=None)
)


def live(
    connection: Connection,
    guilds: Collection[int] | None,
    states: Collection[JobState],
    after: str = "",
    most: int = ALL,
    share: Share | None = None,
    overdue: float = 0.0,
) -> list[LiveJob]:
    """Return the undelivered jobs in ``states`` (of ``guilds`` alone, when given), the oldest first.

    A page of them holds at most ``most`` and begins behind the id ``after``. With ``share``: the jobs of its guilds,
    and of others those that ended at ``overdue`` (unix seconds) or before.
    """
    wanted = {"states": [state.value for state in states], "after": after, "most": most}
    if share is not None:
        rows = connection.execute(_LIVE_IN_SHARE, wanted | parameters(share) | {"overdue": overdue})
    elif guilds is None:
        rows = connection.execute(_LIVE, wanted)
    else:
        rows = connection.execute(_LIVE_IN_GUILDS, wanted | {"guilds": list(guilds)})
    return [
        LiveJob(job=job_of(row), delivery_attempts=row.delivery_attempts, next_delivery_at=row.next_delivery_at)
        for row in rows
    ]


@locks.beside_others
def claim(connection: Connection, job_id: str, owner: str, now: float, seconds: float) -> bool:
    """Let ``owner`` alone deliver a job for ``seconds``; False when another does, or nothing is to be delivered."""
    lease = {"job": job_id, "owner": owner, "now": now, "until": now + seconds}
    return connection.execute(_CLAIM, lease).rowcount == 1


@locks.beside_others
def delivered(connection: Connection, job_id: str, now: float) -> None:
    """Note that Discord has the answer, and forget the interaction token."""
    connection.execute(_DELIVERED, {"job": job_id, "now": now})


@locks.beside_others
def looked_up(connection: Connection, job_id: str, now: float) -> None:
    """Note that a member has seen an answer that was given up; any other is still to be delivered."""
    connection.execute(_LOOKED_UP, {"job": job_id, "now": now})


@locks.beside_others
def failed(connection: Connection, job_id: str, retry_at: float, reason: str) -> None:
    """Note a delivery that did not work, to be tried again at ``retry_at``."""
    connection.execute(_FAILED, {"job": job_id, "retry_at": retry_at, "problem": reason})


@locks.beside_others
def give_up(connection: Connection, job_id: str, reason: str, now: float) -> None:
    """Take a job out of the outbox undelivered."""
    connection.execute(_GIVE_UP, {"job": job_id, "now": now, "problem": reason})


@locks.beside_others
def attach_message(connection: Connection, job_id: str, message_id: int) -> bool:
    """Remember which message answers a job; False when it has no answer."""
    return connection.execute(_ATTACH, {"job": job_id, "message": message_id}).rowcount == 1


def replace_message(connection: Connection, job_id: str, message_id: int, now: float) -> None:
    """Remember that a new message answers a job, and have the one before it deleted.

    Both at once: a bot that ended in between would leave a card behind that waits for ever.
    """
    before = connection.execute(_ANSWER, {"job": job_id}).first()
    if before is not None and before.message_id not in (None, message_id):
        removals.note(connection, before.guild_id, before.channel_id, before.message_id, now)
    attach_message(connection, job_id, message_id)


@locks.beside_others
def forget_reply(connection: Connection, job_id: str) -> None:
    """Forget the interaction token of a job."""
    connection.execute(_FORGET_REPLY, {"job": job_id})


def forget_expired_tokens(connection: Connection, before: float) -> int:
    """Forget the interaction tokens that expired before ``before``; return how many."""
    return connection.execute(_EXPIRED_TOKENS, {"before": before}).rowcount
