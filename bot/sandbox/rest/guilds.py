"""The guild, its members, roles and channels."""

from __future__ import annotations

from typing import Any

from bot.sandbox import errors, guild_objects
from bot.sandbox.community import GUILD_ID, Community

from .api import Call, Route


def _community(call: Call) -> Community:
    if call.params["guild_id"] != GUILD_ID or not call.world.community.has_bot:
        raise errors.unknown_guild()
    return call.world.community


async def guild(call: Call) -> dict[str, Any]:
    return guild_objects.guild(_community(call))


async def channels(call: Call) -> list[dict[str, Any]]:
    return guild_objects.channels(_community(call))


async def roles(call: Call) -> list[dict[str, Any]]:
    return [role.raw() for role in _community(call).roles.values()]


async def member(call: Call) -> dict[str, Any]:
    community = _community(call)
    user_id = call.params["user_id"]
    found = community.members.get(community.bot.id if user_id == "@me" else user_id)
    if found is None:
        raise errors.unknown_member()
    return found.raw()


ROUTES = (
    Route("GET", "/guilds/{guild_id}", guild, major=("guild_id",)),
    Route("GET", "/guilds/{guild_id}/channels", channels, major=("guild_id",)),
    Route("GET", "/guilds/{guild_id}/roles", roles, major=("guild_id",)),
    Route("GET", "/guilds/{guild_id}/members/{user_id}", member, major=("guild_id",)),
)
