"""What moderators are asked to look at, as kept: jobs that wait for approval, and results that members reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database.shares import of_share, parameters
from flux_core.database.tables import jobs, reviews
from flux_core.errors import AlreadyDecided, AlreadySo, TooManyReports
from flux_core.jobs import Job, new_job_id
from flux_core.shards import Share

Kind = Literal["approval", "report"]
Verdict = Literal["approved", "rejected", "expired", "withdrawn", "deleted", "banned", "dismissed", "forgotten"]
"""``withdrawn``: its member took the job back. ``forgotten``: its words are gone, by retention or by its member."""

MOST_REPORTS = 20
"""Open reports of one member in a guild: nobody buries the moderators."""
DUE_AT_ONCE = 20
"""Reviews of one guild that are posted in one go: Discord takes about five messages in five seconds."""

c = reviews.c

_OPEN = c.verdict.is_(None)
# As in the condition of the index: SQLite recognises it only in these words.
_UNTOLD = c.told == sa.literal_column("false")
_ONE = c.id == bindparam("review")
_OF_JOB = c.job_id == bindparam("job")


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """One thing that moderators were asked to look at; times are unix seconds."""

    id: str
    kind: Kind
    guild_id: int
    job_id: str
    by: int | None
    """Who reported it."""
    reason: str
    """Of a report the member's words; of an approval the words of the prompt that matched a rule."""
    opened_at: float
    verdict: Verdict | None = None
    decided_by: int | None = None
    """None with a verdict: no moderator was needed."""
    decided_at: float | None = None
    channel_id: int | None = None
    message_id: int | None = None
    """The moderators' message, once it was posted."""
    attempts: int = 0
    """Posts or edits that failed, one after the other."""
    next_at: float = 0.0
    """When it is tried again."""
    problem: str | None = None
    """Why the last attempt failed."""


_COLUMNS = [column for column in c if column is not c.told]
_INSERT = sa.insert(reviews).inline()
_BY_ID = sa.select(*_COLUMNS).where(_ONE)
_OPEN_BY = (
    sa.select(sa.func.count())
    .select_from(reviews)
    .where(_OPEN, c.guild_id == bindparam("guild"), c.by_user == bindparam("by"))
)
_REPORTED = sa.select(c.id).where(c.kind == sa.literal_column("'report'"), _OF_JOB, c.by_user == bindparam("by"))


def _review(row: Any) -> Review:
    return Review(
        id=row.id,
        kind=row.kind,
        guild_id=row.guild_id,
        job_id=row.job_id,
        by=row.by_user,
        reason=row.reason,
        opened_at=row.opened_at,
        verdict=row.verdict,
        decided_by=row.decided_by,
        decided_at=row.decided_at,
        channel_id=row.channel_id,
        message_id=row.message_id,
        attempts=row.attempts,
        next_at=row.next_at,
        problem=row.problem,
    )


def _open(connection: Connection, kind: Kind, job: Job, by: int | None, reason: str, now: float) -> Review:
    opened = Review(
        id=new_job_id(),
        kind=kind,
        guild_id=job.account.guild_id,
        job_id=job.id,
        by=by,
        reason=reason,
        opened_at=now,
    )
    row = {"id": opened.id, "kind": kind, "guild_id": opened.guild_id, "job_id": job.id, "by_user": by}
    connection.execute(_INSERT, row | {"reason": reason, "opened_at": now})
    return opened


def open_approval(connection: Connection, job: Job, reason: str, now: float) -> None:
    """Ask the moderators of the job's guild to look at ``job``, which is held until then; ``reason``: which words."""
    _open(connection, "approval", job, None, reason, now)


def allow_report(connection: Connection, job: Job, by: int) -> None:
    """Raise AlreadySo where the user ``by`` has reported ``job`` before, TooManyReports where many are undecided."""
    if connection.execute(_REPORTED, {"job": job.id, "by": by}).first() is not None:
        raise AlreadySo(what="you have reported this picture before")
    if connection.execute(_OPEN_BY, {"guild": job.account.guild_id, "by": by}).scalar_one() >= MOST_REPORTS:
        raise TooManyReports(limit=MOST_REPORTS)


def open_report(connection: Connection, job: Job, by: int, reason: str, now: float) -> Review:
    """Note that the user ``by`` reports what came of ``job``; raises what ``allow_report`` raises."""
    allow_report(connection, job, by)
    return _open(connection, "report", job, by, reason, now)


def find(connection: Connection, review_id: str) -> Review | None:
    """Return a review, or None."""
    row = connection.execute(_BY_ID, {"review": review_id}).one_or_none()
    return None if row is None else _review(row)


# Deciding

_VERDICT = {
    "verdict": bindparam("new_verdict"),
    "decided_by": bindparam("by"),
    "decided_at": bindparam("now"),
    # Where nothing was posted nothing has to be told.
    "told": c.message_id.is_(None),
    "attempts": 0,
    "next_at": 0.0,
    "problem": None,
}
_DECIDE = sa.update(reviews).where(_ONE, _OPEN).values(_VERDICT)
_DECIDE_REPORTS = sa.update(reviews).where(_OF_JOB, _OPEN, c.kind == sa.literal_column("'report'")).values(_VERDICT)


def decide(connection: Connection, review: Review, verdict: Verdict, by: int | None, now: float) -> None:
    """Close a review, and with a report all others of the same job; raises AlreadyDecided.

    ``by`` is None where no moderator decided.
    """
    said = {"new_verdict": verdict, "by": by, "now": now}
    if connection.execute(_DECIDE, said | {"review": review.id}).rowcount == 0:
        before = find(connection, review.id)
        assert before is not None
        raise AlreadyDecided(verdict=before.verdict, by=before.decided_by, at=before.decided_at)
    if review.kind == "report":
        connection.execute(_DECIDE_REPORTS, said | {"job": review.job_id})


# Nobody reports what is to be approved. Said of the kind, SQLite would walk through all approvals there ever were.
_APPROVALS = sa.select(*_COLUMNS).where(c.by_user.is_(None), _OPEN)
_ENDED = _APPROVALS.join(jobs, jobs.c.id == c.job_id).where(jobs.c.ended_at.is_not(None))
_EXPIRED = _APPROVALS.where(c.opened_at < bindparam("before")).order_by(c.guild_id, c.id).limit(bindparam("most"))


def ended(connection: Connection) -> list[Review]:
    """Return the open approvals whose job has ended all the same: its member took it back."""
    return [_review(row) for row in connection.execute(_ENDED)]


def expired(connection: Connection, before: float, limit: int) -> list[Review]:
    """Return approvals that were asked for before ``before`` and are still open."""
    return [_review(row) for row in connection.execute(_EXPIRED, {"before": before, "most": limit})]


_FORGET = (
    sa.update(reviews)
    .where(c.job_id.in_(bindparam("jobs", expanding=True)))
    .values(
        reason="",
        verdict=sa.func.coalesce(c.verdict, "forgotten"),
        decided_at=sa.func.coalesce(c.decided_at, bindparam("now")),
        # What was posted is edited, so that it no longer tells the words.
        told=c.message_id.is_(None),
        attempts=0,
        next_at=0.0,
        problem=None,
    )
)


def forget(connection: Connection, job_ids: Sequence[str], now: float) -> None:
    """Let go of the words in the reviews of jobs that are being forgotten, also in what moderators see of them."""
    if job_ids:
        connection.execute(_FORGET, {"jobs": list(job_ids), "now": now})


# Telling the moderators

_DECIDED = (
    sa.select(*_COLUMNS)
    .where(_UNTOLD, c.verdict.is_not(None), c.next_at <= bindparam("now"))
    .order_by(c.id)
    .limit(bindparam("most"))
)
_DECIDED_IN_SHARE = _DECIDED.where(of_share(c.guild_id))
_TO_POST = (_UNTOLD, _OPEN, c.message_id.is_(None), c.next_at <= bindparam("now"))
_GUILDS = sa.select(c.guild_id).where(*_TO_POST).distinct()
_TO_POST_IN = (
    sa.select(*_COLUMNS).where(*_TO_POST, c.guild_id == bindparam("guild")).order_by(c.id).limit(bindparam("most"))
)
_WAITING = sa.select(*_COLUMNS).where(_OPEN, c.guild_id == bindparam("guild")).order_by(c.id).limit(bindparam("most"))
_POSTED = (
    sa.update(reviews)
    .where(_ONE)
    .values(
        channel_id=bindparam("channel"),
        message_id=bindparam("message"),
        # It may have been decided meanwhile; the message tells nothing of that.
        told=sa.false(),
        attempts=0,
        next_at=0.0,
        problem=None,
    )
)
_TOLD = (
    sa.update(reviews)
    .where(_ONE, c.verdict == bindparam("as_verdict"), c.reason == bindparam("as_reason"))
    .values(told=sa.true())
)
_LATER = {"attempts": c.attempts + 1, "next_at": bindparam("retry_at"), "problem": bindparam("why")}
_FAILED = sa.update(reviews).where(_ONE).values(_LATER)
_CLAIM = sa.update(reviews).where(_ONE, *_TO_POST).values(next_at=bindparam("until"))
# Not those that another bot is posting.
_STUCK = sa.update(reviews).where(*_TO_POST, c.guild_id == bindparam("guild")).values(_LATER)
_PLACES = sa.select(c.guild_id, c.channel_id).where(_OPEN, c.message_id.is_not(None)).distinct()
_IN_PLACE = sa.select(c.id, c.message_id).where(
    _OPEN, c.message_id.is_not(None), c.guild_id == bindparam("guild"), c.channel_id == bindparam("channel")
)
_UNPOST = sa.update(reviews).where(_ONE).values(channel_id=None, message_id=None, attempts=0, next_at=0.0, problem=None)


def decided(connection: Connection, now: float, share: Share | None = None) -> list[Review]:
    """Return reviews whose message does not tell the verdict yet and may be tried now, the oldest first.

    With ``share``: those of its guilds alone.
    """
    wanted = {"now": now, "most": DUE_AT_ONCE}
    if share is None:
        rows = connection.execute(_DECIDED, wanted)
    else:
        rows = connection.execute(_DECIDED_IN_SHARE, wanted | parameters(share))
    return [_review(row) for row in rows]


def guilds_to_post(connection: Connection, now: float) -> list[int]:
    """Return the guilds with open reviews that their moderators have not got yet."""
    return list(connection.execute(_GUILDS, {"now": now}).scalars())


def to_post(connection: Connection, guild_id: int, now: float) -> list[Review]:
    """Return open reviews of a guild that are to be posted now, the oldest first."""
    rows = connection.execute(_TO_POST_IN, {"guild": guild_id, "now": now, "most": DUE_AT_ONCE})
    return [_review(row) for row in rows]


def waiting(connection: Connection, guild_id: int, limit: int) -> list[Review]:
    """Return the open reviews of a guild, the oldest first."""
    return [_review(row) for row in connection.execute(_WAITING, {"guild": guild_id, "most": limit})]


def claim(connection: Connection, review_id: str, now: float, seconds: float) -> bool:
    """Let the caller alone post an open review for ``seconds``; False when another does, or it is no longer to be."""
    return connection.execute(_CLAIM, {"review": review_id, "now": now, "until": now + seconds}).rowcount == 1


def posted(connection: Connection, review_id: str, channel_id: int, message_id: int) -> None:
    """Remember the moderators' message of a review."""
    connection.execute(_POSTED, {"review": review_id, "channel": channel_id, "message": message_id})


def told(connection: Connection, review: Review) -> None:
    """Note that the message of a decided review tells what is in ``review``, or cannot any more.

    When it was forgotten meanwhile, the message is edited once more.
    """
    connection.execute(_TOLD, {"review": review.id, "as_verdict": review.verdict, "as_reason": review.reason})


def failed(connection: Connection, review_id: str, retry_at: float, problem: str) -> None:
    """Note that a message could not be posted or edited, to be tried again at ``retry_at``."""
    connection.execute(_FAILED, {"review": review_id, "retry_at": retry_at, "why": problem})


def stuck(connection: Connection, review_id: str, guild_id: int, now: float, retry_at: float, problem: str) -> None:
    """Note that a review could not be posted, and that nothing can be for its guild before ``retry_at``."""
    failed(connection, review_id, retry_at, problem)
    connection.execute(_STUCK, {"guild": guild_id, "now": now, "retry_at": retry_at, "why": problem})


def places(connection: Connection) -> list[tuple[int, int]]:
    """Return in which (guild, channel) open reviews stand."""
    return [(row.guild_id, row.channel_id) for row in connection.execute(_PLACES)]


def take_down(connection: Connection, guild_id: int, channel_id: int) -> list[int]:
    """Let the open reviews in a channel be posted anew, elsewhere; return the messages that they leave behind."""
    rows = connection.execute(_IN_PLACE, {"guild": guild_id, "channel": channel_id}).all()
    if rows:
        connection.execute(_UNPOST, [{"review": row.id} for row in rows])
    return [row.message_id for row in rows]
