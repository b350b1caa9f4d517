"""A card that hangs in the middle of a step: the worker process ends by force, and the job is drawn by the next one."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from flux_core.jobs import JobState
from flux_core.tiny.definition import WEIGHTS
from flux_core.worker_process import HUNG
from tests.worker.conftest import Floor

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def worker(tmp_path: Path, database_url: str, hang_at: int) -> AsyncIterator[Process]:
    settings = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "DATABASE_URL": database_url,
        "PICTURE_STORE": str(tmp_path / "pictures"),
        "FLUX_TINY_PATH": str(WEIGHTS),
        "LEASE_SECONDS": "5",
        "STALL_SECONDS": "2",
        "TORCH_THREADS": "1",
    }
    command = [sys.executable, "-m", "tests.worker.hanging_worker", str(hang_at)]
    process = await asyncio.create_subprocess_exec(*command, cwd=tmp_path, env=settings, stderr=PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_hung_step_ends_the_process_and_the_next_one_draws_the_job(
    floor: Floor, tmp_path: Path, database_url: str
) -> None:
    job = await floor.submit(count=1, steps=6, model="flux-tiny")
    # Its first step may take long, since nothing is known of it; the fifth is the first job's fourth or so.
    async with worker(tmp_path, database_url, hang_at=5) as process:
        assert process.stderr is not None
        said = (await asyncio.wait_for(process.stderr.read(), 120)).decode()
        assert await process.wait() == HUNG
    assert "a step of flux-tiny has given no sign of life" in said
    assert "The worker ends by force" in said
    assert "on_step" in said, "the traces of all threads show where"
    left = await floor.job(job)
    assert (left.state, left.attempts) == (JobState.RUNNING, 1)
    async with worker(tmp_path, database_url, hang_at=0), asyncio.timeout(120):
        while not (await floor.job(job)).state.ended:
            await floor.queue.rescue()
            await asyncio.sleep(0.1)
    ended = await floor.job(job)
    assert (ended.state, ended.attempts) == (JobState.SUCCEEDED, 2)
    assert await floor.kinds(job) == ["reserve", "settle"]


async def test_what_hangs_every_time_fails_after_its_attempts(floor: Floor, tmp_path: Path, database_url: str) -> None:
    job = await floor.submit(count=1, steps=6, model="flux-tiny")
    # What a process that hung twice has left behind; the third one is real.
    for number in range(2):
        (taken,) = await floor.queue.claim_together(f"gone-{number}", ["flux-tiny"], "cpu", 1)
        assert taken.id == job.id
        await floor.queue.retire(f"gone-{number}")
        await floor.queue.rescue()
    async with worker(tmp_path, database_url, hang_at=5) as process:
        assert process.stderr is not None
        await asyncio.wait_for(process.stderr.read(), 120)
    await floor.queue.rescue(floor.db.clock() + 60)
    ended = await floor.job(job)
    assert (ended.state, ended.error_code, ended.attempts) == (JobState.FAILED, "worker_lost", 3)
    assert await floor.spent() == 0
