"""When a shard may start a session: Discord allows so many a day, and not many at once, over all processes of a bot.

Whoever asks too often is refused; whoever goes over the day's number has every session ended and the token taken away.
https://discord.com/developers/docs/events/gateway#session-start-limit-object
"""

from __future__ import annotations

import asyncio
import logging
import random

import aiohttp
import discord

from flux_core.errors import StorageUnavailable
from flux_core.service import Studio

log = logging.getLogger(__name__)

TURN = 5.2
"""Seconds for which a shard has its turn to itself: Discord's five, and a little for the way there."""
LOOK_AGAIN = 600.0
"""Most seconds between two questions whether the day's number has been filled up again."""


class SessionStarts:
    """Lets shards start sessions one after the other, also those of other processes."""

    def __init__(self, client: discord.AutoShardedClient, studio: Studio) -> None:
        self._client = client
        self._studio = studio

    async def enough(self, needed: int) -> None:
        """Wait until as many sessions may be started as this process needs."""
        while (limits := await self._limits()) is not None and limits.remaining < min(needed, limits.total):
            await self._wait_for_reset(limits, needed)

    async def turn(self, shard_id: int) -> None:
        """Wait until a shard may start a session. After it, the shard has to, at once."""
        while (limits := await self._limits()) is not None and limits.remaining < 1:
            await self._wait_for_reset(limits, 1)
        # Discord's name for the number is rate_limit_key.
        number = shard_id % (1 if limits is None else limits.max_concurrency)
        assert self._client.application_id is not None
        try:
            while wait := await self._studio.bots.take_turn(self._client.application_id, number, TURN):
                log.debug("shard %d waits for its turn to start", shard_id)
                # Not all at the same moment, and no longer than a turn is: clocks of machines differ.
                await asyncio.sleep(min(wait, TURN) + random.uniform(0.0, TURN / 50))
        except StorageUnavailable as error:
            log.warning("shard %d starts without asking whose turn it is: %s", shard_id, error)
            await asyncio.sleep(TURN)

    async def _limits(self) -> discord.SessionStartLimits | None:
        """Return what Discord allows now; None where it does not say."""
        try:
            return await self._client.fetch_session_start_limits()
        except (discord.DiscordException, aiohttp.ClientError, OSError) as error:
            log.warning("Discord does not say how many sessions may be started: %s", type(error).__name__)
            return None

    async def _wait_for_reset(self, limits: discord.SessionStartLimits, needed: int) -> None:
        seconds = limits.reset_after / 1_000
        log.warning(
            "Discord lets this bot start %d more sessions (of %d a day) and %d are needed. More would end all of them "
            "and the token with them, so this waits for %.0f s, until the count begins anew.",
            limits.remaining,
            limits.total,
            needed,
            seconds,
        )
        await asyncio.sleep(min(LOOK_AGAIN, seconds) + random.uniform(0.1, 1.0))
