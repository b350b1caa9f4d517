"""A worker that loses its lease, is stopped, or finds database and store away."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from PIL import Image

from flux_core.database import workers
from flux_core.database.queue import JobQueue
from flux_core.errors import (
    DrawingBroken,
    StorageUnavailable,
)
from flux_core.jobs import Job, JobState
from flux_core.providers.base import Drawing, DrawTask, Progress
from flux_core.providers.scripted import ScriptedProvider
from flux_core.worker.worker import Worker
from tests.worker.conftest import CATALOGUE, Floor, Stubborn

Scripted = Callable[..., ScriptedProvider]


async def test_a_lost_lease_stops_the_drawing_and_nothing_is_written(floor: Floor) -> None:
    class Watched(ScriptedProvider):
        async def draw(self, task: DrawTask, progress: Progress) -> Drawing:
            try:
                return await super().draw(task, progress)
            finally:
                given_up.set()

    given_up = asyncio.Event()
    job = await floor.submit(steps=50)
    async with floor.worker(Watched(CATALOGUE, step_seconds=0.5)):  # 25 seconds for the whole drawing
        await floor.running(job)
        await floor.db.write(lambda connection: connection.exec_driver_sql("UPDATE jobs SET worker_id = 'thief'"))
        await asyncio.wait_for(given_up.wait(), 15)
        stolen = await floor.job(job)
        assert (stolen.state, stolen.worker_id) == (JobState.RUNNING, "thief")
    assert (await floor.job(job)).state is JobState.RUNNING
    assert await floor.studio.pictures(job.id) == []
    assert await floor.kinds(job) == ["reserve"]


async def test_an_answer_about_an_earlier_attempt_does_not_end_the_next(
    floor: Floor, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Retried(ScriptedProvider):
        async def draw(self, task: DrawTask, progress: Progress) -> Drawing:
            if len(self.tasks) == 1:
                second_attempt.set()
            return await super().draw(task, progress)

    looked = floor.queue.wanted
    second_attempt = asyncio.Event()
    stale = 0

    async def late(worker_id: str, job_ids: Sequence[str]) -> dict[str, bool]:
        nonlocal stale
        if second_attempt.is_set():
            return await looked(worker_id, job_ids)
        await second_attempt.wait()
        stale += 1
        return {}  # what a look between the attempts would have found

    monkeypatch.setattr(floor.queue, "wanted", late)
    job = await floor.submit(steps=4)
    async with floor.worker(Retried(CATALOGUE, step_seconds=0.1, script=[DrawingBroken("hiccup")])):
        ended = await floor.ended(job)
    assert (ended.state, ended.attempts, stale) == (JobState.SUCCEEDED, 2, 1)


async def test_long_drawings_keep_their_lease(floor: Floor, scripted: Scripted) -> None:
    short = JobQueue(floor.db, max_attempts=3, lease_seconds=0.6)
    floor.queue = short
    job = await floor.submit(steps=20)
    async with floor.worker(scripted(step_seconds=0.1), lease_seconds=0.6):
        rescued: list[Job] = []
        while not (await floor.job(job)).state.ended:
            rescued += await short.rescue()
            await asyncio.sleep(0.05)
    assert rescued == []
    assert (await floor.job(job)).attempts == 1


async def test_stopping_hands_back_what_has_not_begun_and_finishes_what_is_nearly_done(floor: Floor) -> None:
    provider = Stubborn()
    first, second = await floor.submit(steps=2), await floor.submit(steps=2)
    async with floor.worker(provider):
        await floor.until(second, lambda now: now.state is JobState.RUNNING)
        asyncio.get_running_loop().call_later(0.3, provider.go.set)
    assert (await floor.job(first)).state is JobState.SUCCEEDED
    handed_back = await floor.job(second)
    assert (handed_back.state, handed_back.attempts, handed_back.worker_id) == (JobState.QUEUED, 0, None)
    assert [task.job_id for task in provider.tasks] == [first.id]


async def test_stopping_hands_back_a_drawing_that_takes_too_long(floor: Floor, scripted: Scripted) -> None:
    job = await floor.submit(steps=50)
    async with floor.worker(scripted(step_seconds=1.0), stop_seconds=0.2):
        await floor.until(job, lambda now: now.state is JobState.RUNNING)
    handed_back = await floor.job(job)
    assert (handed_back.state, handed_back.attempts) == (JobState.QUEUED, 0)
    async with floor.worker(scripted()):
        assert (await floor.ended(job)).state is JobState.SUCCEEDED
    assert await floor.kinds(job) == ["reserve", "settle"]


async def test_a_stopped_worker_is_no_longer_counted(floor: Floor, scripted: Scripted) -> None:
    job = await floor.submit(model="flux-schnell", steps=12)
    async with floor.worker(scripted(step_seconds=0.2)):
        await floor.running(job)
        assert (await floor.studio.place(job.id)).workers == 1
        await floor.studio.cancel(job.id, by=1, moderator=False)
    waiting = await floor.submit()
    assert (await floor.studio.place(waiting.id)).workers == 0


async def test_a_store_that_comes_back_costs_nothing_but_time(
    floor: Floor, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, failures = floor.store.put, iter([StorageUnavailable("away"), StorageUnavailable("away")])

    async def put(key: str, data: bytes, content_type: str) -> None:
        if key.startswith("pictures/") and (error := next(failures, None)):
            raise error
        await stored(key, data, content_type)

    monkeypatch.setattr(floor.store, "put", put)
    monkeypatch.setattr("flux_core.insistence.RETRY_SECONDS", (0.01, 0.01, 0.01))
    job = await floor.submit()
    async with floor.worker(scripted()):
        ended = await floor.ended(job)
    assert (ended.state, ended.attempts) == (JobState.SUCCEEDED, 1)


async def test_a_store_that_stays_away_fails_the_job_and_gives_the_cost_back(
    floor: Floor, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def put(key: str, data: bytes, content_type: str) -> None:
        raise StorageUnavailable("away")

    monkeypatch.setattr(floor.store, "put", put)
    monkeypatch.setattr("flux_core.insistence.RETRY_SECONDS", (0.01,))
    job = await floor.submit()
    async with floor.worker(scripted()):
        ended = await floor.ended(job)
    assert (ended.state, ended.error_code, ended.attempts) == (JobState.FAILED, "drawing_broken", 3)
    assert await floor.spent() == 0


async def test_a_store_that_cannot_show_previews_does_not_stop_the_drawing(
    floor: Floor, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = floor.store.put

    async def put(key: str, data: bytes, content_type: str) -> None:
        if key.startswith("previews/"):
            raise StorageUnavailable("away")
        await stored(key, data, content_type)

    monkeypatch.setattr(floor.store, "put", put)
    job = await floor.submit(steps=8)
    async with floor.worker(scripted(step_seconds=0.05)):
        assert (await floor.ended(job)).state is JobState.SUCCEEDED


async def test_a_database_that_hiccups_is_waited_for(
    floor: Floor, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, heartbeat, succeed = floor.queue.claim, floor.queue.heartbeat, floor.queue.succeed
    hiccups = {"claim": 2, "heartbeat": 2, "succeed": 2}

    def unsteady(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        async def attempt(*args: Any, **options: Any) -> Any:
            if hiccups[name]:
                hiccups[name] -= 1
                raise StorageUnavailable("away")
            return await call(*args, **options)

        return attempt

    monkeypatch.setattr("flux_core.insistence.RETRY_SECONDS", (0.01, 0.01, 0.01))
    for name, call in (("claim", claim), ("heartbeat", heartbeat), ("succeed", succeed)):
        monkeypatch.setattr(floor.queue, name, unsteady(name, call))
    job = await floor.submit(steps=4)
    async with floor.worker(scripted(step_seconds=0.1), lease_seconds=0.3):
        assert (await floor.ended(job)).state is JobState.SUCCEEDED
    assert hiccups == {"claim": 0, "heartbeat": 0, "succeed": 0}


async def test_a_provider_may_report_from_its_own_thread(floor: Floor) -> None:
    class Threaded(ScriptedProvider):
        async def draw(self, task: DrawTask, progress: Progress) -> Drawing:
            def steps() -> None:
                for step in range(5):
                    progress.step(step, 4)
                    progress.preview(lambda: Image.new("RGB", (8, 8)))
                threads.append(threading.current_thread().name)

            await asyncio.to_thread(steps)
            return await super().draw(task, progress)

    threads: list[str] = []
    job = await floor.submit()
    async with floor.worker(Threaded(CATALOGUE)):
        assert (await floor.ended(job)).state is JobState.SUCCEEDED
    assert threads
    assert threads[0] != threading.main_thread().name


async def test_a_foreign_id_is_stored_before_anything_else_and_given_back_later(floor: Floor) -> None:
    class Hosted(ScriptedProvider):
        async def draw(self, task: DrawTask, progress: Progress) -> Drawing:
            known.append(task.provider_job_id)
            if task.provider_job_id is None:
                await progress.submitted("prediction-1")
                stored.append((await floor.studio.job(task.job_id)).provider_job_id)
                raise DrawingBroken("the connection broke")
            return await super().draw(task, progress)

    known: list[str | None] = []
    stored: list[str | None] = []
    job = await floor.submit()
    async with floor.worker(Hosted(CATALOGUE)):
        assert (await floor.ended(job)).state is JobState.SUCCEEDED
    assert known == [None, "prediction-1"]
    assert stored == ["prediction-1"]


async def test_a_worker_whose_loop_breaks_hands_back_and_says_so(floor: Floor) -> None:
    async def broken(since: int | None, timeout: float) -> int:  # noqa: ASYNC109
        await provider.begun.acquire()
        raise RuntimeError("a bug")

    provider = Stubborn()
    job = await floor.submit()
    worker = Worker(
        floor.queue, floor.store, provider, worker_id="w", changed=broken, lease_seconds=5.0, stop_seconds=0.2
    )
    with pytest.raises(RuntimeError, match="a bug"):
        await asyncio.wait_for(worker.run(asyncio.Event()), 10)
    handed_back = await floor.job(job)
    assert (handed_back.state, handed_back.attempts) == (JobState.QUEUED, 0)


async def test_a_worker_that_was_struck_from_the_list_while_the_database_was_away_is_in_it_again(
    floor: Floor, scripted: Scripted
) -> None:
    job = await floor.submit(steps=20)
    async with floor.worker(scripted(step_seconds=0.1), lease_seconds=0.6):
        await floor.running(job)
        # What maintenance does as soon as the database is back, where all have been silent for ten minutes.
        assert await floor.db.write(workers.prune, time.time() + 1) == ["w0"]
        async with asyncio.timeout(20):
            while not await floor.studio.venues():  # noqa: ASYNC110 (the worker sets no event of ours)
                await asyncio.sleep(0.02)
        ended = await floor.ended(job)
    assert (ended.state, ended.attempts) == (JobState.SUCCEEDED, 1), "its leases were left alone"
