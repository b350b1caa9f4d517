"""Members: what is set for them alone, and where their next turns start."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy import Connection, bindparam

from flux_core.database.policies import NEWER
from flux_core.database.several import by_guild
from flux_core.database.tables import members
from flux_core.errors import InvalidPolicy, RulesUnreadable
from flux_core.jobs import Account, Lane
from flux_core.policy.guild import Limits

NO_LIMITS = Limits()
"""A member for whom nothing is set."""

_IS_MEMBER = (members.c.guild_id == bindparam("guild"), members.c.user_id == bindparam("user"))
_SELECT = sa.select(members.c.limits).where(*_IS_MEMBER)
_SOME_LIMITS = (
    sa.select(members.c.guild_id, members.c.user_id, members.c.limits)
    .where(members.c.limits.is_not(None))
    .order_by(members.c.guild_id, members.c.user_id)
)
_SELECT_SEVERAL = sa.select(members.c.user_id, members.c.limits).where(
    members.c.guild_id == bindparam("guild"), members.c.user_id.in_(bindparam("users", expanding=True))
)
_SET_LIMITS = sa.update(members).where(*_IS_MEMBER).values(limits=bindparam("own"))
_INSERT = sa.insert(members).inline()
_TURN = {Lane.FAST: members.c.last_finish, Lane.RELAXED: members.c.last_relaxed}
_SET_TURN = {
    lane: sa.update(members)
    .where(*_IS_MEMBER)
    .values({column.name: bindparam("finish"), "most_running": bindparam("most"), "roles": bindparam("held_roles")})
    for lane, column in _TURN.items()
}
_TAKE_BACK = {
    lane: sa.update(members).where(*_IS_MEMBER, column == bindparam("old")).values({column.name: bindparam("finish")})
    for lane, column in _TURN.items()
}

_PUT_OFF = {
    lane: sa.update(members).where(*_IS_MEMBER, column < bindparam("finish")).values({column.name: bindparam("finish")})
    for lane, column in _TURN.items()
}


def unlimited(one: sa.FromClause) -> sa.Exists:
    """Return the condition that the account in ``one`` may have any number of jobs running, on PostgreSQL.

    It stays so to the end of the transaction. Nobody is waited for: of a member who is ordering it is not true, nor of
    one without a row.
    """
    found = (
        sa.select(members.c.most_running)
        .join_from(one, members, sa.and_(members.c.guild_id == one.c.guild_id, members.c.user_id == one.c.user_id))
        .with_for_update(of=members, read=True, skip_locked=True)
        .cte("member")
    )
    return sa.exists().where(found.c.most_running.is_(None))


def _key(account: Account) -> dict[str, Any]:
    return {"guild": account.guild_id, "user": account.user_id}


def _identity(account: Account) -> dict[str, Any]:
    return {"guild_id": account.guild_id, "user_id": account.user_id}


@lru_cache(maxsize=4096)
def read(text: str | None) -> Limits:
    """Return the limits in a document that was kept, without what only a newer version beside this one knows.

    Raises RulesUnreadable.
    """
    try:
        return NO_LIMITS if text is None else Limits.model_validate_json(text, extra="ignore")
    except ValidationError:
        raise RulesUnreadable(whose="member") from None


def limits_of(connection: Connection, account: Account) -> Limits:
    """Return what is set for a member alone; raises RulesUnreadable."""
    return read(connection.execute(_SELECT, _key(account)).scalar())


def limits_of_several(connection: Connection, accounts: Collection[Account]) -> dict[Account, Limits]:
    """Return what is set for each of ``accounts`` alone, but for those that nothing is known of.

    Raises RulesUnreadable where that of one of them cannot be read.
    """
    return {
        Account(guild, row.user_id): read(row.limits)
        for guild, users in by_guild(accounts)
        for row in connection.execute(_SELECT_SEVERAL, {"guild": guild, "users": users})
    }


def limits_to_change(connection: Connection, account: Account) -> Limits:
    """Return what is set for a member alone, to be written back changed.

    Raises InvalidPolicy where a newer version beside this one has written something that would be lost. What is
    damaged counts as nothing: its member is refused everything until a moderator has set something anew.
    """
    text = connection.execute(_SELECT, _key(account)).scalar()
    try:
        return NO_LIMITS if text is None else Limits.model_validate_json(text)
    except ValidationError:
        with suppress(RulesUnreadable):
            read(text)
            raise InvalidPolicy(problems=[NEWER]) from None
        return NO_LIMITS


def is_legible(connection: Connection, account: Account) -> bool:
    """Say whether what is set for a member can be read."""
    try:
        limits_of(connection, account)
    except RulesUnreadable:
        return False
    return True


def unreadable(connection: Connection) -> list[Account]:
    """Return the members for whom something is set that cannot be read."""
    found = []
    for row in connection.execute(_SOME_LIMITS):
        try:
            read(row.limits)
        except RulesUnreadable:
            found.append(Account(row.guild_id, row.user_id))
    return found


def put_limits(connection: Connection, account: Account, limits: Limits) -> None:
    """Set what holds for a member alone, from the next job on."""
    own = None if limits == NO_LIMITS else limits.model_dump_json(exclude_defaults=True)
    if connection.execute(_SET_LIMITS, _key(account) | {"own": own}).rowcount == 0:
        connection.execute(_INSERT, _identity(account) | {"limits": own})


def turn_set(lane: Lane) -> sa.Update:
    """Return the statement of ``set_turn`` for a member who has a row.

    Parameters: ``guild``, ``user``, ``finish``, ``most``, ``held_roles``.
    """
    return _SET_TURN[lane]


def turn_begun(lane: Lane) -> sa.Insert:
    """Return the statement of ``set_turn`` for a member who has none, with the same parameters."""
    return _INSERT.values(
        {
            "guild_id": bindparam("guild", type_=sa.BigInteger),
            "user_id": bindparam("user", type_=sa.BigInteger),
            _TURN[lane].name: bindparam("finish", type_=sa.Double),
            "most_running": bindparam("most", type_=sa.Integer),
            "roles": bindparam("held_roles", type_=sa.Text),
        }
    )


def set_turn(
    connection: Connection,
    account: Account,
    lane: Lane,
    finish: float,
    *,
    known: bool,
    most_running: int | None,
    roles: str | None,
) -> None:
    """Remember where a member's next turn starts, and what has to be known of them until then.

    ``known`` says whether the member has a row; ``roles``: the ids of their roles, as JSON.
    """
    if known:
        changes = {"finish": finish, "most": most_running, "held_roles": roles}
        connection.execute(_SET_TURN[lane], _key(account) | changes)
    else:
        new = {_TURN[lane].name: finish, "most_running": most_running, "roles": roles}
        connection.execute(_INSERT, _identity(account) | new)


def take_back_turn(connection: Connection, account: Account, lane: Lane, old: float, new: float) -> None:
    """Move the start of the next turn from ``old`` to ``new``; leave it when it is somewhere else."""
    connection.execute(_TAKE_BACK[lane], _key(account) | {"finish": new, "old": old})


def put_off_turn(connection: Connection, account: Account, lane: Lane, finish: float) -> None:
    """Let the next turn start at ``finish`` at the earliest."""
    connection.execute(_PUT_OFF[lane], _key(account) | {"finish": finish})
