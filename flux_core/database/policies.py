"""What communities have decided, as kept: one JSON document per guild."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy import Connection, bindparam

from flux_core.database.tables import policies
from flux_core.database.unreadable import object_in
from flux_core.errors import InvalidPolicy
from flux_core.policy.guild import NOTHING_DECIDED, GuildPolicy, Limits, OutputRule
from flux_core.router import RoutingPolicy

DEFAULT_ROUTING = RoutingPolicy()
"""Where neither the operator nor the community has said anything."""

NEWER = "a newer version of the bot has decided things here that this one does not know; try again after the upgrade"

DAMAGED = (
    "what this server has decided cannot be read, so nothing is drawn here; "
    "/admin policy import replaces it, and /admin policy reset takes it back"
)

c = policies.c

_SOME = sa.select(c.guild_id, c.policy).where(c.guild_id.in_(bindparam("guilds", expanding=True)))
_ALL = sa.select(c.guild_id, c.policy).order_by(c.guild_id)
_ONE = sa.select(c.policy).where(c.guild_id == bindparam("guild"))
_DELETE = sa.delete(policies).where(c.guild_id == bindparam("guild"))
_INSERT = sa.insert(policies).inline()


CLOSED = GuildPolicy(
    everybody=Limits(credits=0),
    dollars_a_day=0,
    routing=RoutingPolicy(providers=()),
    output=OutputRule(action="refuse", threshold=0.01),
    tell_prompt=False,
)
"""What holds where nobody can read what a guild has decided: nothing that its moderators might have closed is open."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A policy as it was kept."""

    policy: GuildPolicy
    """Where not all of it can be read: what can be, and for the rest what is in ``CLOSED``."""
    problems: tuple[str, ...] = ()
    """What cannot be read, each with its place in the document."""


@lru_cache(maxsize=1024)
def read(text: str) -> Kept:
    """Return the policy in a document that was kept; one that is damaged stops nobody but its own guild's orders.

    A newer version beside this one may have written entries that are not known here: they are left aside.
    """
    try:
        return Kept(GuildPolicy.model_validate_json(text, extra="ignore"))
    except ValidationError as error:
        return Kept(_readable_of(text), tuple(problems(error)))


def _readable_of(text: str) -> GuildPolicy:
    """Return ``CLOSED`` with those entries of a document that can be read."""
    given, found = object_in(text), CLOSED
    # The channel first: rules that ask for approval make no sense without it.
    for name in sorted(given, key=lambda name: name != "moderators_channel"):
        if name in GuildPolicy.model_fields:
            with suppress(ValidationError):
                one = GuildPolicy.model_validate({**found.model_dump(mode="json"), name: given[name]}, extra="ignore")
                found = one
    return found


def policy_of(connection: Connection, guild_id: int) -> GuildPolicy:
    """Return what a guild has decided, as ``read`` does."""
    text = connection.execute(_ONE, {"guild": guild_id}).scalar()
    return NOTHING_DECIDED if text is None else read(text).policy


def problems_of(connection: Connection, guild_id: int) -> tuple[str, ...]:
    """Return what cannot be read of what a guild has decided."""
    text = connection.execute(_ONE, {"guild": guild_id}).scalar()
    return () if text is None else read(text).problems


def unreadable(connection: Connection) -> dict[int, tuple[str, ...]]:
    """Return the guilds whose policy cannot be read, each with what is wrong in it."""
    found = {row.guild_id: read(row.policy).problems for row in connection.execute(_ALL)}
    return {guild_id: wrong for guild_id, wrong in found.items() if wrong}


def routing_of(connection: Connection, guild_id: int, default: RoutingPolicy) -> RoutingPolicy:
    """Return who draws for a guild, by the operator's ``default`` where it has not said so."""
    return policy_of(connection, guild_id).routing or default


def to_change(connection: Connection, guild_id: int, *, whole: bool = False) -> GuildPolicy:
    """Return what a guild has decided, to be written back changed; raises InvalidPolicy where not all of it is known.

    A newer version beside this one may have written entries that would be lost. One that is damaged can be replaced
    as a ``whole``, and not in parts: nobody would notice what is lost with the rest.
    """
    text = connection.execute(_ONE, {"guild": guild_id}).scalar()
    if text is None:
        return NOTHING_DECIDED
    try:
        return GuildPolicy.model_validate_json(text)
    except ValidationError:
        kept = read(text)
        if kept.problems and whole:
            return kept.policy
        raise InvalidPolicy(problems=[DAMAGED if kept.problems else NEWER]) from None


def policies_of(connection: Connection, guild_ids: Collection[int]) -> dict[int, GuildPolicy]:
    """Return the policies of those guilds that have one."""
    rows = connection.execute(_SOME, {"guilds": sorted(set(guild_ids))})
    return {row.guild_id: read(row.policy).policy for row in rows}


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
