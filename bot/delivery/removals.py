"""Deletes the bot's own messages that moderators, or their members, want gone, over any restart, until it is done."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import discord

from bot.delivery.posting import passing
from bot.delivery.rounds import pause_after, rounds
from flux_core.database.removals import Removal
from flux_core.service import Studio
from flux_core.shards import Share

log = logging.getLogger(__name__)

TIMEOUT = 30.0
"""Seconds for one request."""
LONGEST_PAUSE = 600.0
GIVE_UP_AFTER = 7 * 24 * 3600.0
"""Seconds for which a message is tried that Discord does not let the bot delete, as where it lost its rights."""


class Removing:
    """Looks at what is to be deleted whenever the studio changed. It holds nothing: the database does."""

    def __init__(
        self,
        client: discord.Client,
        studio: Studio,
        *,
        clock: Callable[[], float] = time.time,
        share: Callable[[], Share | None] = lambda: None,
    ) -> None:
        """Delete with ``client``, in the guilds of ``share``; None: in all of them."""
        self._client = client
        self._studio = studio
        self._clock = clock
        self._share = share

    async def run(self) -> None:
        """Delete until cancelled."""
        await rounds(self._studio, self._look, "removals")

    async def _look(self) -> None:
        closed: set[int] = set()
        for removal in await self._studio.removals.due(self._share()):
            if removal.channel_id not in closed and not await self._remove(removal):
                closed.add(removal.channel_id)

    async def _remove(self, removal: Removal) -> bool:
        """Delete one message; False where nothing can be deleted in its channel for now."""
        channel = self._client.get_partial_messageable(removal.channel_id, guild_id=removal.guild_id or None)
        try:
            async with asyncio.timeout(TIMEOUT):
                await channel.get_partial_message(removal.message_id).delete()
        except discord.NotFound:
            pass  # somebody else was faster, or the whole channel is gone
        except Exception as error:
            now = self._clock()
            retry_at = now + pause_after(removal.attempts, LONGEST_PAUSE)
            if isinstance(error, discord.Forbidden):
                # It will be so for all of them, and Discord shuts out bots that ask thousands of times in vain.
                stay = await self._studio.removals.stuck(removal.channel_id, retry_at, now - GIVE_UP_AFTER)
                if stay:
                    log.warning("%d messages in channel %s stay: %s", stay, removal.channel_id, error)
                return False
            if not passing(error) and not isinstance(error, discord.HTTPException):
                log.exception("deleting message %s failed", removal.message_id)
            if now <= removal.since + GIVE_UP_AFTER:
                await self._studio.removals.failed(removal, retry_at)
                return True
            log.warning("message %s stays: %s", removal.message_id, error)
        await self._studio.removals.done(removal)
        return True
