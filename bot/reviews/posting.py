"""Brings what moderators are asked to look at into their channel, and what became of it.

It holds nothing that matters. What is to be posted or edited is in the database, so after a restart, or a crash at any
moment, it goes on from there: a lease keeps two bots apart, a post carries the review's id as its nonce, and an edit
can be repeated.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from io import BytesIO

import discord

from bot.delivery import uploads
from bot.delivery.posting import passing
from bot.delivery.rounds import pause_after, rounds
from bot.layouts.cards import Card
from bot.reviews import cards
from flux_core.database.reviews import Review
from flux_core.errors import PictureGone
from flux_core.generation import InputPicture
from flux_core.images.encoding import fit
from flux_core.jobs import Job
from flux_core.service import Studio
from flux_core.service.reviews import Due
from flux_core.shards import Share

log = logging.getLogger(__name__)

AT_ONCE = 4
TIDY_GAP = 1.0
"""Least seconds between two looks for reviews that nobody needs any more: it reads more than a look does."""
LEASE = 30.0
"""Seconds for which a post belongs to this process; after a crash, the next one waits that long."""
SEND_TIMEOUT = 60.0
"""Seconds for one request with its uploads. It may outlast the lease: what two bots send then is the same post."""
LONGEST_PAUSE = 300.0
GIVE_UP_AFTER = 24 * 3600.0
"""Seconds after the verdict for which a message is tried that cannot be edited. A post is tried until it works."""
MOST_PICTURES = 4
FILE_LIMIT = 2 * 1024 * 1024
"""Bytes per picture: enough to judge it, and four of them stay within any server's limit for one message."""


class ChannelGone(Exception):
    """The guild has no such channel (any more)."""


class Posting:
    """Looks at the reviews whenever the studio changed."""

    def __init__(
        self,
        client: discord.Client,
        studio: Studio,
        *,
        clock: Callable[[], float] = time.time,
        share: Callable[[], Share | None] = lambda: None,
    ) -> None:
        """Post with ``client``, in the guilds of ``share``; None: in all of them."""
        self._client = client
        self._studio = studio
        self._clock = clock
        self._share = share
        self._sending = asyncio.Semaphore(AT_ONCE)
        self._next_tidy = 0.0

    async def run(self) -> None:
        """Post and edit until cancelled."""
        await rounds(self._studio, self._look, "reviews")

    async def _look(self) -> None:
        share = self._share()
        # Tidying is for all guilds, so one process does it: that of the first shard.
        if (share is None or share.includes(0)) and time.monotonic() >= self._next_tidy:
            self._next_tidy = time.monotonic() + TIDY_GAP
            await self._studio.reviews.tidy()
        due = await self._studio.reviews.due(share)
        by_guild: dict[int, list[Due]] = {}
        for one in due:
            if one.review.verdict is None:
                by_guild.setdefault(one.review.guild_id, []).append(one)
        edits = (self._edit_one(one) for one in due if one.review.verdict is not None)
        await asyncio.gather(*edits, *(self._post_all(of_guild) for of_guild in by_guild.values()))

    async def _post_all(self, of_guild: list[Due]) -> None:
        """Post one after the other, and leave it for later where the first shows that the others would fail as well.

        Discord shuts out bots that ask thousands of times for what they were refused.
        """
        async with self._sending:
            for due in of_guild:
                review = due.review
                if not await self._studio.reviews.claim(review.id, LEASE):
                    continue
                try:
                    async with asyncio.timeout(SEND_TIMEOUT):
                        await self._post(due)
                except Exception as error:
                    _log(review, error)
                    retry_at = self._clock() + pause_after(review.attempts, LONGEST_PAUSE)
                    if passing(error) or isinstance(error, ChannelGone | discord.Forbidden | discord.NotFound):
                        await self._studio.reviews.stuck(review, retry_at, _problem(error))
                        return
                    await self._studio.reviews.failed(review.id, retry_at, _problem(error))

    async def _edit_one(self, due: Due) -> None:
        review = due.review
        async with self._sending:
            try:
                async with asyncio.timeout(SEND_TIMEOUT):
                    await self._edit(due)
            except Exception as error:
                _log(review, error)
                now = self._clock()
                if review.decided_at is None or now <= review.decided_at + GIVE_UP_AFTER:
                    retry_at = now + pause_after(review.attempts, LONGEST_PAUSE)
                    await self._studio.reviews.failed(review.id, retry_at, _problem(error))
                    return
                log.warning("the message of review %s stays as it is", review.id)
            await self._studio.reviews.told(review)

    async def _post(self, due: Due) -> None:
        review, job = due.review, due.job
        if job is None:
            return  # it is being forgotten, and its review with it
        await self._check_channel(due)
        card, files = await self._asking(due, job)
        channel = self._client.get_partial_messageable(due.channel_id, guild_id=review.guild_id)
        try:
            message = await channel.send(view=card, files=files, nonce=review.id)
        except discord.Forbidden:
            if not files:
                raise
            # It may be the pictures alone that are not allowed there.
            message = await channel.send(view=_without_files(due, job), nonce=review.id)
        await self._studio.reviews.posted(review.id, due.channel_id, message.id)

    async def _check_channel(self, due: Due) -> None:
        """Raise ChannelGone for a channel of another server, which a policy may name by mistake or by malice."""
        channel = await self._client.fetch_channel(due.channel_id)
        if isinstance(channel, discord.abc.PrivateChannel) or channel.guild.id != due.review.guild_id:
            raise ChannelGone

    async def _asking(self, due: Due, job: Job) -> tuple[Card, list[discord.File]]:
        if due.review.kind == "report":
            loaded = (await uploads.load(self._studio, job, limit=FILE_LIMIT))[:MOST_PICTURES]
            return cards.report(due.review, job, [one.shown for one in loaded]), uploads.files(loaded)
        start = await self._given("start", job.request.input_picture)
        mask = await self._given("mask", job.request.input_mask)
        card = cards.approval(
            due.review,
            job,
            input_name=None if start is None else start.filename,
            mask_name=None if mask is None else mask.filename,
        )
        return card, [file for file in (start, mask) if file is not None]

    async def _given(self, name: str, picture: InputPicture | None) -> discord.File | None:
        """Return what a job starts from as a file to post; None where there is none, or it is gone."""
        if picture is None:
            return None
        try:
            data = await self._studio.picture_bytes(picture.key)
        except PictureGone:
            return None
        extension = picture.key.rpartition(".")[2]  # a variation starts from whatever was drawn
        if len(data) > FILE_LIMIT:
            fitted = await asyncio.to_thread(fit, data, FILE_LIMIT)
            data, extension = fitted.data, fitted.extension
        return discord.File(BytesIO(data), f"{name}.{extension}")

    async def _edit(self, due: Due) -> None:
        review = due.review
        assert review.message_id is not None
        channel = self._client.get_partial_messageable(due.channel_id, guild_id=review.guild_id)
        try:
            # Without the pictures: what was judged need not be kept.
            await channel.get_partial_message(review.message_id).edit(
                view=cards.decided(review, due.job), attachments=[]
            )
        except discord.NotFound:
            log.info("the message of review %s is gone", review.id)


def _without_files(due: Due, job: Job) -> Card:
    return cards.report(due.review, job, []) if due.review.kind == "report" else cards.approval(due.review, job)


def _log(review: Review, error: Exception) -> None:
    if passing(error) or isinstance(error, discord.HTTPException | ChannelGone):
        log.info("review %s has to wait: %s", review.id, _problem(error))
    else:
        log.error("review %s failed", review.id, exc_info=error)


def _problem(error: Exception) -> str:
    """Return what moderators read about a post that did not work."""
    if isinstance(error, ChannelGone | discord.NotFound):
        return "the moderators' channel is gone"
    if isinstance(error, discord.Forbidden):
        return "I may not post in the moderators' channel"
    status = f" ({error.status})" if isinstance(error, discord.HTTPException) else ""
    return f"Discord does not take it{status}"
