"""Accounts, and direct message channels with them."""

from __future__ import annotations

from typing import Any

from bot.sandbox import errors
from bot.sandbox.rules.forms import form, snowflake

from .api import Call, Route

_RECIPIENT = form({"recipient_id": snowflake}, "recipient_id")


async def me(call: Call) -> dict[str, Any]:
    return {**call.world.community.bot.raw(), "verified": True, "mfa_enabled": False, "email": None, "flags": 0}


async def my_guilds(call: Call) -> list[dict[str, Any]]:
    return [
        {"id": guild.id, "name": guild.name, "icon": None, "owner": False, "features": []}
        for guild in call.world.community.guilds.values()
    ]


async def user(call: Call) -> dict[str, Any]:
    member = call.world.community.members.get(call.params["user_id"])
    if member is None:
        raise errors.unknown_user()
    return member.user.raw()


async def open_direct_channel(call: Call) -> dict[str, Any]:
    errors.refuse(list(_RECIPIENT(call.json, ())))
    community = call.world.community
    recipient = str(call.json["recipient_id"])
    if recipient == community.bot.id:
        raise errors.closed_direct_messages()
    if recipient not in community.members:
        raise errors.unknown_user()
    return community.direct_channel(recipient).raw()


ROUTES = (
    Route("GET", "/users/@me", me),
    Route("GET", "/users/@me/guilds", my_guilds),
    Route("GET", "/users/{user_id}", user),
    Route("POST", "/users/@me/channels", open_direct_channel),
)
