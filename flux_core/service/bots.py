"""The bot's processes among one another: which shards each keeps, whose turn to start it is, who uploads commands."""

from __future__ import annotations

from sqlalchemy import Connection

from flux_core.database import bots, shard_starts, uploaded_commands
from flux_core.database.engine import Database
from flux_core.database.uploaded_commands import Upload
from flux_core.shards import Keeper

BEAT = 5.0
"""Most seconds between two signs of life."""
FORGOTTEN = 24 * 3600.0
"""Seconds without one after which nobody needs to know of it."""


class Bots:
    """What the processes of the bot have to agree on."""

    def __init__(self, db: Database, *, lease_seconds: float) -> None:
        """Work on ``db``; a process silent for ``lease_seconds`` counts as gone."""
        self._db = db
        self._silence = lease_seconds

    @property
    def beat_seconds(self) -> float:
        """Return the seconds between two signs of life: several fit into the silence that is borne."""
        return min(BEAT, self._silence / 4)

    async def register(self, keeper: Keeper) -> None:
        """Make a process known to the others."""
        await self._db.write(_register, keeper, self._db.clock())

    async def beat(self, keeper: Keeper) -> list[Keeper]:
        """Note that a process lives; return all of the same application that do, itself included, the oldest first."""
        now = self._db.clock()
        if not await self._db.write(bots.beat, keeper.id, now):
            await self._db.write(_register, keeper, now)
        living = await self.alive()
        return [one for one in living if one.application_id == keeper.application_id]

    async def retire(self, keeper: Keeper) -> None:
        """Let the others know that a process ends."""
        await self._db.write(bots.retire, keeper.id)

    async def alive(self) -> list[Keeper]:
        """Return the living processes of every application, the oldest first."""
        return await self._db.read(bots.alive, self._db.clock() - self._silence)

    async def take_turn(self, application_id: int, turn: int, seconds: float) -> float:
        """Take a turn at starting a session, and return 0; or return the seconds after which it may be free."""
        # By the time at which it is written: the database may have had to be waited for.
        return await self._db.write(
            lambda connection: shard_starts.take(connection, application_id, turn, self._db.clock(), seconds)
        )

    async def begin_turn(self, application_id: int, turn: int, seconds: float) -> None:
        """Let a turn that was taken last for ``seconds`` from now on."""
        await self._db.write(
            lambda connection: shard_starts.begin(connection, application_id, turn, self._db.clock(), seconds)
        )

    async def uploaded(self, application_id: int, api: str) -> Upload | None:
        """Return the latest upload of commands; see ``uploaded_commands``."""
        return await self._db.read(uploaded_commands.find, application_id, api)

    async def begin_upload(self, application_id: int, api: str, seen: Upload | None, digest: str) -> bool:
        """Let the caller alone upload; False when somebody was faster."""
        return await self._db.write(uploaded_commands.begin, application_id, api, seen, digest, self._db.clock())

    async def end_upload(self, application_id: int, api: str, digest: str, ids: tuple[int, ...]) -> None:
        """Note what was uploaded; no ids: nothing was."""
        if ids:
            await self._db.write(uploaded_commands.done, application_id, api, Upload(digest, ids, self._db.clock()))
        else:
            await self._db.write(uploaded_commands.forget, application_id, api)

    def recent(self, upload: Upload, seconds: float) -> bool:
        """Tell whether an upload was noted within ``seconds``."""
        # One of the time to come was noted by a clock that was put back since.
        return abs(self._db.clock() - upload.at) < seconds


def _register(connection: Connection, keeper: Keeper, now: float) -> None:
    bots.prune(connection, now - FORGOTTEN)
    bots.register(connection, keeper, now)
