"""Five hundred jobs at a hosted provider at once, all in one worker: how calm is its loop, how small its memory."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import tempfile
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

from flux_core.bootstrap import open_studio
from flux_core.generation import RequestOptions, resolve
from flux_core.jobs import Account, Origin
from flux_core.service import Submission
from flux_core.settings import Settings, child_environment
from tests.bench.processes import running
from tests.bench.report import Row, milliseconds

JOBS = 500
DEADLINE = 300
READY_WITHIN = 60.0
READY = 6.5
"""Seconds until the worker's stopwatch has settled."""


async def main() -> list[Row]:
    """Run the load and return its rows."""
    with tempfile.TemporaryDirectory() as folder:
        return await _measure(Path(folder))


async def _measure(folder: Path) -> list[Row]:
    address, report = folder / "vendor.json", folder / "worker.json"
    async with running([["tests.bench.vendor_process", str(address)]], child_environment()):
        async with asyncio.timeout(READY_WITHIN):
            while not (address.exists() and address.stat().st_size):  # noqa: ASYNC110 (another process writes it)
                await asyncio.sleep(0.1)
        environment = child_environment(
            **json.loads(address.read_text()),
            DATA_DIR=str(folder),
            FLUX_TINY_PATH="",
            OFFERED_ELSEWHERE="flux-schnell",
            REPLICATE_CONCURRENCY=str(JOBS),
            REPLICATE_PER_MINUTE="60000",
            REPLICATE_DAILY_CAP="none",
            DAILY_ALLOWANCE="1000000",
            MAX_WAITING="1000000",
            LOG_LEVEL="warning",
        )
        async with running([["tests.bench.watched_process", "hosted", str(report)]], environment):
            await asyncio.sleep(READY)
            began = time.monotonic()
            await _submit(folder)
            most, states = await _follow(folder / "flux-bot.db")
            took = time.monotonic() - began
    seen = json.loads(report.read_text())
    return [
        (f"{JOBS} hosted jobs in one worker: drawn", f"{states['succeeded']} in {took:.0f} s", f"{JOBS}"),
        ("most in flight at once", f"{most}", f"{JOBS}"),
        ("event loop stall, p99", milliseconds(seen["p99"]), ""),
        ("event loop stall, longest", milliseconds(seen["longest"]), "≤ 50 ms"),
        (
            "worker memory, peak (idle before)",
            f"{seen['peak_bytes'] / 1e6:.0f} MB ({seen['first_bytes'] / 1e6:.0f} MB)" + " with torch" * seen["torch"],
            "stated",
        ),
    ]


async def _submit(folder: Path) -> None:
    settings = Settings(
        data_dir=folder,
        flux_tiny_path="",
        offered_elsewhere=frozenset({"flux-schnell"}),
        daily_allowance=1_000_000,
        max_waiting=1_000_000,
        _env_file=None,  # type: ignore[call-arg]
    )
    async with open_studio(settings) as studio:
        for number in range(JOBS):
            options = RequestOptions(prompt=f"a lighthouse, number {number}", count=1, seed=number)
            request = resolve(options, studio.catalogue)
            await studio.submit(Submission(account=Account(1, number % 25), request=request, origin=Origin.IMAGINE))


async def _follow(database: Path) -> tuple[int, Counter[str]]:
    """Wait until every job has ended; return the most that ran at once, and how many ended how."""
    most, deadline = 0, time.monotonic() + DEADLINE
    while True:
        with closing(sqlite3.connect(database)) as connection:
            states = Counter(dict(connection.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall()))
        most = max(most, states["running"])
        if states["running"] + states["queued"] == 0 or time.monotonic() > deadline:
            return most, states
        await asyncio.sleep(0.25)
