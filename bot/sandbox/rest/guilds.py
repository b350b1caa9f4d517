"""The guilds, their members, roles and channels."""

from __future__ import annotations

from typing import Any

from bot.sandbox import errors, guild_objects
from bot.sandbox.community import Guild

from .api import Call, Route


def _guild(call: Call) -> Guild:
    found = call.world.community.guilds.get(call.params["guild_id"])
    if found is None or not found.has_bot:
        raise errors.unknown_guild()
    return found


async def guild(call: Call) -> dict[str, Any]:
    return guild_objects.guild(_guild(call))


async def channels(call: Call) -> list[dict[str, Any]]:
    return guild_objects.channels(call.world.community, _guild(call).id)


async def roles(call: Call) -> list[dict[str, Any]]:
    return [role.raw() for role in _guild(call).roles.values()]


async def member(call: Call) -> dict[str, Any]:
    user_id = call.params["user_id"]
    found = _guild(call).members.get(call.world.community.bot.id if user_id == "@me" else user_id)
    if found is None:
        raise errors.unknown_member()
    return found.raw()


ROUTES = (
    Route("GET", "/guilds/{guild_id}", guild, major=("guild_id",)),
    Route("GET", "/guilds/{guild_id}/channels", channels, major=("guild_id",)),
    Route("GET", "/guilds/{guild_id}/roles", roles, major=("guild_id",)),
    Route("GET", "/guilds/{guild_id}/members/{user_id}", member, major=("guild_id",)),
)
