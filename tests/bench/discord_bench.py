"""Members press /imagine fifty times a second: how fast is the bot, how calm its loop, how small its memory."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from bot.sandbox.community import Member, User
from bot.sandbox.events import Event, InteractionOpened, InteractionSettled
from bot.sandbox.invoking import Invoker
from bot.sandbox.server import Sandbox
from flux_core.settings import child_environment
from tests.bench.processes import running
from tests.bench.report import Row, milliseconds, percentile

RATE = 50
"""Commands a second."""
SECONDS = 20
SETTLE_SECONDS = 300


class Stopwatch:
    """Times each interaction from the moment it is sent to the moment it is acknowledged."""

    def __init__(self) -> None:
        self._opened: dict[str, float] = {}
        self.acknowledged: list[float] = []
        self.failed = 0

    def __call__(self, event: Event) -> None:
        if isinstance(event, InteractionOpened):
            self._opened[event.interaction.id] = time.perf_counter()
        elif isinstance(event, InteractionSettled):
            took = time.perf_counter() - self._opened.pop(event.interaction.id)
            if event.interaction.state == "acknowledged":
                self.acknowledged.append(took)
            else:
                self.failed += 1


async def main() -> list[Row]:
    """Run the load and return its rows."""
    with tempfile.TemporaryDirectory() as folder:
        return await _measure(Path(folder))


async def crowd(members: int, seconds: float) -> tuple[Stopwatch, int]:
    """Let each of many members press /imagine once within some seconds; return the times, and how many were drawn."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with Sandbox() as sandbox:
            everybody = sandbox.world.community.members
            for number in range(members):
                user = User(id=str((10**6 + number) << 22), username=f"member-{number}", global_name=f"Member {number}")
                everybody[user.id] = Member(user)
            async with running(_house(folder / "seen"), _environment(sandbox, folder)):
                await _ready(sandbox)
                stopwatch = Stopwatch()
                sandbox.world.bus.subscribe(stopwatch)
                fired = await _fire(sandbox, list(everybody.values())[-members:], members / seconds, members)
                posted = await _posted(folder / "flux-bot.db", fired)
    return stopwatch, len(posted)


def _house(report: Path) -> list[list[str]]:
    """Return the modules of a bot that writes what it saw into ``report``, and of a worker that draws at no cost."""
    return [["tests.bench.watched_process", "bot", str(report)], ["tests.bench.scripted_worker"]]


def _environment(sandbox: Sandbox, folder: Path) -> dict[str, str]:
    return child_environment(
        DATA_DIR=str(folder),
        DISCORD_TOKEN=sandbox.token,
        DISCORD_API_BASE=sandbox.api_base,
        DISCORD_GATEWAY=sandbox.gateway_url,
        DISCORD_CDN=sandbox.cdn_base,
        DAILY_ALLOWANCE="1000000",
        MAX_WAITING="1000000",
        LOG_LEVEL="warning",
    )


async def _measure(folder: Path) -> list[Row]:
    async with Sandbox() as sandbox:
        report = folder / "bot.json"
        async with running(_house(report), _environment(sandbox, folder)):
            await _ready(sandbox)
            stopwatch = Stopwatch()
            sandbox.world.bus.subscribe(stopwatch)
            everybody = list(sandbox.world.community.members.values())
            fired = await _fire(sandbox, everybody, RATE, RATE * SECONDS)
            posted = await _posted(folder / "flux-bot.db", fired)
        seen = json.loads(report.read_text())
    asked = f"{fired} /imagine, {RATE} a second"
    return [
        (f"{asked}: acknowledged", f"{len(stopwatch.acknowledged)} ({stopwatch.failed} failed)", f"{fired}"),
        ("acknowledgement p50", milliseconds(percentile(stopwatch.acknowledged, 0.5)), ""),
        ("acknowledgement p99", milliseconds(percentile(stopwatch.acknowledged, 0.99)), "≤ 100 ms"),
        ("event loop stall, p99", milliseconds(seen["p99"]), ""),
        ("event loop stall, longest", milliseconds(seen["longest"]), "≤ 30 ms"),
        ("delivered", f"{len(posted)} of {fired}", f"{fired}"),
        ("ready to posted p50", milliseconds(percentile(posted, 0.5)), ""),
        ("ready to posted p99", milliseconds(percentile(posted, 0.99)), ""),
        ("bot memory, peak", f"{seen['peak_bytes'] / 1e6:.0f} MB" + (" with torch" * seen["torch"]), "≤ 120 MB"),
    ]


async def _ready(sandbox: Sandbox) -> None:
    """Wait until the bot has its commands, and then until everything has settled."""
    async with asyncio.timeout(120):
        while sandbox.world.commands.named("imagine", 1) is None:  # noqa: ASYNC110 (a bench, and a few looks)
            await asyncio.sleep(0.1)
    await asyncio.sleep(8)


async def _fire(sandbox: Sandbox, members: Sequence[Member], rate: float, total: int) -> int:
    """Send the commands on time, whatever becomes of them; return how many."""
    invoker = Invoker(sandbox.world)
    channel = next(c for c in sandbox.world.community.channels.values() if c.name == "studio")
    began = time.perf_counter()
    for number in range(total):
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        options = [
            {"name": "prompt", "type": 3, "value": f"a red circle, number {number}"},
            {"name": "count", "type": 4, "value": 1},
        ]
        invoker.command(members[number % len(members)].user.id, channel, "imagine", 1, options, None)
    return total


async def _posted(database: Path, fired: int) -> list[float]:
    """Wait until every job is delivered; return the seconds from each job's end to its delivery."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        with closing(sqlite3.connect(database)) as connection:
            rows = connection.execute("SELECT delivered_at - ended_at FROM jobs WHERE delivered_at IS NOT NULL")
            times = [float(row[0]) for row in rows]
        if len(times) >= fired or time.monotonic() > deadline:
            return times
        await asyncio.sleep(0.5)
