"""Members: their weight in the queue, their own allowance, and where their next turn starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database.tables import members
from flux_core.jobs import Account


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberSettings:
    """What is set for one member alone."""

    weight: float = 1.0
    """Share of the workers, against 1 for everybody else."""
    allowance: int | None = None
    """Thousandths of a credit a day; None: what everybody has."""


_IS_MEMBER = (members.c.guild_id == bindparam("guild"), members.c.user_id == bindparam("user"))
_SELECT = sa.select(members.c.weight, members.c.allowance).where(*_IS_MEMBER)
_SET_FINISH = sa.update(members).where(*_IS_MEMBER).values(last_finish=bindparam("finish"))
_TAKE_BACK = _SET_FINISH.where(members.c.last_finish == bindparam("old"))
_SET = (
    sa.update(members).where(*_IS_MEMBER).values(weight=bindparam("new_weight"), allowance=bindparam("new_allowance"))
)
_INSERT = sa.insert(members).inline()


def _key(account: Account) -> dict[str, Any]:
    return {"guild": account.guild_id, "user": account.user_id}


def _identity(account: Account) -> dict[str, Any]:
    return {"guild_id": account.guild_id, "user_id": account.user_id}


def settings_of(connection: Connection, account: Account) -> MemberSettings:
    """Return what is set for a member."""
    row = connection.execute(_SELECT, _key(account)).one_or_none()
    return MemberSettings() if row is None else MemberSettings(weight=row.weight, allowance=row.allowance)


def put_settings(connection: Connection, account: Account, settings: MemberSettings) -> None:
    """Set what holds for a member from the next job on."""
    changed = {"new_weight": settings.weight, "new_allowance": settings.allowance}
    if connection.execute(_SET, _key(account) | changed).rowcount == 0:
        own = {"weight": settings.weight, "allowance": settings.allowance}
        connection.execute(_INSERT, _identity(account) | own)


def set_last_finish(connection: Connection, account: Account, finish: float, *, known: bool) -> None:
    """Remember where the next turn of a member starts; ``known`` says whether the member has a row."""
    if known:
        connection.execute(_SET_FINISH, _key(account) | {"finish": finish})
    else:
        connection.execute(_INSERT, _identity(account) | {"last_finish": finish})


def take_back_last_finish(connection: Connection, account: Account, old: float, new: float) -> None:
    """Move the start of the next turn from ``old`` to ``new``; leave it when it is somewhere else."""
    connection.execute(_TAKE_BACK, _key(account) | {"finish": new, "old": old})
