"""What follows from a moderators' verdict: review, job, pictures, ban and audit log change together or not at all."""

from __future__ import annotations

from sqlalchemy import Connection

from flux_core.database import audit, bans, jobs, outbox, pictures, removals, reviews, submissions
from flux_core.database.policies import policy_of
from flux_core.database.reviews import Kind, Review, Verdict
from flux_core.errors import AlreadyDecided, ApprovalExpired, NotThere, Rejected
from flux_core.jobs import Account, Job, JobState

NOBODY = 0
"""Who did it, in the audit log, where no person did."""


def approve(connection: Connection, review_id: str, guild_id: int, by: int, now: float) -> None:
    """Let a held job go on to its turn; raises NotThere, AlreadyDecided."""
    review, job = opened(connection, review_id, guild_id, "approval")
    _decide(connection, review, job, "approved", by, "review approve", now)
    if not submissions.approve(connection, job):
        raise AlreadyDecided(verdict="withdrawn")


def reject(connection: Connection, review_id: str, guild_id: int, by: int, reason: str, now: float) -> Job:
    """End a held job as refused, with its cost back; raises NotThere, AlreadyDecided."""
    review, job = opened(connection, review_id, guild_id, "approval")
    _decide(connection, review, job, "rejected", by, "review reject", now, reason=reason)
    return submissions.turn_down(connection, job, Rejected(reason=reason) if reason else Rejected(), now)


def expire(connection: Connection, before: float, now: float, limit: int) -> int:
    """End the jobs that have waited for approval since before ``before``, with their cost back; return how many."""
    found = reviews.expired(connection, before, limit)
    for review in found:
        job = jobs.find(connection, review.job_id)
        if job is None or job.state is not JobState.QUEUED:
            reviews.decide(connection, review, "withdrawn", None, now)
            continue
        reviews.decide(connection, review, "expired", None, now)
        submissions.turn_down(connection, job, ApprovalExpired(), now)
        member = job.account.user_id
        audit.note(connection, review.guild_id, NOBODY, "review expire", now, target=member, job=job.id)
    return len(found)


def tidy(connection: Connection, now: float) -> int:
    """Close the approvals whose job has ended, and take down what stands in a channel that is the moderators' no more.

    Returns how many reviews changed.
    """
    ended = reviews.ended(connection)
    for review in ended:
        reviews.decide(connection, review, "withdrawn", None, now)
    moved = 0
    for guild_id, channel_id in _left(connection):
        for message_id in reviews.take_down(connection, guild_id, channel_id):
            removals.note(connection, guild_id, channel_id, message_id, now)
            moved += 1
    return len(ended) + moved


def untidy(connection: Connection) -> bool:
    """Say whether ``tidy`` would change anything."""
    return bool(reviews.ended(connection) or _left(connection))


def _left(connection: Connection) -> list[tuple[int, int]]:
    """Return the (guild, channel) in which open reviews stand though the guild's moderators have another channel."""
    places = reviews.places(connection)
    channels = {guild_id: policy_of(connection, guild_id).moderators_channel for guild_id, _ in places}
    # Without any channel they stay where they are: there is no better place.
    return [(guild_id, at) for guild_id, at in places if channels[guild_id] not in (None, at)]


def delete(connection: Connection, review_id: str, guild_id: int, by: int, now: float) -> list[str]:
    """Delete the pictures and the message of a reported job; raises NotThere, AlreadyDecided.

    Returns the keys of the pictures, which wait in ``discarded`` until the store has let go.
    """
    review, job = opened(connection, review_id, guild_id, "report")
    _decide(connection, review, job, "deleted", by, "review delete", now)
    return _remove(connection, job, now)


def ban(
    connection: Connection, review_id: str, guild_id: int, by: int, reason: str, until: float | None, now: float
) -> list[str]:
    """Ban the member of a reported job until ``until`` (None: until lifted), and delete its pictures and message.

    A ban that holds for longer already stays: whoever decides reports may not be who could lift it.
    Raises NotThere, AlreadyDecided. Returns the keys of the pictures, as ``delete`` does.
    """
    review, job = opened(connection, review_id, guild_id, "report")
    _decide(connection, review, job, "banned", by, "review ban", now, reason=reason, until=until)
    member = Account(guild_id, job.account.user_id)
    before = bans.ban_of(connection, member, now)
    if before is None or (before.until is not None and (until is None or until > before.until)):
        bans.put(connection, member, by, reason, until, now)
    return _remove(connection, job, now)


def dismiss(connection: Connection, review_id: str, guild_id: int, by: int, now: float) -> None:
    """Leave a reported job as it is; raises NotThere, AlreadyDecided."""
    review, job = opened(connection, review_id, guild_id, "report")
    _decide(connection, review, job, "dismissed", by, "review dismiss", now)


def opened(connection: Connection, review_id: str, guild_id: int, kind: Kind) -> tuple[Review, Job]:
    """Return an open review of this guild with its job; raises NotThere, AlreadyDecided."""
    review = reviews.find(connection, review_id)
    if review is None or review.guild_id != guild_id or review.kind != kind:
        raise NotThere(what="such request to the moderators")
    if review.verdict is not None:
        raise AlreadyDecided(verdict=review.verdict, by=review.decided_by, at=review.decided_at)
    job = jobs.find(connection, review.job_id)
    if job is None:
        raise AlreadyDecided(verdict="forgotten")
    if kind == "approval" and job.state is not JobState.QUEUED:
        # Its member was faster than we noticed.
        raise AlreadyDecided(verdict="withdrawn", at=job.ended_at)
    return review, job


def _decide(
    connection: Connection,
    review: Review,
    job: Job,
    verdict: Verdict,
    by: int,
    action: str,
    now: float,
    **facts: object,
) -> None:
    reviews.decide(connection, review, verdict, by, now)
    audit.note(connection, review.guild_id, by, action, now, target=job.account.user_id, job=job.id, **facts)


def _remove(connection: Connection, job: Job, now: float) -> list[str]:
    if job.state is JobState.QUEUED:
        submissions.withdraw(connection, job, now)
    elif job.state is JobState.RUNNING:
        jobs.request_cancel(connection, job.id)
    keys = pictures.delete_pictures(connection, job.id, now)
    if job.reply_to is not None:
        # Nothing is handed over any more, and nobody is told of the end.
        outbox.delivered(connection, job.id, now)
        # A private answer is seen by its member alone, and out of a bot's reach.
        if job.reply_to.message_id is not None and not job.reply_to.private:
            removals.note(connection, job.account.guild_id, job.reply_to.channel_id, job.reply_to.message_id, now)
    return keys
