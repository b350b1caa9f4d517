"""A worker for a hosted provider, and what becomes of a job that its first provider cannot draw."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from PIL import Image

from flux_core.errors import OutcomeUnknown, ProviderDown, Refused
from flux_core.images.store import PictureStore
from flux_core.jobs import JobState
from flux_core.providers.base import Drawing, DrawTask, Progress
from flux_core.providers.scripted import ScriptedProvider
from tests.worker.conftest import CATALOGUE, Floor


class Acme(ScriptedProvider):
    """A hosted provider by script; ``names`` tells it apart from another one."""

    hosted = True

    def __init__(self, name: str = "acme", **options: Any) -> None:
        super().__init__(CATALOGUE, **options)
        self.name = name


class Partial(Acme):
    """Holds all pictures but the first back, and draws from words only."""

    async def draw(self, task: DrawTask, progress: Progress) -> Drawing:
        whole = await super().draw(task, progress)
        return Drawing(
            pictures=whole.pictures[:1], withheld="the filter held it back", from_words=True, microdollars=2_500
        )


class Ordering(Acme):
    """Orders something that it can go on with later."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()
        self.was_cancelled: list[bool] = []

    async def draw(self, task: DrawTask, progress: Progress) -> Drawing:
        if task.provider_job_id is None:
            await progress.submitted("ticket-1")
        progress.step(0, task.request.steps)
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.was_cancelled.append(progress.cancelled)
            raise
        return await super().draw(task, progress)


async def test_pictures_held_back_are_given_back_and_told(floor: Floor) -> None:
    job = await floor.submit(count=4)
    async with floor.worker(Partial()):
        ended = await floor.ended(job)
    assert (ended.state, ended.provider, ended.microdollars) == (JobState.SUCCEEDED, "acme", 2_500)
    assert [remark.code for remark in ended.remarks] == ["routed", "partly_withheld", "from_words"]
    told = ended.remarks[1].facts
    assert (told["missing"], told["reason"]) == (3, "the filter held it back")
    assert told["refunded"] == job.cost * 3 // 4
    assert await floor.spent() == job.cost - told["refunded"]


async def test_what_one_provider_cannot_draw_another_does(floor: Floor) -> None:
    job = await floor.submit(count=1)
    async with (
        floor.worker(Acme("a-broken", script=[ProviderDown("down", provider="A")] * 9)),
        floor.worker(Acme("b-sound")),
    ):
        ended = await floor.ended(job)
    assert (ended.state, ended.provider, ended.tried) == (JobState.SUCCEEDED, "b-sound", ("a-broken",))
    assert ended.attempts == 1, "the other's failure is not held against it"
    assert await floor.kinds(job) == ["reserve", "settle"]


@pytest.mark.parametrize("error", [Refused(reason="no"), OutcomeUnknown("perhaps paid")], ids=["refused", "unknown"])
async def test_what_must_not_be_drawn_elsewhere_ends(floor: Floor, error: Refused | OutcomeUnknown) -> None:
    job = await floor.submit(count=1)
    async with floor.worker(Acme("a", script=[error])), floor.worker(Acme("b")):
        ended = await floor.ended(job)
    assert ended.state is (JobState.REFUSED if isinstance(error, Refused) else JobState.FAILED)
    assert ended.provider == "a"
    assert await floor.spent() == 0


async def test_a_hosted_provider_gets_no_more_than_it_can_begin(floor: Floor) -> None:
    provider = Acme(step_seconds=0.2, concurrency=2)
    jobs = [await floor.submit(count=1, steps=8) for _ in range(4)]
    async with floor.worker(provider):
        await floor.until(jobs[0], lambda now: now.steps_done >= 4)
        states = [(await floor.job(job)).state for job in jobs]
        assert states[2:] == [JobState.QUEUED, JobState.QUEUED]
        for job in jobs:
            await floor.ended(job)


async def test_a_provider_that_is_closed_gets_no_jobs_until_it_opens(floor: Floor) -> None:
    provider = Acme()
    provider.closed = "no credit"
    job = await floor.submit(count=1)
    async with floor.worker(provider, lease_seconds=0.3):
        await asyncio.sleep(0.3)
        assert (await floor.job(job)).state is JobState.QUEUED
        [venue] = await floor.studio.venues()
        assert venue.closed == "no credit"
        provider.closed = None
        other = await floor.submit(count=1)  # somebody changes something, and it looks again
        assert (await floor.ended(job)).state is JobState.SUCCEEDED
        await floor.ended(other)


async def test_a_stopped_worker_leaves_its_orders_to_the_next_one(floor: Floor) -> None:
    first, second = Ordering(), Ordering()
    second.go.set()
    job = await floor.submit(count=1)
    async with floor.worker(first, stop_seconds=0.1):
        await floor.until(job, lambda now: now.provider_job_id is not None)
    waiting = await floor.job(job)
    assert (waiting.state, waiting.provider_job_id, waiting.attempts) == (JobState.QUEUED, "ticket-1", 0)
    assert first.was_cancelled == [False], "nobody cancelled it: the provider goes on"
    async with floor.worker(second):
        assert (await floor.ended(job)).state is JobState.SUCCEEDED
    assert second.tasks[0].provider_job_id == "ticket-1"


async def test_a_cancelled_job_is_cancelled_there_as_well(floor: Floor) -> None:
    provider = Ordering()
    job = await floor.submit(count=1)
    async with floor.worker(provider):
        await floor.until(job, lambda now: now.provider_job_id is not None)
        await floor.studio.cancel(job.id, by=1, moderator=False)
        assert (await floor.ended(job)).state is JobState.CANCELLED
    assert provider.was_cancelled == [True]
    assert await floor.spent() == 0


async def test_a_job_whose_time_is_up_is_cancelled_there_as_well(floor: Floor) -> None:
    provider = Ordering()
    job = await floor.submit(count=1)
    async with floor.worker(provider, job_timeout=1.0):
        ended = await floor.ended(job)
    assert (ended.state, ended.error_code) == (JobState.FAILED, "timed_out")
    assert provider.was_cancelled == [True]


class Linked(Acme):
    """Wants to fetch the picture to start from."""

    async def draw(self, task: DrawTask, progress: Progress) -> Drawing:
        assert task.publish is not None
        self.url = await task.publish(b"a picture", "image/png")
        return await super().draw(task, progress)


class Bucket(PictureStore):
    """A folder that hands out URLs, as a bucket does."""

    has_links = True

    async def link(self, key: str, seconds: float) -> str:
        return f"https://bucket.example/{key}?for={seconds:.0f}"


async def test_a_picture_to_start_from_is_lent_as_a_link_and_let_go_of_later(
    floor: Floor, tmp_path_factory: pytest.TempPathFactory
) -> None:
    floor.store = Bucket(str(tmp_path_factory.mktemp("bucket")))
    provider = Linked()
    job = await floor.submit(count=1)
    async with floor.worker(provider):
        await floor.ended(job)
    key = provider.url.removeprefix("https://bucket.example/").removesuffix("?for=3600")
    assert await floor.store.get(key) == b"a picture"
    assert key.startswith("inputs/"), "where maintenance deletes what no job starts from"


async def test_a_folder_hands_out_no_links(floor: Floor) -> None:
    provider = Acme()
    job = await floor.submit(count=1, picture=Image.new("RGB", (64, 64)))
    async with floor.worker(provider):
        await floor.ended(job)
    assert provider.tasks[0].publish is None
