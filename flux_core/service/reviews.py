"""What moderators are asked to look at: jobs that wait for approval, and reported results."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import Connection

from flux_core.database import jobs, pictures, reviews, verdicts
from flux_core.database.engine import Database
from flux_core.database.policies import policy_of
from flux_core.database.reviews import Kind, Review
from flux_core.errors import JobNotFound, StorageUnavailable
from flux_core.jobs import Account, Job
from flux_core.service.store import PictureStore
from flux_core.shards import Share

WAITING_SHOWN = 100
"""Open reviews of a guild that are listed at once."""


@dataclass(frozen=True, slots=True)
class Due:
    """A review whose message is to be posted or edited now."""

    review: Review
    job: Job | None
    """None: it was forgotten."""
    channel_id: int
    """Where the moderators read it."""


class Reviews:
    """What moderators are asked to look at. Every method raises StorageUnavailable when the database is away.

    Every verdict is one transaction with its entry in the audit log. It raises NotThere for what is no open review of
    this guild, and AlreadyDecided when another moderator was first, or the member took the job back.
    """

    def __init__(self, db: Database, store: PictureStore) -> None:
        self._db = db
        self._store = store

    async def check_report(self, job_id: str, *, account: Account) -> None:
        """Raise what ``report`` would raise now."""
        await self._db.read(_reportable, job_id, account)

    async def report(self, job_id: str, *, account: Account, reason: str) -> int | None:
        """Ask the moderators to look at what came of a job; return their channel, None where there is none.

        Raises JobNotFound for a job that ``account`` cannot know of, AlreadySo when they have reported it before.
        """
        return await self._db.write(_report, job_id, account, reason, self._db.clock())

    async def approve(self, review_id: str, *, guild_id: int, by: int) -> None:
        """Let a held job go on to its turn."""
        await self._db.write(verdicts.approve, review_id, guild_id, by, self._db.clock())

    async def reject(self, review_id: str, *, guild_id: int, by: int, reason: str = "") -> Job:
        """End a held job as refused, with its cost back; its member reads ``reason``."""
        return await self._db.write(verdicts.reject, review_id, guild_id, by, reason, self._db.clock())

    async def delete(self, review_id: str, *, guild_id: int, by: int) -> None:
        """Delete the pictures and the message of a reported job."""
        await self._let_go(await self._db.write(verdicts.delete, review_id, guild_id, by, self._db.clock()))

    async def ban(self, review_id: str, *, guild_id: int, by: int, reason: str, until: float | None) -> None:
        """Ban the member of a reported job (``until`` None: until lifted), and delete its pictures and message."""
        keys = await self._db.write(verdicts.ban, review_id, guild_id, by, reason, until, self._db.clock())
        await self._let_go(keys)

    async def dismiss(self, review_id: str, *, guild_id: int, by: int) -> None:
        """Leave a reported job as it is."""
        await self._db.write(verdicts.dismiss, review_id, guild_id, by, self._db.clock())

    async def job_of(self, review_id: str, *, guild_id: int, kind: Kind) -> Job:
        """Return what an open review is about; raises NotThere, AlreadyDecided."""
        _, job = await self._db.read(verdicts.opened, review_id, guild_id, kind)
        return job

    async def waiting(self, guild_id: int) -> list[Review]:
        """Return the open reviews of a guild, the oldest first, with where they stand or why they do not."""
        return await self._db.read(reviews.waiting, guild_id, WAITING_SHOWN)

    # Telling the moderators

    async def tidy(self) -> None:
        """Close the approvals whose member took the job back, and have those posted anew whose channel is no more."""
        if await self._db.read(verdicts.untidy):
            await self._db.write(verdicts.tidy, self._db.clock())

    async def due(self, share: Share | None = None) -> list[Due]:
        """Return the reviews whose message is to be posted or edited now; none of a guild without a channel for it.

        With ``share``: those of its guilds alone.
        """
        return await self._db.read(_due, self._db.clock(), share)

    async def claim(self, review_id: str, seconds: float) -> bool:
        """Let the caller alone post a review for ``seconds``; False when another does, or it is not to be posted."""
        return await self._db.write(reviews.claim, review_id, self._db.clock(), seconds)

    async def posted(self, review_id: str, channel_id: int, message_id: int) -> None:
        """Remember the moderators' message of a review."""
        await self._db.write(reviews.posted, review_id, channel_id, message_id)

    async def seen(self, review_id: str, guild_id: int, channel_id: int, message_id: int) -> None:
        """Remember the message on which somebody pressed a button, where a crash came before its post was noted."""
        if await self._db.read(_is_unposted, review_id, guild_id):
            await self.posted(review_id, channel_id, message_id)

    async def told(self, review: Review) -> None:
        """Note that the message of a decided review tells what is in ``review``, or cannot any more."""
        await self._db.write(reviews.told, review)

    async def failed(self, review_id: str, retry_at: float, problem: str) -> None:
        """Note that a message could not be posted or edited, to be tried again at ``retry_at`` (unix seconds)."""
        await self._db.write(reviews.failed, review_id, retry_at, problem)

    async def stuck(self, review: Review, retry_at: float, problem: str) -> None:
        """Note that a review, and whatever else is due in its guild, cannot be posted before ``retry_at``."""
        await self._db.write(reviews.stuck, review.id, review.guild_id, self._db.clock(), retry_at, problem)

    async def _let_go(self, keys: Sequence[str]) -> None:
        # Nobody finds them any more. The keys are noted as discarded: maintenance deletes what the store keeps for now.
        with suppress(StorageUnavailable):
            await self._store.delete(keys)
            await self._db.write(pictures.swept, keys)


def _reportable(connection: Connection, job_id: str, account: Account) -> Job:
    job = jobs.find(connection, job_id)
    if job is None or job.account.guild_id != account.guild_id or not _knows(account, job):
        raise JobNotFound(job=job_id)
    reviews.allow_report(connection, job, account.user_id)
    return job


def _report(connection: Connection, job_id: str, account: Account, reason: str, now: float) -> int | None:
    reviews.open_report(connection, _reportable(connection, job_id, account), account.user_id, reason, now)
    return policy_of(connection, account.guild_id).moderators_channel


def _knows(account: Account, job: Job) -> bool:
    return job.account == account or (job.reply_to is not None and not job.reply_to.private)


def _is_unposted(connection: Connection, review_id: str, guild_id: int) -> bool:
    review = reviews.find(connection, review_id)
    return review is not None and review.guild_id == guild_id and review.message_id is None


def _due(connection: Connection, now: float, share: Share | None) -> list[Due]:
    found = [
        Due(review, jobs.find(connection, review.job_id), review.channel_id)
        for review in reviews.decided(connection, now, share)
        if review.channel_id is not None
    ]
    for guild_id in reviews.guilds_to_post(connection, now):
        if share is not None and not share.includes(guild_id):
            continue
        channel_id = policy_of(connection, guild_id).moderators_channel
        if channel_id is not None:
            to_post = reviews.to_post(connection, guild_id, now)
            found += [Due(review, jobs.find(connection, review.job_id), channel_id) for review in to_post]
    return found
