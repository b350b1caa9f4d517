"""The ways a job's answer can reach its member, best first, and what Discord's refusals mean for them."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import aiohttp
import discord

from bot.layouts.cards import Card
from flux_core.jobs import Job, JobState, ReplyTo

TOKEN_MARGIN = 5.0
"""Seconds before its end at which an interaction token is no longer trusted to last through an upload."""
DM_UPLOAD_LIMIT = 10 * 1024 * 1024
"""Bytes per file that Discord takes everywhere; a server's boost does not reach into direct messages."""


SMALLEST_UPLOAD_LIMIT = DM_UPLOAD_LIMIT // 4
"""Bytes per file at which four of them make no larger request than one that Discord takes everywhere."""
REQUEST_TOO_LARGE = 40005
UNAUTHORIZED = 401
"""Of an interaction token's end, Discord says a code with it; without one, it is the bot's own token."""


class Way(StrEnum):
    """How a card travels."""

    TOKEN = "interaction token"
    """Edit the answer itself; repeatable by nature."""
    CHANNEL = "channel message"
    """Post anew in the channel, with a mention and a nonce, so that a repeated post is the same post."""
    EDIT = "edit by the bot"
    """Edit the public answer as any message of the bot's own; nobody is told."""
    DIRECT = "direct message"


def ways(job: Job, now: float) -> list[Way]:
    """Return the ways open to the final answer of ``job``, best first."""
    reply = job.reply_to
    if reply is None:
        return []
    found = [Way.TOKEN] if token_lives(reply, now) else []
    if job.state is JobState.CANCELLED:
        # The member knows already. A message of its own would only be noise.
        return [*found, *_edit(reply)]
    if not reply.private:
        found += [Way.CHANNEL, *_edit(reply)]
    return [*found, Way.DIRECT]


def progress_way(job: Job, now: float) -> Way | None:
    """Return the way for progress on the living message; None once nothing can change it."""
    if job.reply_to is None:
        return None
    if token_lives(job.reply_to, now):
        return Way.TOKEN
    return next(iter(_edit(job.reply_to)), None)


def token_lives(reply: ReplyTo, now: float) -> bool:
    """Tell whether the interaction token still serves."""
    return bool(reply.interaction_token) and now < reply.token_expires_at - TOKEN_MARGIN


def _edit(reply: ReplyTo) -> list[Way]:
    return [] if reply.private or reply.message_id is None else [Way.EDIT]


def passing(error: BaseException) -> bool:
    """Tell whether the same request may succeed later: the network, a rate limit, a fault at Discord.

    So is a bot token that Discord takes no longer: it says nothing about any message, and its operator sets a new one.
    """
    if isinstance(error, discord.HTTPException):
        refused_bot = error.status == UNAUTHORIZED and error.code == 0
        return error.status == 429 or error.status >= 500 or refused_bot
    return isinstance(error, discord.RateLimited | aiohttp.ClientError | TimeoutError | OSError)


def too_large(error: discord.HTTPException) -> bool:
    """Tell whether Discord refused the size of what was sent; whatever stands before Discord says it without a code."""
    return error.status == 413 or error.code == REQUEST_TOO_LARGE


def upload_limits(reply: ReplyTo, way: Way) -> list[int]:
    """Return the bytes per file to try along ``way``, the largest first.

    A server may have lost its boosts since the order was given, and with them the limit that Discord told then.
    """
    return limits_from(min(reply.upload_limit, DM_UPLOAD_LIMIT) if way is Way.DIRECT else reply.upload_limit)


def limits_from(first: int) -> list[int]:
    """Return ``first``, the bytes per file that Discord tells, and what to try where it takes less than it tells."""
    return [first, *(limit for limit in (DM_UPLOAD_LIMIT, SMALLEST_UPLOAD_LIMIT) if limit < first)]


class Poster:
    """Sends cards along a way."""

    def __init__(self, client: discord.Client) -> None:
        self._client = client

    async def send(self, way: Way, job: Job, card: Card, files: Sequence[discord.File]) -> int | None:
        """Send ``card`` with ``files`` and return the message's id.

        Raises what discord.py raises; see ``passing``.
        """
        reply = job.reply_to
        assert reply is not None
        match way:
            case Way.TOKEN:
                return await self._by_token(reply, card, files)
            case Way.EDIT:
                assert reply.message_id is not None
                await self._message(job, reply.message_id).edit(view=card, attachments=list(files))
                return reply.message_id
            case Way.CHANNEL:
                channel = self._channel(job, reply)
                return (await channel.send(**self._new(job, card, files))).id
            case Way.DIRECT:
                direct = await self._client.create_dm(discord.Object(job.account.user_id))
                return (await direct.send(**self._new(job, card, files))).id

    async def tell(self, user_id: int, card: Card, nonce: str) -> None:
        """Send ``card`` as a direct message; a repeated one with the same ``nonce`` is the same message for minutes."""
        direct = await self._client.create_dm(discord.Object(user_id))
        await direct.send(view=card, nonce=nonce)

    async def _by_token(self, reply: ReplyTo, card: Card, files: Sequence[discord.File]) -> int | None:
        webhook = discord.Webhook.partial(reply.application_id, reply.interaction_token, client=self._client)
        # Webhooks name the first answer of an interaction so; its id may not have reached us before a crash.
        message: Any = reply.message_id if reply.message_id is not None else "@original"
        edited = await webhook.edit_message(message, view=card, attachments=list(files))
        return edited.id

    def _new(self, job: Job, card: Card, files: Sequence[discord.File]) -> dict[str, Any]:
        return {
            "view": card,
            "files": list(files),
            "nonce": job.id,
            "allowed_mentions": discord.AllowedMentions(
                everyone=False, roles=False, users=[discord.Object(job.account.user_id)]
            ),
        }

    def _channel(self, job: Job, reply: ReplyTo) -> discord.PartialMessageable:
        return self._client.get_partial_messageable(reply.channel_id, guild_id=job.account.guild_id or None)

    def _message(self, job: Job, message_id: int) -> discord.PartialMessage:
        assert job.reply_to is not None
        return self._channel(job, job.reply_to).get_partial_message(message_id)
