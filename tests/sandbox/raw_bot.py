"""A bot made of bare HTTP requests, to break one rule at a time."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx

from bot.sandbox import events
from bot.sandbox.community import APPLICATION_ID
from bot.sandbox.server import Sandbox

COMMANDS: list[dict[str, Any]] = [
    {"name": "go", "description": "Start something"},
    {
        "name": "find",
        "description": "Find something",
        "options": [
            {"type": 3, "name": "what", "description": "What", "required": True, "autocomplete": True},
            {"type": 4, "name": "most", "description": "How many", "autocomplete": True},
        ],
    },
]


class RawBot:
    """Register commands, receive interactions from inside the sandbox, and answer with raw requests."""

    def __init__(self, sandbox: Sandbox, client: httpx.AsyncClient) -> None:
        self.client = client
        self.opened: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        sandbox.world.bus.subscribe(self._take)

    def _take(self, event: events.Event) -> None:
        if isinstance(event, events.InteractionOpened):
            self.opened.put_nowait(json.loads(json.dumps(event.payload)))

    async def register(self, commands: Any = COMMANDS) -> httpx.Response:
        return await self.client.put(f"/applications/{APPLICATION_ID}/commands", json=commands)

    async def next(self) -> dict[str, Any]:
        """Return the next interaction's payload."""
        return await asyncio.wait_for(self.opened.get(), 30)

    async def callback(
        self, interaction: dict[str, Any], kind: int, data: Any = None, *, token: str | None = None, query: str = ""
    ) -> httpx.Response:
        path = f"/interactions/{interaction['id']}/{token or interaction['token']}/callback{query}"
        body = {"type": kind} | ({} if data is None else {"data": data})
        return await self.client.post(path, json=body, headers={"Authorization": ""})

    async def webhook(self, method: str, interaction: dict[str, Any], path: str = "", **parts: Any) -> httpx.Response:
        address = f"/webhooks/{APPLICATION_ID}/{interaction['token']}{path}"
        return await self.client.request(method, address, headers={"Authorization": ""}, **parts)

    async def original(self, method: str, interaction: dict[str, Any], **parts: Any) -> httpx.Response:
        return await self.webhook(method, interaction, "/messages/@original", **parts)


def code_of(response: httpx.Response) -> tuple[int, int]:
    """Return the HTTP status and Discord's error code."""
    return response.status_code, response.json()["code"]


def codes_at(response: httpx.Response) -> dict[str, list[str]]:
    """Return the violations of a 50035 answer: path → codes."""
    assert code_of(response) == (400, 50035), response.text
    found: dict[str, list[str]] = {}

    def look(node: dict[str, Any], path: tuple[str, ...]) -> None:
        for key, inner in node.items():
            if key == "_errors":
                found[".".join(path)] = [error["code"] for error in inner]
            else:
                look(inner, (*path, key))

    look(response.json()["errors"], ())
    return found
