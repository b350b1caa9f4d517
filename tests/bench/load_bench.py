"""Measure what many machines ask for: a crowd of members, more and more workers, and a hundred thousand jobs.

``python -m tests.bench load`` runs it alone; ``MEMORY_SECONDS=1800`` gives the hundred thousand the time they take on a
slow or busy machine.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import sqlalchemy as sa

from flux_core.catalogue import Catalogue
from flux_core.database.connecting import connect
from flux_core.database.engine import Database
from flux_core.database.tables import jobs
from flux_core.generation import RequestOptions, resolve
from flux_core.images.store import PictureStore
from flux_core.jobs import Account, Origin
from flux_core.service import Studio, Submission
from flux_core.settings import child_environment
from tests.bench import discord_bench, queue_bench
from tests.bench.processes import running
from tests.bench.report import Row, milliseconds, percentile
from tests.bench.server_bench import DURABLE
from tests.database.postgres import Server

CATALOGUE = Catalogue({"flux-tiny": "scripted"})
CROWDS = ((1_000, 10.0), (1_000, 0.0), (3_000, 0.0))
"""So many members press within so many seconds; 0: all at the same moment."""
WORKERS = (1, 4, 8)
JOBS_EACH = 20
"""Jobs for each worker."""
STEP_SECONDS = 0.1
EARLY, LATE = 5_000, 100_000
PART = 1_000
MEMORY_SECONDS = float(os.environ.get("MEMORY_SECONDS", "420"))
"""After so many jobs or seconds, whichever comes first: the row tells how many there were."""
EARLY_SECONDS = 600.0
"""What the first jobs may take, however slow the machine is."""


async def a_crowd() -> list[Row]:
    """Let many members press at once. Bot, worker, members and the stand-in for Discord share this machine."""
    rows: list[Row] = []
    for members, seconds in CROWDS:
        stopwatch, posted = await discord_bench.crowd(members, seconds or 1e-6)
        when = f"within {seconds:.0f} s" if seconds else "at the same moment"
        times, name = stopwatch.acknowledged, f"{members:,} members press {when} (SQLite)"
        rows += [
            (f"{name}: acknowledgement p50", milliseconds(percentile(times, 0.5)), ""),
            (f"{name}: acknowledgement p99", milliseconds(percentile(times, 0.99)), "≤ 250 ms" * (members == 1_000)),
            (f"{name}: acknowledged within 3 s, posted", f"{len(times):,}, {posted:,}", f"{members:,}"),
        ]
    return rows


async def jobs_a_second(url: str, folder: Path, workers: int) -> float:
    """Return how many jobs a second worker processes end whose drawings only take time."""
    environment = child_environment(DATABASE_URL=url, DATA_DIR=str(folder), LOG_LEVEL="warning")
    total = workers * JOBS_EACH
    db = await connect(url)
    try:
        studio = Studio(db, PictureStore(str(folder)), CATALOGUE, queue_bench.RULES)
        async with running([["tests.bench.scripted_worker", str(STEP_SECONDS)]] * workers, environment):
            await _until(studio, 120, lambda: _registered(studio, workers))
            request = resolve(RequestOptions(prompt="a red circle", seed=7, count=1), CATALOGUE)
            for number in range(total):
                await studio.submit(Submission(account=Account(1, number % 50), request=request, origin=Origin.SHELL))
            await _until(studio, 300, lambda: _all_ended(db, total))
            ended = await db.read(_ended)
    finally:
        await db.close()
    # Without the first and the last tenth, when not all of them have work.
    middle = ended[total // 10 : -(total // 10)]
    return (len(middle) - 1) / (middle[-1] - middle[0])


async def _until(studio: Studio, seconds: float, reached: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(seconds):
        version: int | None = None
        while not await reached():
            version = await studio.changed(version, 1.0)


async def _registered(studio: Studio, workers: int) -> bool:
    return len(await studio.venues()) >= workers


async def _all_ended(db: Database, total: int) -> bool:
    return len(await db.read(_ended)) >= total


def _ended(connection: sa.Connection) -> list[float]:
    times = sa.select(jobs.c.ended_at).where(jobs.c.state == "succeeded").order_by(jobs.c.ended_at)
    return list(connection.execute(times).scalars())


async def growth(server: Server) -> list[Row]:
    """Measure one worker process, and more of them."""
    rates = {}
    for workers in WORKERS:
        with tempfile.TemporaryDirectory() as folder:
            rates[workers] = await jobs_a_second(await server.new_database(), Path(folder), workers)
    return [
        (
            f"{workers} worker{'s' * (workers > 1)}, drawings that only take time",
            f"{rate:.1f} / s ({rate / rates[1]:.1f} ×)",
            "" if workers == 1 else f"≈ {workers} ×",
        )
        for workers, rate in rates.items()
    ]


async def memory(url: str) -> Row:
    """Measure the resident bytes of a process after some jobs and after many, from submit to delivery."""
    words = [sys.executable, "-m", "tests.bench.load_bench", url]
    process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(MEMORY_SECONDS + EARLY_SECONDS):
            told, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    what = "PostgreSQL: memory of a process after {} jobs"
    if process.returncode:  # the rows of the other parts are of use all the same
        return what.format("many"), "it broke off, see above", "≤ 1.05 ×"
    few, early, many, late = (int(word) for word in told.split())
    grown = f"{early / 1e6:.1f} / {late / 1e6:.1f} MB ({late / early:.2f} ×)"
    if many < 2 * few:
        grown = "too slow a machine to compare"
    return what.format(f"{few:,} / {many:,}"), grown, "≤ 1.05 ×"


async def client(url: str) -> None:
    """Do many jobs from submit to delivery; tell how many, and the resident bytes, after the first and in the end."""
    process, began, done = psutil.Process(), time.monotonic(), 0
    with tempfile.TemporaryDirectory() as folder:
        db = await connect(url)
        for until in (EARLY, LATE):
            few = done == 0  # also where it takes long: there is nothing to compare before
            while done < until and (few or time.monotonic() - began < MEMORY_SECONDS):
                await queue_bench.cycles(db, Path(folder), done, PART, deliver=True)
                done += PART
            sys.stdout.write(f"{done} {process.memory_info().rss}\n")
        await db.close()


async def main() -> list[Row]:
    """Measure everything; return rows of (what, measured, aim)."""
    server = Server(*DURABLE)
    try:
        rows = await growth(server)
        rows.append(await memory(await server.new_database()))
    finally:
        server.close()
    return [*rows, *await a_crowd()]


if __name__ == "__main__":
    asyncio.run(client(sys.argv[1]))
