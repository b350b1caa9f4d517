"""The queue in the hands of moderators."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from flux_core.database import audit, line, pauses
from flux_core.database.engine import Database
from flux_core.database.line import Crowd, Removed
from flux_core.database.pauses import Stop
from flux_core.database.tables import EVERYWHERE
from flux_core.errors import NotThere
from flux_core.jobs import Job


class Line:
    """The queue in the hands of moderators. A guild of None means every guild, for the bot's owner."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def pause(self, guild_id: int | None, *, by: int, reason: str, drains: bool = False) -> None:
        """Refuse new jobs and claim none of the waiting ones until resumed; those being drawn are finished.

        ``drains``: what waits is still drawn. A second stop replaces the first one.
        """
        await self._db.write(_pause, guild_id, by, reason, drains, self._db.clock())

    async def resume(self, guild_id: int | None, *, by: int) -> bool:
        """End the stop of a guild, or the one of everywhere; return whether there was one."""
        return await self._db.write(_resume, guild_id, by, self._db.clock())

    async def stops(self, guild_id: int | None) -> Sequence[Stop]:
        """Return what stops a guild: its own moderators first, then the owner's stop of everywhere."""
        return await self._db.read(pauses.stops, guild_id)

    async def holding(self, guild_id: int | None) -> bool:
        """Say whether the waiting jobs of a guild are held; when it drains, they are not."""
        return await self._db.read(pauses.holding, guild_id)

    async def crowd(self, guild_id: int) -> Crowd:
        """Return how much there is to do in a guild."""
        return await self._db.read(line.crowd, guild_id)

    async def in_turn(self, guild_id: int, *, skipped: int = 0, limit: int = 25) -> list[Job]:
        """Return a guild's jobs in the order of their turns, the running ones first, without the first ``skipped``."""
        return await self._db.read(line.in_turn, guild_id, skipped, limit)

    async def waiting(self, guild_id: int | None) -> int:
        """Return how many jobs wait."""
        return await self._db.read(line.waiting, guild_id)

    async def of_member(self, guild_id: int, user_id: int) -> list[Job]:
        """Return a member's jobs in a guild that wait or run and are not being stopped."""
        return await self._db.read(line.of_member, guild_id, user_id)

    async def cancel(self, guild_id: int, job_id: str, *, by: int) -> Job:
        """Stop a job of a guild; raises JobNotFound, JobAlreadyEnded, or AlreadySo where it is being stopped."""
        return await self._db.write(line.cancel, guild_id, job_id, by, self._db.clock())

    async def cancel_of(self, guild_id: int, user_id: int, *, by: int) -> Removed:
        """Stop all jobs of a member in a guild; raises NotThere where there are none."""
        return await self._db.write(line.cancel_of, guild_id, user_id, by, self._db.clock())

    async def clear(self, guild_id: int | None, *, by: int) -> Removed:
        """Cancel everything that waits now, with its cost back; raises NotThere where nothing waits.

        A long queue takes several transactions, each of which writes its own entry into the audit log.
        """
        until, removed = self._db.clock(), Removed()
        while (some := await self._db.write(line.clear, guild_id, by, until, self._db.clock())).waiting:
            removed += some
        if not removed.waiting:
            raise NotThere(what="waiting job")
        return removed


def _pause(connection: Connection, guild_id: int | None, by: int, reason: str, drains: bool, now: float) -> None:
    pauses.pause(connection, guild_id, by, reason, now, drains=drains)
    action = "queue drain" if drains else "queue pause"
    audit.note(connection, _where(guild_id), by, action, now, reason=reason)


def _resume(connection: Connection, guild_id: int | None, by: int, now: float) -> bool:
    ended = pauses.resume(connection, guild_id)
    if ended:
        audit.note(connection, _where(guild_id), by, "queue resume", now)
    return ended


def _where(guild_id: int | None) -> int:
    return EVERYWHERE if guild_id is None else guild_id
