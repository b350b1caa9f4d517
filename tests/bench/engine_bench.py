"""The engine against a plain loop, with the same jobs of flux-tiny, the same queue and store, and as many threads.

The loop does one thing after the other: claim, read the words, take the steps, decode, enlarge, encode, store, write
down. A worker does the same with one job's words, another's steps and a third one's files beside one another.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from flux_core.bootstrap import job_queue, open_database, open_studio
from flux_core.database.engine import Database
from flux_core.database.queue import JobQueue
from flux_core.generation import RequestOptions, resolve
from flux_core.images.store import PictureStore
from flux_core.jobs import Account, Job, Origin
from flux_core.providers.base import DrawTask
from flux_core.providers.local import LocalProvider
from flux_core.service import Studio, Submission
from flux_core.settings import Settings
from flux_core.worker.finishing import store_pictures
from flux_core.worker.process import local_provider
from flux_core.worker.worker import Worker
from tests.bench.report import Row, milliseconds, percentile

JOBS = 16
PICTURES = 2
ROUNDS = 5
"""The two take turns, so that neither has the quieter machine; the best round of each counts.

The engine uses what else the machine has, so whatever else runs there takes from the engine first, and the ratio falls.
The rounds' own ratios are told beside it: how far they lie apart says how much to make of it."""
AIM = 1.3


async def main() -> list[Row]:
    """Measure with one of torch's threads, and with one for each core."""
    counts = sorted({1, os.cpu_count() or 1})
    return [row for threads in counts for row in await _with(threads)]


async def _with(threads: int) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            _env_file=None,
            data_dir=Path(folder),
            daily_allowance=1e6,
            max_waiting=1000,
            default_model="flux-tiny",
            torch_threads=threads,
        )
        provider = await asyncio.to_thread(local_provider, settings)
        assert isinstance(provider, LocalProvider)
        try:
            async with open_studio(settings) as studio, open_database(settings) as database:
                return await _Bench(settings, studio, database, provider).rows(threads)
        finally:
            await provider.close()


class _Bench:
    def __init__(self, settings: Settings, studio: Studio, database: Database, provider: LocalProvider) -> None:
        self._settings = settings
        self._studio = studio
        self._database = database
        self._queue: JobQueue = job_queue(settings, database)
        self._store = PictureStore(settings.pictures)
        self._provider = provider
        self._spans: list[tuple[float, float]] = []
        """When the steps of each drawing began and ended."""
        self._user = 0
        self._time_steps()

    async def rows(self, threads: int) -> list[Row]:
        await self._measured(self._in_a_loop)  # loads the model
        loops, workers = [], []
        for _ in range(ROUNDS):
            loops.append(await self._measured(self._in_a_loop))
            workers.append(await self._measured(self._by_a_worker))
        ratios = sorted(loop[0] / worker[0] for loop, worker in zip(loops, workers, strict=True))
        (loop, loop_gaps), (worker, gaps) = min(loops), min(workers)
        minutes = JOBS * PICTURES * 60
        name = f"{threads} thread{'s' * (threads > 1)}"
        return [
            (
                f"pictures a minute, flux-tiny, {name}: one thing after the other, the worker's engine",
                f"{minutes / loop:.0f}, {minutes / worker:.0f}: × {loop / worker:.2f} "
                f"(rounds × {ratios[0]:.2f} to {ratios[-1]:.2f})",
                f"≥ × {AIM}",
            ),
            (
                f"between the steps of two jobs, {name}: one thing after the other p50, engine p50 and p95",
                f"{milliseconds(statistics.median(loop_gaps))}, {milliseconds(statistics.median(gaps))}, "
                f"{milliseconds(percentile(gaps, 0.95))}",
                "≤ 20 ms",
            ),
        ]

    async def _measured(self, draw: Callable[[Sequence[Job]], Any]) -> tuple[float, list[float]]:
        """Return the seconds that ``draw`` takes for all jobs, and those between the steps of one and the next."""
        jobs = [await self._ordered(number) for number in range(JOBS)]
        self._spans.clear()
        began = time.monotonic()
        await draw(jobs)
        seconds = time.monotonic() - began
        gaps = [after[0] - before[1] for before, after in zip(self._spans, self._spans[1:], strict=False)]
        return seconds, gaps

    async def _ordered(self, number: int) -> Job:
        self._user += 1
        words = RequestOptions(prompt=f"{number} red circles", model="flux-tiny", count=PICTURES, seed=number)
        request = resolve(words, self._settings.catalogue)
        return await self._studio.submit(
            Submission(account=Account(guild_id=1, user_id=self._user), request=request, origin=Origin.IMAGINE)
        )

    async def _in_a_loop(self, jobs: Sequence[Job]) -> None:
        for _ in jobs:
            job = await self._queue.claim("loop", ["flux-tiny"])
            assert job is not None
            drawing = await self._provider.draw(DrawTask(job_id=job.id, request=job.request), _Nobody())
            pictures = await store_pictures(self._store, job, drawing)
            await self._queue.succeed("loop", job.id, pictures, provider="local", seconds=0.1)

    async def _by_a_worker(self, jobs: Sequence[Job]) -> None:
        stop = asyncio.Event()
        worker = Worker(
            *(self._queue, self._store, self._provider),
            worker_id="bench",
            changed=self._database.changed,
            lease_seconds=self._settings.lease_seconds,
            preview_every=0,  # the loop shows none either
        )
        working = asyncio.create_task(worker.run(stop))
        for job in jobs:
            while not (await self._studio.job(job.id)).state.ended:  # noqa: ASYNC110 (read like the bot does)
                await asyncio.sleep(0.02)
        stop.set()
        await working

    def _time_steps(self) -> None:
        engine = self._provider._engine
        denoise = engine.denoise

        def timed(*args: Any, **options: Any) -> Any:
            began = time.monotonic()
            sketch = denoise(*args, **options)
            self._spans.append((began, time.monotonic()))
            return sketch

        engine.denoise = timed  # type: ignore[method-assign]


class _Nobody:
    """A Progress that is told everything and does nothing."""

    cancelled = False

    def step(self, done: int, total: int) -> None: ...

    def preview(self, show: Callable[[], Any]) -> None: ...

    async def submitted(self, provider_job_id: str) -> None: ...


if __name__ == "__main__":
    from tests.bench.report import show

    show(asyncio.run(main()))
