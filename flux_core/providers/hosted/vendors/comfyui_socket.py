"""ComfyUI's WebSocket: how far a job is, and what it looks like. Everything here may fail; polling goes on without.

Messages as in ComfyUI's server source: JSON ``{"type", "data"}``, and binary frames of a 4-byte big-endian event
number (1: a preview), a 4-byte picture format, and the encoded picture.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

_wire = logging.getLogger(f"{__name__}.wire")
_wire.setLevel(logging.WARNING)
"""What the library has to say of every header and frame: the key is among them."""

PREVIEW_EVENT = 1
MOST_BYTES = 8 * 1024 * 1024
"""Of one message; previews have 512 pixels a side by default."""
PREVIEW_FOLLOWS = 0.25
"""Seconds: a step's preview comes right after its number."""
CLOSING = 0.5


@dataclass(slots=True)
class News:
    """What was heard of a job."""

    progress: float | None = None
    preview: bytes | None = None
    ended: bool = False
    """Whether it is over, so that /history knows the rest."""


class _Connect(connect):
    def process_redirect(self, exc: Exception) -> Exception | str:
        """Follow no redirect, as with every other request that carries a key."""
        return exc


async def listen(base_url: str, ticket: str, *, headers: Mapping[str, str], seconds: float) -> News:
    """Hear for at most ``seconds`` how the job ``ticket`` is doing; return with the first step that was told, or none.

    A job's messages go to the client whose id it was sent with, which is ``ticket``, too.
    """
    # Imported here: the bot reads what every vendor offers, and needs none of their HTTP for it.
    from flux_core.providers.hosted.network import tls

    url = f"ws{base_url.removeprefix('http')}/ws?clientId={quote(ticket, safe='')}"
    news = News()
    # No proxy: a socket through a company's proxy rarely works, and a server of one's own is seldom behind one.
    try:
        async with _Connect(
            url,
            additional_headers=dict(headers),
            open_timeout=seconds,
            close_timeout=CLOSING,
            max_size=MOST_BYTES,
            compression=None,
            proxy=None,
            ssl=tls(http2=False) if url.startswith("wss:") else None,
            logger=_wire,
        ) as socket:
            await _hear(socket, ticket, news, seconds)
    except (TimeoutError, OSError, EOFError, WebSocketException):
        pass
    return news


async def _hear(socket: ClientConnection, ticket: str, news: News, seconds: float) -> None:
    async with asyncio.timeout(seconds) as deadline:
        async for message in socket:
            _take(message, ticket, news)
            if news.ended or (news.progress is not None and news.preview is not None):
                return
            if news.progress is not None:
                soon = asyncio.get_running_loop().time() + PREVIEW_FOLLOWS
                deadline.reschedule(min(soon, deadline.when() or soon))


def _take(message: str | bytes, ticket: str, news: News) -> None:
    if isinstance(message, bytes):
        if len(message) > 8 and int.from_bytes(message[:4], "big") == PREVIEW_EVENT:
            news.preview = message[8:]
        return
    try:
        event: Any = json.loads(message)
    except ValueError:
        return
    data = event.get("data") if isinstance(event, dict) else None
    if not isinstance(data, dict) or data.get("prompt_id", ticket) != ticket:
        return
    match event.get("type"), data:
        case "progress", {"value": int() | float() as value, "max": int() | float() as most} if most > 0:
            news.progress = min(max(value / most, 0.0), 1.0)
        case "executing", {"node": None, "prompt_id": str()}:
            # Sent once the history has it; execution_success and execution_error come a little too early for that.
            news.ended = True
