"""Messages of the bot's own that are to be deleted."""

from __future__ import annotations

from flux_core.database import removals
from flux_core.database.engine import Database
from flux_core.database.removals import Removal
from flux_core.shards import Share

AT_ONCE = 20
"""Messages deleted in one go; Discord takes about five deletions in a second."""


class Removals:
    """Messages of the bot's own that are to be deleted. Those of a verdict are noted with it."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def note(self, guild_id: int, channel_id: int, message_id: int) -> None:
        """Have a public message of the bot's own deleted, whatever happens to this process; see ``removals.note``."""
        await self._db.write(removals.note, guild_id, channel_id, message_id, self._db.clock())

    async def due(self, share: Share | None = None) -> list[Removal]:
        """Return messages that may be deleted now, of the guilds of ``share`` alone, when given."""
        return await self._db.read(removals.due, self._db.clock(), AT_ONCE, share)

    async def done(self, removal: Removal) -> None:
        """Note that a message is gone, or will never be."""
        await self._db.write(removals.done, removal.channel_id, removal.message_id)

    async def failed(self, removal: Removal, retry_at: float) -> None:
        """Note that a message could not be deleted, to be tried again at ``retry_at`` (unix seconds)."""
        await self._db.write(removals.failed, removal.channel_id, removal.message_id, retry_at)

    async def stuck(self, channel_id: int, retry_at: float, give_up_before: float) -> int:
        """Note that nothing can be deleted in a channel before ``retry_at`` (unix seconds).

        What was noted before ``give_up_before`` is given up; return how many messages that are.
        """
        return await self._db.write(removals.stuck, channel_id, retry_at, give_up_before)
