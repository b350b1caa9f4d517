"""Who may not draw in a guild, why, and until when. A ban that is over is as if it were not there."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database.tables import bans
from flux_core.jobs import Account

c = bans.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Ban:
    """One member who may not draw."""

    user_id: int
    until: float | None
    """Unix seconds; None: until somebody lifts it."""
    reason: str
    by: int
    """The user id of the moderator."""
    since: float


_IS_MEMBER = (c.guild_id == bindparam("guild"), c.user_id == bindparam("user"))
_HOLDS = sa.or_(c.until.is_(None), c.until > bindparam("now"))
_ONE = sa.select(bans).where(*_IS_MEMBER, _HOLDS)
_DELETE = sa.delete(bans).where(*_IS_MEMBER)
_INSERT = sa.insert(bans).inline()
_COUNT = sa.select(sa.func.count()).select_from(bans).where(c.guild_id == bindparam("guild"), _HOLDS)
_PAGE = (
    sa.select(bans)
    .where(c.guild_id == bindparam("guild"), _HOLDS)
    .order_by(c.since.desc(), c.user_id)
    .limit(bindparam("most"))
    .offset(bindparam("skipped"))
)
_PRUNE = sa.delete(bans).where(c.until <= bindparam("now"))


def ban_of(connection: Connection, account: Account, now: float) -> Ban | None:
    """Return the ban of an account; None where there is none that holds."""
    row = connection.execute(_ONE, _key(account) | {"now": now}).one_or_none()
    return None if row is None else _ban(row)


def put(connection: Connection, account: Account, by: int, reason: str, until: float | None, now: float) -> None:
    """Ban an account, in place of any ban that it has."""
    connection.execute(_DELETE, _key(account))
    row = {"until": until, "reason": reason, "by_user": by, "since": now}
    connection.execute(_INSERT, {"guild_id": account.guild_id, "user_id": account.user_id} | row)


def lift(connection: Connection, account: Account) -> None:
    """End the ban of an account."""
    connection.execute(_DELETE, _key(account))


def page_of(connection: Connection, guild_id: int, skipped: int, most: int, now: float) -> tuple[list[Ban], int]:
    """Return ``most`` of a guild's bans behind the first ``skipped``, the newest first, and how many there are."""
    key = {"guild": guild_id, "now": now}
    rows = connection.execute(_PAGE, key | {"skipped": skipped, "most": most})
    return [_ban(row) for row in rows], connection.execute(_COUNT, key).scalar_one()


def prune(connection: Connection, now: float) -> int:
    """Forget the bans that are over; return how many."""
    return connection.execute(_PRUNE, {"now": now}).rowcount


def _key(account: Account) -> dict[str, int]:
    return {"guild": account.guild_id, "user": account.user_id}


def _ban(row: sa.Row[tuple[object, ...]]) -> Ban:
    return Ban(user_id=row.user_id, until=row.until, reason=row.reason, by=row.by_user, since=row.since)
