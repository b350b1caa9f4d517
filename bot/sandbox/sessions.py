"""A bot's gateway session, and the connection it speaks through while it has one."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from .compression import Compress

Shard = tuple[int, int] | None
"""Its number and how many there are; None for a bot that does not shard, and is told everything."""


class Closed(Exception):
    """The client broke the protocol; close with this code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def is_told(shard: Shard, guild_id: str | None) -> bool:
    """Tell whether a shard hears of a guild; None: of direct messages."""
    if shard is None:
        return True
    number, count = shard
    return number == (0 if guild_id is None else (int(guild_id) >> 22) % count)


@dataclass(slots=True, eq=False)
class Session:
    """What a bot identified as; it outlives a dropped connection for a while."""

    id: str
    shard: Shard
    intents: int
    replay: deque[tuple[int, str]]
    sequence: int = 0
    connection: Connection | None = None
    expiry: asyncio.TimerHandle | None = None

    def wants(self, intent: int, guild_id: str | None) -> bool:
        """Tell whether an event of this intent (0: always), of a guild or of direct messages, goes to this shard."""
        if intent and not self.intents & intent:
            return False
        return is_told(self.shard, guild_id)

    def dispatch(self, name: str, data: str) -> None:
        """Number an event, keep it for a replay, and send it when somebody is connected."""
        self.sequence += 1
        frame = f'{{"op":0,"s":{self.sequence},"t":"{name}","d":{data}}}'
        self.replay.append((self.sequence, frame))
        if self.connection is not None:
            self.connection.send(frame)


@dataclass(slots=True, eq=False)
class Connection:
    """One WebSocket: frames queue up here and go out in order."""

    socket: web.WebSocketResponse
    compress: Compress | None
    outgoing: asyncio.Queue[str | None] = field(default_factory=asyncio.Queue)
    session: Session | None = None
    last_beat: float = 0.0

    def send(self, frame: str) -> None:
        self.outgoing.put_nowait(frame)

    def send_op(self, op: int, data: Any = None) -> None:
        self.send(json.dumps({"op": op, "d": data, "s": None, "t": None}))

    async def write(self) -> None:
        """Write queued frames until the connection ends."""
        while (frame := await self.outgoing.get()) is not None:
            if self.compress is None:
                await self.socket.send_str(frame)
            else:
                await self.socket.send_bytes(self.compress(frame.encode()))
