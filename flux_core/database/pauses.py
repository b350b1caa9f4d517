"""Where the queue is stopped: paused (what waits is held, too) or draining (what waits is still drawn)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database.jobs import hold, release
from flux_core.database.tables import EVERYWHERE, pauses

c = pauses.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Why new jobs are refused, in one guild or everywhere."""

    everywhere: bool
    reason: str
    """As its moderator wrote it; may be empty."""
    by: int
    """The moderator's user id."""
    since: float
    """Unix seconds."""
    drains: bool
    """Whether what waits is still drawn."""


_CONCERNS = c.guild_id.in_([bindparam("guild"), sa.literal_column(str(EVERYWHERE))])
_STOPS = sa.select(c.guild_id, c.reason, c.by_user, c.since, c.drains).where(_CONCERNS).order_by(c.guild_id.desc())
_HOLDING = sa.select(sa.exists(sa.select(c.guild_id).where(_CONCERNS, c.drains.is_(False))))
_DELETE = sa.delete(pauses).where(c.guild_id == bindparam("guild"))
_INSERT = sa.insert(pauses).inline()


def _where(guild_id: int | None) -> int:
    return EVERYWHERE if guild_id is None else guild_id


def stops(connection: Connection, guild_id: int | None) -> Sequence[Stop]:
    """Return what stops a guild: its own moderators first, then the owner's stop of everything (alone for None)."""
    return [
        Stop(
            everywhere=row.guild_id == EVERYWHERE,
            reason=row.reason,
            by=row.by_user,
            since=row.since,
            drains=bool(row.drains),
        )
        for row in connection.execute(_STOPS, {"guild": _where(guild_id)})
    ]


def holding(connection: Connection, guild_id: int | None) -> bool:
    """Say whether the waiting jobs of a guild are held (None asks for everywhere)."""
    return bool(connection.execute(_HOLDING, {"guild": _where(guild_id)}).scalar())


def pause(connection: Connection, guild_id: int | None, by: int, why: str, now: float, *, drains: bool = False) -> None:
    """Stop a guild, or everything for None; a second stop replaces the first one with its reason.

    ``drains``: what waits is still drawn, and only new jobs are refused.
    """
    where = _where(guild_id)
    connection.execute(_DELETE, {"guild": where})
    row = {"guild_id": where, "reason": why, "by_user": by, "since": now, "drains": drains}
    connection.execute(_INSERT, row)
    if guild_id is not None:
        (release if drains else hold)(connection, guild_id)


def resume(connection: Connection, guild_id: int | None) -> bool:
    """End a stop; return whether there was one."""
    ended = connection.execute(_DELETE, {"guild": _where(guild_id)}).rowcount > 0
    if ended and guild_id is not None:
        release(connection, guild_id)
    return ended
