"""A card that hangs in the middle of a step: the worker process ends by force, and another one has its jobs."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from flux_core.jobs import JobState
from flux_core.providers.scripted import ScriptedProvider
from flux_core.tiny.definition import WEIGHTS
from flux_core.worker.process import HUNG
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


async def test_a_hung_step_ends_the_process_and_its_jobs_are_drawn_elsewhere_or_fail_for_good(
    floor: Floor, scripted: Callable[..., ScriptedProvider], tmp_path: Path, database_url: str
) -> None:
    doomed = await floor.submit(user=1, count=1, steps=6)
    for number in range(2):  # what processes that hung on it before have left behind
        (taken,) = await floor.queue.claim_together(f"gone-{number}", ["flux-tiny"], "cpu", 1)
        assert taken.id == doomed.id
        await floor.queue.retire(f"gone-{number}")
        await floor.queue.rescue()
    following = await floor.submit(user=2, count=1, steps=6)
    # Whatever is the first of its kind may take long; the fifth step is one of the job's.
    async with worker(tmp_path, database_url, hang_at=5) as process:
        assert process.stderr is not None
        said = (await asyncio.wait_for(process.stderr.read(), 180)).decode()
        assert await process.wait() == HUNG
    assert "a step of flux-tiny has given no sign of life" in said
    assert "The worker ends by force" in said
    assert "on_step" in said, "the traces of all threads show where"
    assert (await floor.job(doomed)).state is JobState.RUNNING, "it is its lease that ends"
    await floor.queue.rescue(floor.db.clock() + 60)
    ended = await floor.job(doomed)
    assert (ended.state, ended.error_code, ended.attempts) == (JobState.FAILED, "worker_lost", 3)
    assert await floor.kinds(doomed) == ["reserve", "refund"]
    async with floor.worker(scripted()):
        assert (await floor.ended(following)).state is JobState.SUCCEEDED
