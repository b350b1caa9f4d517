"""A whole installation for a test: the sandbox here, the bot and its workers as processes of their own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bot.sandbox.driver import Person
from bot.sandbox.server import Sandbox
from flux_core.bootstrap import open_studio
from flux_core.service import Studio
from flux_core.settings import Settings, child_environment
from flux_core.shards import parse

ROOT = Path(__file__).parents[2]


class Installation:
    """Starts, kills and restarts the parts of flux-bot over one data folder."""

    def __init__(self, sandbox: Sandbox, data_dir: Path, **settings: str) -> None:
        self.sandbox = sandbox
        self.data_dir = data_dir
        self._settings = {
            "DATA_DIR": str(data_dir),
            "DISCORD_TOKEN": sandbox.token,
            "DISCORD_API_BASE": sandbox.api_base,
            "DISCORD_GATEWAY": sandbox.gateway_url,
            "DISCORD_CDN": sandbox.cdn_base,
            "LEASE_SECONDS": "2",
            "TORCH_THREADS": "1",
            "LOG_FORMAT": "json",
            **settings,
        }
        self._processes: list[asyncio.subprocess.Process] = []

    @property
    def settings(self) -> Settings:
        """Return the settings its processes run with."""
        return Settings(**{name.lower(): value for name, value in self._settings.items()}, _env_file=None)

    async def bot(self, shards: str = "", shard_count: int = 0) -> asyncio.subprocess.Process:
        """Start a bot, of all shards or of ``shards``, and wait until Discord has it online.

        One with shards of its own logs apart: ``log("bot-0-1")`` for the shards 0-1. Several may be started at once.
        """
        name = f"bot-{shards}" if shards else "bot"
        process = await self._start(name, "bot", "bot", SHARDS=shards, SHARD_COUNT=str(shard_count))
        wanted = None
        if shard_count:
            wanted = {(id, shard_count) for id in (parse(shards) if shards else range(shard_count))}
        async with Person(self.sandbox.base_url) as person:
            async with asyncio.timeout(90 + 15 * len(wanted or ())):
                while not (_online((await person.world())["bot"], wanted) and await person.registered()):
                    if process.returncode is not None:
                        raise AssertionError(f"The bot ended with {process.returncode}:\n{self.log(name)}")
                    await asyncio.sleep(0.05)
        return process

    async def worker(self) -> asyncio.subprocess.Process:
        """Start a worker; it claims jobs as soon as it is up."""
        return await self._start("worker", "bot", "worker")

    async def scripted(self, step_seconds: float = 0.1) -> asyncio.subprocess.Process:
        """Start a worker that draws flat colours: for tests that are about what becomes of pictures.

        It is the worker in everything but the drawing, and takes a tenth of the processor time to start: no torch.
        """
        return await self._start("worker", "tests.worker.scripted_worker", str(step_seconds))

    async def hosted(self) -> asyncio.subprocess.Process:
        """Start the worker for every hosted provider that is configured; restarted, it is the same one again."""
        return await self._start("hosted", "bot", "worker", "--providers", "all", "--id", "hosted")

    async def _start(self, log: str, *words: str, **settings: str) -> asyncio.subprocess.Process:
        """Start ``python -m`` with these words; what it says goes to the log of this name."""
        with (self.data_dir / f"{log}.log").open("ab") as said:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", *words),
                env=child_environment(**self._settings | settings),
                cwd=ROOT,
                stderr=said,
            )
        self._processes.append(process)
        return process

    def log(self, part: str) -> str:
        """Return what a part has logged so far."""
        return (self.data_dir / f"{part}.log").read_text()

    @asynccontextmanager
    async def studio(self) -> AsyncIterator[Studio]:
        """Open the installation's studio beside its processes, to look at jobs and balances."""
        async with open_studio(self.settings) as studio:
            yield studio

    async def close(self) -> None:
        """End every process."""
        for process in self._processes:
            if process.returncode is None:
                process.terminate()
        for process in self._processes:
            try:
                async with asyncio.timeout(15):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


def _online(bot: dict[str, Any], wanted: set[tuple[int, int]] | None) -> bool:
    """Tell whether these shards are connected; None: any."""
    if wanted is None:
        return bool(bot["online"])
    return wanted <= {tuple(shard) for shard in bot["shards"] if shard is not None}


async def kill(process: asyncio.subprocess.Process) -> None:
    """Kill a process as a power cut would: nothing of it runs any more."""
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()
