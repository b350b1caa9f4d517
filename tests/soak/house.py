"""The processes of a house, kept running as any supervisor would, and killed when told."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flux_core.settings import child_environment
from tests.database.postgres import Server
from tests.soak.schedule import POSTGRESQL

ROOT = Path(__file__).parents[2]
STOP_SECONDS = 40.0
PAUSE = 0.5
"""Seconds before a process that ended by itself is started again."""


@dataclass(slots=True)
class Part:
    """One process by its name, over all its lives."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    process: asyncio.subprocess.Process | None = None
    away_until: float = 0.0
    """Monotonic seconds before which it is not started again."""
    keeper: asyncio.Task[None] | None = field(default=None, repr=False)


class House:
    """Starts every part anew when it ends, however it ended, until it is closed."""

    def __init__(self, folder: Path, settings: Mapping[str, str], server: Server | None) -> None:
        self._folder = folder
        self._settings = dict(settings)
        self._server = server
        self._parts: dict[str, Part] = {}
        self._closing = False
        self._server_free = asyncio.Lock()
        self.killed: Counter[str] = Counter()
        self.ended: list[str] = []
        """Ends that nobody here had ordered: a program that could not start while the database was away, say."""
        self.server_last_away = 0.0
        """Monotonic seconds when the server came back last."""

    def add(self, name: str, *module: str, **settings: str) -> None:
        """Start a part: ``python -m`` and these words."""
        environment = child_environment(**{**self._settings, **settings})
        part = Part(name, [sys.executable, "-m", *module], environment)
        self._parts[name] = part
        part.keeper = asyncio.create_task(self._keep(part), name=f"keep {name}")

    async def _keep(self, part: Part) -> None:
        while not self._closing:
            with (self._folder / f"{part.name}.log").open("ab") as said:
                part.process = await asyncio.create_subprocess_exec(
                    *part.command, env=part.environment, cwd=ROOT, stderr=said, start_new_session=True
                )
            code = await part.process.wait()
            if self._closing:
                return
            if code != -signal.SIGKILL:
                self.ended.append(f"{part.name} with status {code}")
                part.away_until = time.monotonic() + PAUSE
            await asyncio.sleep(max(0.0, part.away_until - time.monotonic()))

    async def kill(self, names: Sequence[str], down: float) -> None:
        """Kill these parts at the same moment, and start them again ``down`` seconds later."""
        for name in names:
            if name == POSTGRESQL:
                self.killed[name] += 1
                continue
            part = self._parts[name]
            part.away_until = time.monotonic() + down
            if part.process is not None and part.process.returncode is None:
                os.kill(part.process.pid, signal.SIGKILL)
                self.killed[name.partition("-")[0]] += 1
        if POSTGRESQL in names and self._server is not None:
            async with self._server_free:
                await asyncio.to_thread(self._server.kill)
                await asyncio.sleep(down)
                await asyncio.to_thread(self._server.start)
                self.server_last_away = time.monotonic()

    async def close(self) -> None:
        """End every part in order; raises AssertionError for one that does not end."""
        self._closing = True
        stuck = []
        for part in self._parts.values():
            if part.process is not None and part.process.returncode is None:
                part.process.terminate()
        for part in self._parts.values():
            if part.process is None:
                continue
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await part.process.wait()
            except TimeoutError:
                stuck.append(part.name)
                part.process.kill()
                await part.process.wait()
        for part in self._parts.values():
            if part.keeper is not None:
                part.keeper.cancel()
                await asyncio.gather(part.keeper, return_exceptions=True)
        assert not stuck, f"does not end when told: {', '.join(stuck)}"

    def log(self, name: str) -> str:
        """Return what a part has said over all its lives."""
        return (self._folder / f"{name}.log").read_text(errors="replace")
