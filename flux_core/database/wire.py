"""How processes on one PostgreSQL server tell one another that something was written: LISTEN and NOTIFY.

What is told wakes those who wait, and carries nothing. Whoever waits looks again from time to time by themselves: a
process that is killed between its write and its telling tells nobody.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from flux_core.waiting import happened

log = logging.getLogger(__name__)

CHANNEL = "flux_bot"
TELL_SECONDS = 0.005
"""Writes within this time are told of together: PostgreSQL commits those that notify one after the other."""
QUIET_SECONDS = 0.025
"""Least time from one telling to the next: everybody who is told looks again, and who writes all the time need not
wake them more often than a file would (``sqlite.POLL_SECONDS``)."""
BACK_OFF = (0.2, 1.0, 5.0)
"""Seconds between attempts to connect again."""
ALIVE_SECONDS = 30.0
"""How often a silent connection is tried: one that a network has dropped is silent, too."""
ANSWER_SECONDS = 5.0


class Wire:
    """One connection of its own that listens and tells, and is made again when it breaks."""

    def __init__(self, connect: Callable[[], Awaitable[Any]], heard: Callable[[], None]) -> None:
        """Call ``heard`` whenever somebody else wrote something, or may have while the connection was broken."""
        self._connect, self._heard = connect, heard
        self._connected = asyncio.Event()
        self._written = asyncio.Event()
        self._connection: Any = None
        self._turn = asyncio.Lock()  # the connection does one thing at a time
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Begin; without a connection after some seconds, go on trying beside the caller."""
        self._tasks = [
            asyncio.create_task(self._listen(), name="database-listen"),
            asyncio.create_task(self._tell(), name="database-tell"),
        ]
        await happened(self._connected, ANSWER_SECONDS)

    async def close(self) -> None:
        """Tell what is still to be told, and let go of the connection."""
        for task in self._tasks[1:]:
            task.cancel()
        if self._written.is_set() and self._connected.is_set():
            with suppress(Exception):
                await self._notify()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def tell(self) -> None:
        """Tell the others soon that something was written."""
        self._written.set()

    async def _tell(self) -> None:
        clock = asyncio.get_running_loop().time
        told = clock() - QUIET_SECONDS
        while True:
            await self._written.wait()
            await self._connected.wait()
            await asyncio.sleep(max(TELL_SECONDS, told + QUIET_SECONDS - clock()))
            told = clock()
            with suppress(Exception):  # it is told once the connection is there again
                await self._notify()
                continue
            await asyncio.sleep(BACK_OFF[0])

    async def _notify(self) -> None:
        self._written.clear()
        try:
            async with self._turn:
                await self._connection.execute(f"NOTIFY {CHANNEL}", timeout=ANSWER_SECONDS)
        except BaseException:
            self._written.set()
            raise

    async def _listen(self) -> None:
        failures = 0
        while True:
            began = asyncio.get_running_loop().time()
            try:
                await self._listen_once()
            except Exception as error:
                # Whatever it is: nobody would notice that it ended. asyncpg raises what it has for its own mistakes
                # while none of several servers takes writes, and where the server says good-bye just now.
                log.warning("cannot listen to the database: %s", type(error).__name__)
            if asyncio.get_running_loop().time() - began > ALIVE_SECONDS:
                failures = 0
            await asyncio.sleep(BACK_OFF[min(failures, len(BACK_OFF) - 1)])
            failures += 1

    async def _listen_once(self) -> None:
        """Listen until the connection ends."""
        connection = await self._connect()
        ended = asyncio.Event()

        def heard(_connection: Any, process: int, _channel: str, _payload: Any) -> None:
            if process != connection.get_server_pid():
                self._heard()

        try:
            connection.add_termination_listener(lambda _: ended.set())
            await connection.add_listener(CHANNEL, heard)
            missed = self._connection is not None
            self._connection = connection
            self._connected.set()
            if missed:
                self._heard()
            while not await happened(ended, ALIVE_SECONDS):
                async with self._turn:
                    await connection.fetchval("SELECT 1", timeout=ANSWER_SECONDS)
        finally:
            self._connected.clear()
            with suppress(Exception):
                await connection.close(timeout=1.0)
