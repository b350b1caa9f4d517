"""The open pages: each hears of what its member may see."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from . import events
from .gateway import Gateway
from .interactions import NO_RESPONSE, InteractionKind
from .messages import Message
from .rules.permissions import Permission
from .world import World

MOST_WAITING_FRAMES = 5_000
"""A page that reads slower than this is cut off, and loads afresh when it reconnects."""


@dataclass(slots=True, eq=False)
class _Viewer:
    """One open page."""

    member_id: str
    socket: web.WebSocketResponse
    frames: asyncio.Queue[str | None] = field(default_factory=lambda: asyncio.Queue(MOST_WAITING_FRAMES))

    def show(self, frame: str) -> None:
        """Queue a frame, or give the page up when it does not read."""
        try:
            self.frames.put_nowait(frame)
        except asyncio.QueueFull:
            while not self.frames.empty():
                self.frames.get_nowait()
            self.frames.put_nowait(None)


class Viewers:
    """Keep the open pages and tell them what happens in the world."""

    def __init__(self, world: World, gateway: Gateway) -> None:
        self._world = world
        self._gateway = gateway
        self._viewers: set[_Viewer] = set()
        world.bus.subscribe(self._on_event)

    async def watch(self, request: web.Request, member_id: str) -> web.StreamResponse:
        """Send a member's events until the page goes away; the first two tell how things stand."""
        socket = web.WebSocketResponse(compress=False, heartbeat=30)
        await socket.prepare(request)
        viewer = _Viewer(member_id, socket)
        viewer.show(_frame("bot", {"online": self._gateway.online}))
        viewer.show(_frame("faults", self._world.faults.raw()))
        self._viewers.add(viewer)
        writer = asyncio.create_task(_write(viewer), name="sandbox-page-writer")
        try:
            async for _ in socket:
                pass
        finally:
            self._viewers.discard(viewer)
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await writer
        return socket

    async def close(self) -> None:
        """Close every page's connection."""
        for viewer in tuple(self._viewers):
            await viewer.socket.close()

    def _on_event(self, event: events.Event) -> None:
        if not self._viewers:
            return
        match event:
            case events.MessageCreated(message):
                self._show_message("message_create", message, message.for_page())
            case events.MessageUpdated(message):
                self._show_message("message_update", message, message.for_page())
            case events.MessageDeleted(message):
                self._show_message("message_delete", message, {"id": message.id, "channel_id": message.channel_id})
            case events.InteractionSettled(interaction) if interaction.kind is not InteractionKind.AUTOCOMPLETE:
                reason = NO_RESPONSE if interaction.state == "failed" else None
                data = {"id": interaction.id, "state": interaction.state, "reason": reason}
                self._show(_frame("interaction", data), interaction.member_id)
            case events.ModalOpened(interaction, modal):
                shown = {key: modal[key] for key in ("custom_id", "title", "components")}
                self._show(_frame("modal", {"interaction_id": interaction.id, **shown}), interaction.member_id)
            case events.CommandsChanged(commands):
                self._show(_frame("commands", commands))
            case events.BotPresence(online):
                self._show(_frame("bot", {"online": online}))
            case events.FaultsChanged(faults):
                self._show(_frame("faults", faults))

    def _show_message(self, kind: str, message: Message, data: dict[str, Any]) -> None:
        community = self._world.community
        channel = community.channels[message.channel_id]
        frame = _frame(kind, data)
        for viewer in tuple(self._viewers):
            sees = community.permissions(viewer.member_id, channel) & Permission.VIEW_CHANNEL
            if sees and message.visible_to(viewer.member_id):
                viewer.show(frame)

    def _show(self, frame: str, member_id: str | None = None) -> None:
        for viewer in tuple(self._viewers):
            if member_id in (None, viewer.member_id):
                viewer.show(frame)


def _frame(kind: str, data: Any) -> str:
    return json.dumps({"type": kind, "data": data})


async def _write(viewer: _Viewer) -> None:
    while (frame := await viewer.frames.get()) is not None:
        await viewer.socket.send_str(frame)
    await viewer.socket.close()
