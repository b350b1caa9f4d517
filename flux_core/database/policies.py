"""What communities have decided, as kept: one JSON document per guild."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache

import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy import Connection, bindparam

from flux_core.database.tables import policies
from flux_core.errors import InvalidPolicy
from flux_core.policy import NOTHING_DECIDED, GuildPolicy
from flux_core.router import RoutingPolicy

DEFAULT_ROUTING = RoutingPolicy()
"""Where neither the operator nor the community has said anything."""

NEWER = "a newer version of the bot has decided things here that this one does not know; try again after the upgrade"

c = policies.c

_SOME = sa.select(c.guild_id, c.policy).where(c.guild_id.in_(bindparam("guilds", expanding=True)))
_ONE = sa.select(c.policy).where(c.guild_id == bindparam("guild"))
_DELETE = sa.delete(policies).where(c.guild_id == bindparam("guild"))
_INSERT = sa.insert(policies).inline()


@lru_cache(maxsize=1024)
def read(text: str) -> GuildPolicy:
    """Return the policy in a document that was kept.

    A newer version beside this one may have written entries that are not known here: they are left aside.
    """
    return GuildPolicy.model_validate_json(text, extra="ignore")


def policy_of(connection: Connection, guild_id: int) -> GuildPolicy:
    """Return what a guild has decided."""
    text = connection.execute(_ONE, {"guild": guild_id}).scalar()
    return NOTHING_DECIDED if text is None else read(text)


def routing_of(connection: Connection, guild_id: int, default: RoutingPolicy) -> RoutingPolicy:
    """Return who draws for a guild, by the operator's ``default`` where it has not said so."""
    return policy_of(connection, guild_id).routing or default


def to_change(connection: Connection, guild_id: int) -> GuildPolicy:
    """Return what a guild has decided, to be written back changed; raises InvalidPolicy where not all of it is known.

    A newer version beside this one may have written entries that would be lost.
    """
    text = connection.execute(_ONE, {"guild": guild_id}).scalar()
    if text is None:
        return NOTHING_DECIDED
    try:
        return GuildPolicy.model_validate_json(text)
    except ValidationError:
        raise InvalidPolicy(problems=[NEWER]) from None


def policies_of(connection: Connection, guild_ids: Collection[int]) -> dict[int, GuildPolicy]:
    """Return the policies of those guilds that have one."""
    rows = connection.execute(_SOME, {"guilds": sorted(set(guild_ids))})
    return {row.guild_id: read(row.policy) for row in rows}


def put_policy(connection: Connection, guild_id: int, policy: GuildPolicy, by: int, now: float) -> None:
    """Set what a guild has decided."""
    connection.execute(_DELETE, {"guild": guild_id})
    row = {"guild_id": guild_id, "policy": policy.model_dump_json(exclude_defaults=True), "by_user": by, "since": now}
    connection.execute(_INSERT, row)


def checked(policy: GuildPolicy) -> GuildPolicy:
    """Return ``policy`` as its document says it; raises InvalidPolicy with what is wrong in it.

    Copies with changes are not checked when they are made.
    """
    return parse(policy.model_dump_json())


def parse(text: str) -> GuildPolicy:
    """Return the policy in a document that somebody wrote; raises InvalidPolicy with what is wrong in it."""
    try:
        return GuildPolicy.model_validate_json(text)
    except ValidationError as error:
        raise InvalidPolicy(problems=problems(error)) from None


_WORDS = {
    "extra_forbidden": "a policy has no such entry",
    "too_long": "there can be at most {max_length}, not {actual_length}",
    "missing": "this has to be there",
    "json_invalid": "this is no JSON ({error})",
}
"""What people read instead of pydantic's own words, by its type of error."""


def problems(error: ValidationError) -> list[str]:
    """Return what is wrong in a document, each with its place in it."""
    return [_problem(one) for one in error.errors()]


def _problem(one: object) -> str:
    assert isinstance(one, dict)
    where = ".".join(str(part) for part in one["loc"])
    said = str(one["msg"]).removeprefix("Value error, ")
    if one["type"] in _WORDS:
        said = _WORDS[one["type"]].format_map(one.get("ctx") or {})
    return f"{where}: {said}" if where else said
