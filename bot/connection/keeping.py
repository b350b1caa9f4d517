"""Which shards this process keeps, which the others do, and whether all of them are kept, once each."""

from __future__ import annotations

import asyncio
import logging

from flux_core import shards
from flux_core.errors import StorageUnavailable
from flux_core.service import Studio
from flux_core.shards import Keeper, Share

log = logging.getLogger(__name__)

END_WITHIN = 2.0
"""Seconds for the last word to the others."""


class Keeping:
    """One process among all of the bot's. It goes on by what it knew last while the database is away."""

    def __init__(self, studio: Studio, me: Keeper) -> None:
        self._studio = studio
        self._me = me
        self._told: list[str] = []
        self._speaking = asyncio.Lock()
        self._ended = False
        self.share = Share(me.count, frozenset(me.shards))
        """The servers whose messages this process looks after."""
        self.missing: list[int] = []
        """The shards that nobody keeps."""

    def part(self) -> Share | None:
        """Return the servers that this process looks after; None: all of them."""
        return None if self.share.whole else self.share

    async def begin(self) -> None:
        """Make this process known; raises StorageUnavailable."""
        async with self._speaking:
            await self._studio.bots.register(self._me)
        await self._beat()

    async def run(self) -> None:
        """Give signs of life until cancelled."""
        while True:
            await asyncio.sleep(self._studio.bots.beat_seconds)
            try:
                await self._beat()
            except StorageUnavailable:
                log.debug("no sign of life: the database does not answer")
            except Exception:
                log.exception("a sign of life failed")

    async def end(self) -> None:
        """Let the others stand in at once."""
        try:
            async with asyncio.timeout(END_WITHIN), self._speaking:
                # No sign of life comes after this one.
                self._ended = True
                await self._studio.bots.retire(self._me)
        except (StorageUnavailable, TimeoutError):
            log.debug("the others will see by themselves that this process has ended")

    async def _beat(self) -> None:
        async with self._speaking:
            if self._ended:
                return
            living = await self._studio.bots.beat(self._me)
        self.share = shards.share_of(self._me, living)
        self.missing = shards.missing(self._me.count, [one.shards for one in living if one.count == self._me.count])
        self._tell(shards.mistakes(living))

    def _tell(self, mistakes: list[str]) -> None:
        for mistake in mistakes:
            if mistake not in self._told:
                log.error("%s", mistake)
        self._told = mistakes
