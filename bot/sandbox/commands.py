"""The registered application commands, global and of guilds."""

from __future__ import annotations

from typing import Any

from .community import APPLICATION_ID, GUILD_ID
from .events import CommandsChanged, EventBus
from .snowflakes import Snowflakes

Scope = str | None
"""A guild's id, or None for global commands."""


class CommandRegistry:
    """Keep commands by scope; a command keeps its id as long as its name and type stay."""

    def __init__(self, snowflakes: Snowflakes, bus: EventBus) -> None:
        self._snowflakes = snowflakes
        self._bus = bus
        self._scopes: dict[Scope, dict[str, dict[str, Any]]] = {}

    def listed(self, scope: Scope) -> list[dict[str, Any]]:
        return list(self._scopes.get(scope, {}).values())

    def every(self) -> list[dict[str, Any]]:
        """Return all commands, those of guilds first."""
        scopes = sorted(self._scopes, key=lambda scope: scope is None)
        return [command for scope in scopes for command in self._scopes[scope].values()]

    def get(self, scope: Scope, command_id: str) -> dict[str, Any] | None:
        return self._scopes.get(scope, {}).get(command_id)

    def named(self, name: str, kind: int, guild_id: str = GUILD_ID) -> dict[str, Any] | None:
        """Find the command a member of a guild means; a guild command hides a global one of the same name."""
        here = [command for command in self.every() if command.get("guild_id") in (None, guild_id)]
        return next((command for command in here if (command["name"], command["type"]) == (name, kind)), None)

    def replace_all(self, scope: Scope, payloads: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Put these commands in the place of all others of the scope."""
        commands = [self._complete(scope, payload) for payload in payloads]
        self._scopes[scope] = {command["id"]: command for command in commands}
        self._announce()
        return commands

    def put(self, scope: Scope, payload: dict[str, Any]) -> dict[str, Any]:
        """Add a command, or replace the one of the same name and type."""
        command = self._complete(scope, payload)
        self._scopes.setdefault(scope, {})[command["id"]] = command
        self._announce()
        return command

    def remove(self, scope: Scope, command_id: str) -> None:
        self._scopes.get(scope, {}).pop(command_id, None)
        self._announce()

    def _announce(self) -> None:
        self._bus.publish(CommandsChanged(self.every()))

    def _complete(self, scope: Scope, payload: dict[str, Any]) -> dict[str, Any]:
        kind = payload.get("type") or 1
        earlier = next((c for c in self.listed(scope) if (c["name"], c["type"]) == (payload["name"], kind)), None)
        permissions = payload.get("default_member_permissions")
        dm_permission = payload.get("dm_permission")
        command = {
            "id": earlier["id"] if earlier else self._snowflakes.next(),
            "application_id": APPLICATION_ID,
            "version": self._snowflakes.next(),
            "type": kind,
            "name": payload["name"],
            "name_localizations": payload.get("name_localizations"),
            "description": payload.get("description") or "",
            "description_localizations": payload.get("description_localizations"),
            "default_member_permissions": None if permissions is None else str(permissions),
            "dm_permission": True if dm_permission is None else dm_permission,
            "nsfw": bool(payload.get("nsfw")),
            "contexts": payload.get("contexts"),
            "integration_types": payload.get("integration_types") or [0],
        }
        if scope is not None:
            command["guild_id"] = scope
        if kind == 1 and payload.get("options"):
            command["options"] = payload["options"]
        return command
