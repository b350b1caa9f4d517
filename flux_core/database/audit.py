"""The audit log: what moderators changed, written with the change itself. The database refuses to alter it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database.tables import EVERYWHERE, audit

c = audit.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that somebody did."""

    id: int
    """Grows with time."""
    at: float
    """Unix seconds."""
    by: int
    """The user who did it."""
    action: str
    """The command without its group, such as "quota grant"."""
    target: int | None
    """The member it was done to."""
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which entries are looked for."""

    guild_id: int | None
    """None: what the owner did to all guilds."""
    user_id: int | None = None
    """Who did it, or to whom it was done."""
    action: str | None = None
    since: float = 0.0
    """Unix seconds."""


_INSERT = sa.insert(audit).inline()
_WANTED = (
    sa.select(c.id, c.at, c.by_user, c.action, c.target_user, c.facts)
    .where(c.guild_id == bindparam("guild"), c.at >= bindparam("since"))
    .where(
        sa.or_(
            bindparam("user", type_=sa.BigInteger).is_(None),
            c.by_user == bindparam("user", type_=sa.BigInteger),
            c.target_user == bindparam("user", type_=sa.BigInteger),
        )
    )
    .where(sa.or_(bindparam("action", type_=sa.Text).is_(None), c.action == bindparam("action", type_=sa.Text)))
    .limit(bindparam("most"))
)
_OLDER = _WANTED.where(c.id < bindparam("edge")).order_by(c.id.desc())
_NEWER = _WANTED.where(c.id > bindparam("edge")).order_by(c.id)
_ACTIONS = sa.select(c.action).where(c.guild_id == bindparam("guild")).group_by(c.action).order_by(c.action)
_LAST = 2**62
"""Above every id."""


def note(
    connection: Connection,
    guild_id: int,
    by: int,
    action: str,
    now: float,
    *,
    target: int | None = None,
    **facts: Any,
) -> None:
    """Write down that the user ``by`` did ``action`` (the command, such as "quota grant") in a guild.

    ``target``: the member it was done to. ``facts``: what else there is to tell, as JSON.
    """
    connection.execute(
        _INSERT,
        {
            "at": now,
            "guild_id": guild_id,
            "by_user": by,
            "action": action,
            "target_user": target,
            "facts": json.dumps(facts, default=str),
        },
    )


def older(connection: Connection, wanted: Wanted, before: int | None, limit: int) -> Sequence[Entry]:
    """Return the newest entries, those behind the entry ``before`` when it is given; newest first."""
    return _found(connection, _OLDER, wanted, _LAST if before is None else before, limit)


def newer(connection: Connection, wanted: Wanted, after: int, limit: int) -> Sequence[Entry]:
    """Return the entries right after the entry ``after``; newest first."""
    return _found(connection, _NEWER, wanted, after, limit)[::-1]


def _found(connection: Connection, statement: sa.Select[Any], wanted: Wanted, edge: int, limit: int) -> Sequence[Entry]:
    look = {
        "guild": _where(wanted.guild_id),
        "user": wanted.user_id,
        "action": wanted.action,
        "since": wanted.since,
        "edge": edge,
        "most": limit,
    }
    return [
        Entry(
            id=row.id,
            at=row.at,
            by=row.by_user,
            action=row.action,
            target=row.target_user,
            facts=json.loads(row.facts),
        )
        for row in connection.execute(statement, look)
    ]


def actions(connection: Connection, guild_id: int | None) -> list[str]:
    """Return the different actions that the log of a guild (None: of everywhere) tells of, sorted."""
    return list(connection.execute(_ACTIONS, {"guild": _where(guild_id)}).scalars())


def _where(guild_id: int | None) -> int:
    return EVERYWHERE if guild_id is None else guild_id
