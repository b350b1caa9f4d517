"""What members have set for themselves, as kept."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database.several import by_guild
from flux_core.database.tables import preferences
from flux_core.jobs import Account
from flux_core.preferences import NOTHING_SET, Preferences

c = preferences.c

_IS_MEMBER = (c.guild_id == bindparam("guild"), c.user_id == bindparam("user"))
_SELECT = sa.select(c.given).where(*_IS_MEMBER)
_SELECT_SEVERAL = sa.select(c.user_id, c.given).where(
    c.guild_id == bindparam("guild"), c.user_id.in_(bindparam("users", expanding=True))
)
_DELETE = sa.delete(preferences).where(*_IS_MEMBER)
_INSERT = sa.insert(preferences).inline()


@lru_cache(maxsize=4096)
def _read(text: str) -> Preferences:
    return Preferences.model_validate_json(text)


def _key(account: Account) -> dict[str, Any]:
    return {"guild": account.guild_id, "user": account.user_id}


def preferences_of(connection: Connection, account: Account) -> Preferences:
    """Return what a member has set; nothing where they have set nothing."""
    text = connection.execute(_SELECT, _key(account)).scalar()
    return NOTHING_SET if text is None else _read(text)


def preferences_of_several(connection: Connection, accounts: Collection[Account]) -> dict[Account, Preferences]:
    """Return what those of ``accounts`` have set that have set something."""
    return {
        Account(guild, row.user_id): _read(row.given)
        for guild, users in by_guild(accounts)
        for row in connection.execute(_SELECT_SEVERAL, {"guild": guild, "users": users})
    }


def put_preferences(connection: Connection, account: Account, given: Preferences) -> None:
    """Set what holds for a member from now on, in place of everything before."""
    connection.execute(_DELETE, _key(account))
    if given != NOTHING_SET:
        row = {"guild_id": account.guild_id, "user_id": account.user_id}
        connection.execute(_INSERT, row | {"given": given.model_dump_json(exclude_none=True)})
