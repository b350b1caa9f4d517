"""A worker on a real database and a real store, drawing by script."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from flux_core.database import speeds
from flux_core.database.pictures import discarded_keys
from flux_core.errors import (
    DrawingBroken,
    OutOfMemory,
    Refused,
)
from flux_core.images.encoding import read_provenance
from flux_core.jobs import JobState
from flux_core.providers.base import Drawing, DrawTask, Progress
from flux_core.providers.scripted import ScriptedProvider, colour_of
from tests.worker.conftest import CATALOGUE, Floor, Stubborn

Scripted = Callable[..., ScriptedProvider]


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
    async with floor.worker(scripted(step_seconds=0.1), job_timeout=2.0):
        ended = await floor.ended(job)
        assert (ended.state, ended.error_code, ended.error_facts) == (JobState.FAILED, "timed_out", {"seconds": 2.0})
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
    async with floor.worker(provider), asyncio.timeout(30):
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
            await asyncio.wait_for(second_begun.wait(), 30)
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
