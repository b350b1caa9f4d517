"""A worker on a real database and a real store, drawing by script."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from flux_core.database import speeds
from flux_core.database.pictures import discarded_keys
from flux_core.database.queue import JobQueue
from flux_core.errors import (
    DrawingBroken,
    ModelUnavailable,
    OutOfMemory,
    Refused,
    StorageUnavailable,
)
from flux_core.images.encoding import read_provenance
from flux_core.jobs import Job, JobState
from flux_core.providers.base import Drawing, DrawTask, Progress
from flux_core.providers.scripted import ScriptedProvider, colour_of
from flux_core.worker import Worker
from tests.worker.conftest import CATALOGUE, Floor

Scripted = Callable[..., ScriptedProvider]


class Stubborn(ScriptedProvider):
    """Draws in a thread and holds each drawing until it is let go; tells what it began and what it was doing then."""

    def __init__(self, **options: Any) -> None:
        super().__init__(CATALOGUE, **options)
        self.go = asyncio.Event()
        self.begun = asyncio.Semaphore(0)

    async def draw(self, task: DrawTask, progress: Progress) -> Drawing:
        self.begun.release()
        progress.step(0, task.request.steps)
        progress.step(1, task.request.steps)
        await self.go.wait()
        return await super().draw(task, progress)


async def test_a_job_becomes_stored_pictures_and_is_paid(floor: Floor, scripted: Scripted) -> None:
    job = await floor.submit(count=3, aspect="3:2")
    async with floor.worker(scripted()):
        ended = await floor.ended(job)
    assert ended.state is JobState.SUCCEEDED
    assert (ended.provider, ended.attempts) == ("local", 1)
    pictures = await floor.studio.pictures(job.id)
    assert [(p.position, p.seed) for p in pictures] == [(0, 7), (1, 8), (2, 9)]
    for picture in pictures:
        assert picture.key == f"pictures/{job.id}/{picture.position}.webp"
        data = await floor.studio.picture_bytes(picture.key)
        image = Image.open(BytesIO(data))
        assert (image.format, image.size) == ("WEBP", (picture.width, picture.height))
        assert (picture.width, picture.height) == (job.request.width * 4, job.request.height * 4)
        assert (picture.content_type, picture.size) == ("image/webp", len(data))
        found = image.convert("RGB").getpixel((5, 5))
        assert isinstance(found, tuple)
        assert all(abs(int(a) - b) < 8 for a, b in zip(found, colour_of(picture.seed), strict=True))
        said = read_provenance(data)
        assert said is not None
        assert said.startswith("a red circle\nSteps: 4")
        assert f"Seed: {picture.seed}, Size: {picture.width}x{picture.height}, Model: flux-tiny" in said
        assert f"Job: {job.id}" in said
    assert await floor.kinds(job) == ["reserve", "settle"]


@pytest.mark.parametrize(("fmt", "extension"), [("png", "png"), ("jpeg", "jpg")])
async def test_the_format_asked_for_is_stored(floor: Floor, scripted: Scripted, fmt: str, extension: str) -> None:
    job = await floor.submit(count=1, output_format=fmt)
    async with floor.worker(scripted()):
        await floor.ended(job)
    (picture,) = await floor.studio.pictures(job.id)
    assert picture.key == f"pictures/{job.id}/0.{extension}"
    assert picture.content_type == f"image/{fmt}"


async def test_a_job_submitted_later_is_noticed_and_progress_is_told(floor: Floor, scripted: Scripted) -> None:
    async with floor.worker(scripted(step_seconds=0.15)):
        job = await floor.submit(steps=8)
        seen = await floor.until(job, lambda now: now.steps_done > 0)
        assert (seen.state, seen.steps_total, seen.worker_id) == (JobState.RUNNING, 8, "w0")
        assert seen.steps_done < 8
        shown = await floor.until(job, lambda now: now.preview_key is not None)
        assert shown.preview_key is not None
        assert shown.preview_key.startswith(f"previews/{job.id}/")
        preview = Image.open(BytesIO(await floor.store.get(shown.preview_key)))
        assert (preview.format, max(preview.size)) == ("WEBP", 512)
        ended = await floor.ended(job)
    assert ended.started_at is not None
    assert ended.ended_at is not None
    assert ended.ended_at - ended.started_at >= 8 * 0.15 - 0.05
    measured = (await floor.db.read(speeds.known))["local", "flux-tiny"]
    assert measured.units == pytest.approx(job.request.megapixel_steps)
    assert measured.seconds == pytest.approx(ended.ended_at - ended.started_at, abs=0.5)


async def test_no_preview_is_left_that_no_job_knows_of(floor: Floor, scripted: Scripted) -> None:
    jobs = [await floor.submit(steps=3) for _ in range(8)]
    async with floor.worker(scripted(step_seconds=0.09), preview_every=1):
        known = {(await floor.ended(job)).preview_key for job in jobs}
    discarded = set(await floor.db.read(discarded_keys, 1000))
    kept = {stored.key for stored in await floor.store.list("previews")}
    assert kept
    assert kept <= known | discarded


async def test_a_preview_never_takes_the_name_of_one_that_is_to_be_deleted(floor: Floor, scripted: Scripted) -> None:
    job = await floor.submit(steps=6)
    async with floor.worker(scripted(step_seconds=0.3), preview_every=2, stop_seconds=0.2):
        first = await floor.until(job, lambda now: now.preview_key is not None)
        await floor.until(job, lambda now: now.preview_key != first.preview_key)
    assert (await floor.job(job)).attempts == 0  # handed back
    async with floor.worker(scripted(step_seconds=0.3), preview_every=2):
        ended = await floor.ended(job)
    assert ended.preview_key not in await floor.db.read(discarded_keys, 1000)


async def test_previews_can_be_turned_off(floor: Floor, scripted: Scripted) -> None:
    job = await floor.submit(steps=6)
    async with floor.worker(scripted(step_seconds=0.1), preview_every=0):
        assert (await floor.ended(job)).preview_key is None
    assert await floor.store.list("previews") == []


async def test_a_drawing_starts_from_the_stored_picture(floor: Floor, scripted: Scripted) -> None:
    provider = scripted()
    job = await floor.submit(picture=Image.new("RGB", (40, 20), (10, 200, 30)), strength=0.5)
    async with floor.worker(provider):
        assert (await floor.ended(job)).state is JobState.SUCCEEDED
    (task,) = provider.tasks
    assert task.input_image is not None
    assert (task.input_image.mode, task.input_image.size) == ("RGB", (40, 20))
    assert task.input_image.getpixel((3, 3)) == (10, 200, 30)


async def test_a_deleted_input_fails_the_job_and_gives_the_cost_back(floor: Floor, scripted: Scripted) -> None:
    job = await floor.submit(picture=Image.new("RGB", (40, 20)), strength=0.5)
    assert job.request.input_picture is not None
    await floor.store.delete([job.request.input_picture.key])
    async with floor.worker(scripted()):
        ended = await floor.ended(job)
    assert (ended.error_code, ended.attempts) == ("input_gone", 1)
    assert await floor.spent() == 0


@pytest.mark.parametrize(
    ("error", "state", "code"),
    [
        (Refused(reason="a rule"), JobState.REFUSED, "refused"),
        (OutOfMemory(), JobState.FAILED, "out_of_memory"),
        (ModelUnavailable(model="flux-tiny"), JobState.FAILED, "model_unavailable"),
    ],
)
async def test_a_failure_is_kept_and_refunded(
    floor: Floor, scripted: Scripted, error: Any, state: JobState, code: str
) -> None:
    job, good = await floor.submit(), await floor.submit(count=1)
    async with floor.worker(scripted(script=[error])):
        ended = await floor.ended(job)
        assert (ended.state, ended.error_code, ended.error_facts) == (state, code, error.facts)
        assert (await floor.ended(good)).state is JobState.SUCCEEDED
    assert await floor.kinds(job) == ["reserve", "refund"]
    assert await floor.spent() == good.cost


async def test_what_may_succeed_is_tried_again_with_the_same_seeds(floor: Floor, scripted: Scripted) -> None:
    provider = scripted(script=[DrawingBroken("hiccup"), DrawingBroken("hiccup")])
    job = await floor.submit()
    async with floor.worker(provider):
        ended = await floor.ended(job)
    assert (ended.state, ended.attempts) == (JobState.SUCCEEDED, 3)
    assert {task.request for task in provider.tasks} == {job.request}
    assert await floor.kinds(job) == ["reserve", "settle"]


async def test_what_never_succeeds_fails_in_the_end(floor: Floor, scripted: Scripted) -> None:
    provider = scripted(script=[DrawingBroken("hiccup")] * 9)
    job = await floor.submit()
    async with floor.worker(provider):
        ended = await floor.ended(job)
    assert (ended.state, ended.attempts, ended.error_code) == (JobState.FAILED, 3, "drawing_broken")
    assert len(provider.tasks) == 3
    assert await floor.spent() == 0


async def test_an_unforeseen_error_breaks_one_job_only(floor: Floor, scripted: Scripted) -> None:
    class Surprising(ScriptedProvider):
        async def draw(self, task: DrawTask, progress: Progress) -> Drawing:
            if task.request.prompt == "surprise":
                raise ZeroDivisionError("division by zero")
            return await super().draw(task, progress)

    bad, good = await floor.submit(prompt="surprise"), await floor.submit()
    async with floor.worker(Surprising(CATALOGUE)):
        assert (await floor.ended(bad)).error_code == "drawing_broken"
        assert (await floor.ended(good)).state is JobState.SUCCEEDED


async def test_a_cancelled_job_stops_within_a_step(floor: Floor, scripted: Scripted) -> None:
    provider = scripted(step_seconds=0.1)
    job, following = await floor.submit(steps=50), await floor.submit(count=1)
    async with floor.worker(provider):
        await floor.running(job)
        await floor.studio.cancel(job.id, by=1, moderator=False)
        ended = await floor.ended(job)
        assert (ended.state, ended.steps_done < 25) == (JobState.CANCELLED, True)
        assert (await floor.ended(following)).state is JobState.SUCCEEDED
    assert await floor.kinds(job) == ["reserve", "refund"]
    assert await floor.studio.pictures(job.id) == []


async def test_a_cancelled_job_ends_even_while_a_model_is_still_loading(floor: Floor) -> None:
    provider = Stubborn()
    provider.go.clear()
    job = await floor.submit()
    async with floor.worker(provider):
        await provider.begun.acquire()
        await floor.studio.cancel(job.id, by=1, moderator=False)
        assert (await floor.ended(job)).state is JobState.CANCELLED
        provider.go.set()


async def test_a_job_that_takes_too_long_is_given_up(floor: Floor, scripted: Scripted) -> None:
    job, good = await floor.submit(steps=50), await floor.submit(steps=1)
    async with floor.worker(scripted(step_seconds=0.1), job_timeout=0.5):
        ended = await floor.ended(job)
        assert (ended.state, ended.error_code, ended.error_facts) == (JobState.FAILED, "timed_out", {"seconds": 0.5})
        assert (await floor.ended(good)).state is JobState.SUCCEEDED


async def test_the_next_job_is_in_hand_before_the_present_one_ends_and_no_more(floor: Floor) -> None:
    provider = Stubborn()
    jobs = [await floor.submit(steps=2) for _ in range(3)]
    async with floor.worker(provider):
        second = await floor.until(jobs[1], lambda now: now.state is JobState.RUNNING)
        assert (await floor.job(jobs[0])).state is JobState.RUNNING
        await asyncio.sleep(0.3)
        assert len(provider.tasks) == 0, "the first is still being drawn"
        assert second.worker_id == "w0"
        assert (await floor.job(jobs[2])).state is JobState.QUEUED
        provider.go.set()
        for job in jobs:
            assert (await floor.ended(job)).state is JobState.SUCCEEDED


async def test_the_next_job_is_left_to_others_while_the_present_one_has_just_begun(floor: Floor) -> None:
    busy, idle = Stubborn(), ScriptedProvider(CATALOGUE)
    first = await floor.submit(steps=10)
    async with floor.worker(busy):
        await floor.running(first)
        second = await floor.submit()
        await asyncio.sleep(0.3)
        assert (await floor.job(second)).state is JobState.QUEUED
        async with floor.worker(idle):
            assert (await floor.ended(second)).worker_id == "w1"
        busy.go.set()
        await floor.ended(first)


async def test_a_cancelled_job_in_hand_is_never_drawn(floor: Floor) -> None:
    provider = Stubborn()
    first, second = await floor.submit(steps=2), await floor.submit(steps=2)
    async with floor.worker(provider):
        await floor.until(second, lambda now: now.state is JobState.RUNNING)
        await floor.studio.cancel(second.id, by=1, moderator=False)
        assert (await floor.ended(second)).state is JobState.CANCELLED
        provider.go.set()
        await floor.ended(first)
    assert [task.job_id for task in provider.tasks] == [first.id]


async def test_several_are_drawn_at_once_where_the_provider_can(floor: Floor) -> None:
    provider = Stubborn(concurrency=3)
    jobs = [await floor.submit(steps=2) for _ in range(3)]
    async with floor.worker(provider), asyncio.timeout(10):
        for _ in jobs:
            await provider.begun.acquire()
        provider.go.set()
        for job in jobs:
            await floor.ended(job)


async def test_storing_one_job_and_drawing_the_next_overlap(floor: Floor, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = floor.store.put
    second_begun = asyncio.Event()

    async def put(key: str, data: bytes, content_type: str) -> None:
        if key.startswith(f"pictures/{first.id}/"):
            await asyncio.wait_for(second_begun.wait(), 10)
        await stored(key, data, content_type)

    class Telling(ScriptedProvider):
        async def draw(self, task: DrawTask, progress: Progress) -> Drawing:
            if task.job_id == second.id:
                second_begun.set()
            return await super().draw(task, progress)

    monkeypatch.setattr(floor.store, "put", put)
    first, second = await floor.submit(), await floor.submit()
    async with floor.worker(Telling(CATALOGUE)):
        assert (await floor.ended(first)).state is JobState.SUCCEEDED
        assert (await floor.ended(second)).state is JobState.SUCCEEDED


async def test_everybody_gets_a_turn(floor: Floor, scripted: Scripted) -> None:
    provider = scripted()
    many = [await floor.submit(user=1) for _ in range(6)]
    other = await floor.submit(user=2)
    async with floor.worker(provider):
        for job in [*many, other]:
            await floor.ended(job)
    assert [task.job_id for task in provider.tasks].index(other.id) <= 1


async def test_a_lost_lease_stops_the_drawing_and_nothing_is_written(floor: Floor) -> None:
    class Watched(ScriptedProvider):
        async def draw(self, task: DrawTask, progress: Progress) -> Drawing:
            try:
                return await super().draw(task, progress)
            finally:
                given_up.set()

    given_up = asyncio.Event()
    job = await floor.submit(steps=50)
    async with floor.worker(Watched(CATALOGUE, step_seconds=0.1)):
        await floor.running(job)
        await floor.db.write(lambda connection: connection.exec_driver_sql("UPDATE jobs SET worker_id = 'thief'"))
        await asyncio.wait_for(given_up.wait(), 3)
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
