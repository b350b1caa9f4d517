"""Brings what moderators are asked to look at into their channel, and what became of it.

It holds nothing that matters. What is to be posted or edited is in the database, so after a restart, or a crash at any
moment, it goes on from there: a post carries the review's id as its nonce, and an edit can be repeated.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from io import BytesIO

import discord

from bot import uploads
from bot.cards import Card
from bot.posting import passing
from bot.reviews import cards
from bot.rounds import pause_after, rounds
from flux_core.errors import PictureGone
from flux_core.images.encoding import fit
from flux_core.jobs import Job
from flux_core.service import Studio
from flux_core.service.reviews import Due

log = logging.getLogger(__name__)

AT_ONCE = 4
TIDY_GAP = 1.0
"""Least seconds between two looks for reviews that nobody needs any more: it reads more than a look does."""
SEND_TIMEOUT = 60.0
"""Seconds for one request with its uploads."""
LONGEST_PAUSE = 600.0
GIVE_UP_AFTER = 24 * 3600.0
"""Seconds after the verdict for which a message is tried that cannot be edited. A post is tried until it works."""
MOST_PICTURES = 4
FILE_LIMIT = 2 * 1024 * 1024
"""Bytes per picture: enough to judge it, and four of them stay within any server's limit for one message."""


class ChannelGone(Exception):
    """The guild has no such channel (any more)."""


class Posting:
    """Looks at the reviews whenever the studio changed."""

    def __init__(self, client: discord.Client, studio: Studio, *, clock: Callable[[], float] = time.time) -> None:
        self._client = client
        self._studio = studio
        self._clock = clock
        self._sending = asyncio.Semaphore(AT_ONCE)
        self._next_tidy = 0.0

    async def run(self) -> None:
        """Post and edit until cancelled."""
        await rounds(self._studio, self._look, "reviews")

    async def _look(self) -> None:
        if time.monotonic() >= self._next_tidy:
            self._next_tidy = time.monotonic() + TIDY_GAP
            await self._studio.reviews.tidy()
        await asyncio.gather(*(self._attend(due) for due in await self._studio.reviews.due()))

    async def _attend(self, due: Due) -> None:
        async with self._sending:
            try:
                async with asyncio.timeout(SEND_TIMEOUT):
                    await (self._post(due) if due.review.verdict is None else self._edit(due))
            except Exception as error:
                if not passing(error) and not isinstance(error, discord.HTTPException | ChannelGone):
                    log.exception("review %s failed", due.review.id)
                await self._later(due, error)

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
        start = job.request.input_picture
        if start is None:
            return cards.approval(due.review, job), []
        try:
            data = await self._studio.picture_bytes(start.key)
        except PictureGone:
            return cards.approval(due.review, job), []
        name = "start.png"
        if len(data) > FILE_LIMIT:
            fitted = await asyncio.to_thread(fit, data, FILE_LIMIT)
            data, name = fitted.data, f"start.{fitted.extension}"
        return cards.approval(due.review, job, input_name=name), [discord.File(BytesIO(data), name)]

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
        await self._studio.reviews.told(review.id)

    async def _later(self, due: Due, error: Exception) -> None:
        review, now = due.review, self._clock()
        if review.decided_at is not None and now > review.decided_at + GIVE_UP_AFTER:
            log.warning("the message of review %s stays as it is: %s", review.id, error)
            await self._studio.reviews.told(review.id)
            return
        problem = _problem(error)
        log.info("review %s has to wait: %s", review.id, problem)
        await self._studio.reviews.failed(review.id, now + pause_after(review.attempts, LONGEST_PAUSE), problem)


def _without_files(due: Due, job: Job) -> Card:
    return cards.report(due.review, job, []) if due.review.kind == "report" else cards.approval(due.review, job)


def _problem(error: Exception) -> str:
    """Return what moderators read about a post that did not work."""
    if isinstance(error, ChannelGone | discord.NotFound):
        return "the moderators' channel is gone"
    if isinstance(error, discord.Forbidden):
        return "I may not post in the moderators' channel"
    status = f" ({error.status})" if isinstance(error, discord.HTTPException) else ""
    return f"Discord does not take it{status}"
