"""What members have set for themselves, as kept."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database.tables import preferences
from flux_core.jobs import Account
from flux_core.preferences import NOTHING_SET, Preferences

c = preferences.c

_IS_MEMBER = (c.guild_id == bindparam("guild"), c.user_id == bindparam("user"))
_SELECT = sa.select(c.given).where(*_IS_MEMBER)
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


def put_preferences(connection: Connection, account: Account, given: Preferences) -> None:
    """Set what holds for a member from now on, in place of everything before."""
    connection.execute(_DELETE, _key(account))
    if given != NOTHING_SET:
        row = {"guild_id": account.guild_id, "user_id": account.user_id}
        connection.execute(_INSERT, row | {"given": given.model_dump_json(exclude_none=True)})
