"""Registering application commands, global and for a guild."""

from __future__ import annotations

from typing import Any

from bot.sandbox import errors
from bot.sandbox.commands import Scope
from bot.sandbox.community import APPLICATION_ID
from bot.sandbox.ratelimits import COMMANDS
from bot.sandbox.rules.commands import check_command, check_overwrite
from bot.sandbox.rules.forms import is_object

from .api import Call, Route


def _scope(call: Call) -> Scope:
    if call.params["application_id"] != APPLICATION_ID:
        raise errors.unknown_application()
    guild_id = call.params.get("guild_id")
    if guild_id is not None and guild_id not in call.world.community.guilds:
        raise errors.missing_access()
    return guild_id


def _existing(call: Call, scope: Scope) -> dict[str, Any]:
    command = call.world.commands.get(scope, call.params["command_id"])
    if command is None:
        raise errors.unknown_command()
    return command


async def listed(call: Call) -> list[dict[str, Any]]:
    return call.world.commands.listed(_scope(call))


async def overwrite(call: Call) -> list[dict[str, Any]]:
    scope = _scope(call)
    errors.refuse(list(check_overwrite(call.json or [])))
    return call.world.commands.replace_all(scope, call.json or [])


async def create(call: Call) -> tuple[int, dict[str, Any]]:
    scope = _scope(call)
    errors.refuse(list(check_command(call.json)))
    known = {command["id"] for command in call.world.commands.listed(scope)}
    command = call.world.commands.put(scope, call.json)
    return (200 if command["id"] in known else 201), command


async def fetch(call: Call) -> dict[str, Any]:
    return _existing(call, _scope(call))


_KEPT_ON_EDIT = (
    "name_localizations",
    "description",
    "description_localizations",
    "default_member_permissions",
    "dm_permission",
    "nsfw",
    "contexts",
    "integration_types",
    "options",
)


async def edit(call: Call) -> dict[str, Any]:
    scope = _scope(call)
    earlier = _existing(call, scope)
    errors.refuse(list(is_object(call.json, ())))
    kept = {name: earlier[name] for name in _KEPT_ON_EDIT if name in earlier}
    payload = {"name": earlier["name"], **kept, **call.json, "type": earlier["type"]}
    errors.refuse(list(check_command(payload)))
    if payload["name"] != earlier["name"]:
        call.world.commands.remove(scope, earlier["id"])
    return call.world.commands.put(scope, payload)


async def delete(call: Call) -> None:
    scope = _scope(call)
    call.world.commands.remove(scope, _existing(call, scope)["id"])


def _routes(base: str) -> tuple[Route, ...]:
    one = base + "/{command_id}"
    major = ("guild_id",) if "guild_id" in base else ()
    return (
        Route("GET", base, listed, major=major),
        Route("PUT", base, overwrite, COMMANDS, major),
        Route("POST", base, create, COMMANDS, major),
        Route("GET", one, fetch, major=major),
        Route("PATCH", one, edit, COMMANDS, major),
        Route("DELETE", one, delete, COMMANDS, major),
    )


ROUTES = (
    *_routes("/applications/{application_id}/commands"),
    *_routes("/applications/{application_id}/guilds/{guild_id}/commands"),
)
