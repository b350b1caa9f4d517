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

TURN = 5.5
"""Seconds for which a shard has its turn to itself: Discord's five, and a little for the way there."""
CONNECTED_WITHIN = 0.8
"""Part of a turn in which a shard has to connect, or it lines up again."""
LOOK_AGAIN = 600.0
"""Most seconds between two questions whether the day's number has been filled up again."""


class SessionStarts:
    """Lets shards start sessions one after the other, also those of other processes."""

    def __init__(self, client: discord.AutoShardedClient, studio: Studio) -> None:
        self._client = client
        self._studio = studio
        self._turns: dict[int, tuple[int, float]] = {}
        """Shard → the turn that it has and has not used yet, and since when, on the loop's clock."""

    async def enough(self, needed: int) -> None:
        """Wait until as many sessions may be started as this process needs."""
        while (limits := await self._limits()) is not None and limits.remaining < min(needed, limits.total):
            await self._wait_for_reset(limits, needed)

    async def line_up(self, shard_id: int) -> None:
        """Wait until a shard may connect in order to start a session.

        Not with the connection open: one on which nothing was heard for a minute counts as dead.
        """
        number = await self._take(shard_id)
        self._turns[shard_id] = number, asyncio.get_running_loop().time()

    async def turn(self, shard_id: int) -> None:
        """Wait until a shard may start a session, unless it has just lined up. After it, the shard has to, at once."""
        number, since = self._turns.pop(shard_id, (0, float("-inf")))
        if asyncio.get_running_loop().time() - since > CONNECTED_WITHIN * TURN:
            await self._take(shard_id)
            return
        try:
            # Discord counts from here, however long it took to connect.
            await self._studio.bots.begin_turn(self._application_id, number, TURN)
        except StorageUnavailable as error:
            log.debug("shard %d starts in the turn that it has: %s", shard_id, error)

    @property
    def _application_id(self) -> int:
        assert self._client.application_id is not None
        return self._client.application_id

    async def _take(self, shard_id: int) -> int:
        """Wait for a shard's turn, and for a session to be left for it then; return the turn's number."""
        while True:
            limits = await self._limits()
            if limits is not None and limits.remaining < 1:
                await self._wait_for_reset(limits, 1)
                continue
            # All shards may be about to start. Where there are not enough sessions for that, they go one by one, and
            # each looks once more in its turn whether one is left: a start too many ends all of them.
            scarce = limits is not None and limits.remaining <= (self._client.shard_count or 1)
            # Discord's name for the number is rate_limit_key.
            number = 0 if limits is None or scarce else shard_id % limits.max_concurrency
            await self._wait_for_turn(shard_id, number)
            if not scarce or (limits := await self._limits()) is None or limits.remaining >= 1:
                return number

    async def _wait_for_turn(self, shard_id: int, number: int) -> None:
        try:
            while wait := await self._studio.bots.take_turn(self._application_id, number, TURN):
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
