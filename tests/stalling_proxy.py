"""A way to a server that can be made to stall: connections stay open, and nothing comes through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class StallingProxy:
    """Hands on what comes, or keeps it for later."""

    def __init__(self, port: int) -> None:
        """Lead to ``port`` of this machine."""
        self._to = port
        self._open = asyncio.Event()
        self._open.set()
        self._ways: set[asyncio.Task[None]] = set()
        self.address = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[StallingProxy]:
        """Listen meanwhile, at ``address``."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for way in self._ways:
                way.cancel()
            await asyncio.gather(*self._ways, return_exceptions=True)

    def stall(self) -> None:
        """Let nothing through any more."""
        self._open.clear()

    def go_on(self) -> None:
        """Let through what has waited, and what comes."""
        self._open.set()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._to)
        for source, target in ((reader, back), (there, writer)):
            way = asyncio.create_task(self._lead(source, target))
            self._ways.add(way)
            way.add_done_callback(self._ways.discard)

    async def _lead(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                await self._open.wait()
                target.write(data)
                await target.drain()
            target.close()
