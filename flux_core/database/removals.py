"""Messages of the bot's own that are to be deleted, until Discord has done so."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database.shares import of_share, parameters
from flux_core.database.tables import removals
from flux_core.shards import Share

c = removals.c

_ONE = (c.channel_id == bindparam("channel"), c.message_id == bindparam("message"))
_KNOWN = sa.select(c.message_id).where(*_ONE)
_INSERT = sa.insert(removals).inline()
# The latest first: what a moderator wants gone now does not wait for all that a member ever had drawn.
_DUE = sa.select(removals).where(c.next_at <= bindparam("now")).order_by(c.since.desc()).limit(bindparam("most"))
_DUE_IN_SHARE = _DUE.where(of_share(c.guild_id))
_DONE = sa.delete(removals).where(*_ONE)
_IN_CHANNEL = c.channel_id == bindparam("channel")
_STUCK = sa.update(removals).where(_IN_CHANNEL).values(attempts=c.attempts + 1, next_at=bindparam("retry_at"))
_GIVE_UP = sa.delete(removals).where(_IN_CHANNEL, c.since < bindparam("before"))
_FAILED = sa.update(removals).where(*_ONE).values(attempts=c.attempts + 1, next_at=bindparam("retry_at"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """One message that is to be deleted."""

    guild_id: int
    """0: a direct message."""
    channel_id: int
    message_id: int
    since: float
    """Unix seconds."""
    attempts: int
    """Those that failed."""


def note(connection: Connection, guild_id: int, channel_id: int, message_id: int, now: float) -> None:
    """Have a message of the bot's own deleted; nothing when that is noted already.

    Discord lets nobody delete the private answer to an interaction by its id: those are not for here.
    """
    if connection.execute(_KNOWN, {"channel": channel_id, "message": message_id}).first() is None:
        row = {"guild_id": guild_id, "channel_id": channel_id, "message_id": message_id, "since": now}
        connection.execute(_INSERT, row)


def due(connection: Connection, now: float, limit: int, share: Share | None = None) -> list[Removal]:
    """Return messages that may be deleted now, of the guilds of ``share`` alone, when given."""
    wanted = {"now": now, "most": limit}
    if share is None:
        rows = connection.execute(_DUE, wanted)
    else:
        rows = connection.execute(_DUE_IN_SHARE, wanted | parameters(share))
    return [
        Removal(
            guild_id=row.guild_id,
            channel_id=row.channel_id,
            message_id=row.message_id,
            since=row.since,
            attempts=row.attempts,
        )
        for row in rows
    ]


def done(connection: Connection, channel_id: int, message_id: int) -> None:
    """Note that a message is gone, or will never be."""
    connection.execute(_DONE, {"channel": channel_id, "message": message_id})


def failed(connection: Connection, channel_id: int, message_id: int, retry_at: float) -> None:
    """Note that a message could not be deleted, to be tried again at ``retry_at`` (unix seconds)."""
    connection.execute(_FAILED, {"channel": channel_id, "message": message_id, "retry_at": retry_at})


def stuck(connection: Connection, channel_id: int, retry_at: float, give_up_before: float) -> int:
    """Note that nothing can be deleted in a channel before ``retry_at`` (unix seconds).

    What was noted before ``give_up_before`` is given up; return how many messages that are.
    """
    given_up = connection.execute(_GIVE_UP, {"channel": channel_id, "before": give_up_before}).rowcount
    connection.execute(_STUCK, {"channel": channel_id, "retry_at": retry_at})
    return given_up
