"""A worker whose bucket is away, or refuses: what it draws meanwhile is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from flux_core.images.store import PictureStore
from flux_core.jobs import JobState
from flux_core.providers.scripted import ScriptedProvider
from tests.bucket import BucketServer
from tests.worker.conftest import Floor

Scripted = Callable[..., ScriptedProvider]


@pytest.fixture
def own_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[BucketServer]:
    """Run a server that a test may stop."""
    server = BucketServer()
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    server.start()
    yield server
    server.stop()


async def stuck(said: pytest.LogCaptureFixture, times: int) -> None:
    """Wait until the worker has found the store away so often."""
    async with asyncio.timeout(30):
        while sum("storage is away" in line for line in said.messages) < times:  # noqa: ASYNC110 (a log sets no event)
            await asyncio.sleep(0.02)


async def test_pictures_drawn_while_the_bucket_is_down_are_stored_when_it_is_back(
    floor: Floor, scripted: Scripted, own_server: BucketServer, caplog: pytest.LogCaptureFixture
) -> None:
    floor.store = PictureStore(own_server.bucket("house"))
    job = await floor.submit(steps=4)
    async with floor.worker(scripted(step_seconds=0.4), lease_seconds=1.0):
        await floor.running(job)
        own_server.stop()
        await stuck(caplog, 2)
        assert (await floor.job(job)).state is JobState.RUNNING
        await asyncio.to_thread(own_server.start)
        own_server.bucket("house")
        ended = await floor.ended(job)
    assert (ended.state, ended.attempts) == (JobState.SUCCEEDED, 1)
    stored = [str(picture.key) for picture in await floor.studio.pictures(job.id)]
    assert len(stored) == 2
    assert own_server.keys("house") >= set(stored)
    assert await floor.kinds(job) == ["reserve", "settle"]


async def test_pictures_that_the_bucket_refuses_are_stored_when_it_allows_them(
    floor: Floor, scripted: Scripted, own_server: BucketServer, caplog: pytest.LogCaptureFixture
) -> None:
    floor.store = PictureStore(own_server.bucket("house"))
    with own_server.denying():
        job = await floor.submit()
        async with floor.worker(scripted()):
            await stuck(caplog, 2)
            assert (await floor.job(job)).state is JobState.RUNNING
            own_server.allow()
            ended = await floor.ended(job)
    assert (ended.state, ended.attempts) == (JobState.SUCCEEDED, 1)


async def test_a_worker_that_stops_does_not_wait_for_the_bucket(
    floor: Floor, scripted: Scripted, own_server: BucketServer, caplog: pytest.LogCaptureFixture
) -> None:
    floor.store = PictureStore(own_server.bucket("house"))
    own_server.stop()
    job = await floor.submit()
    async with asyncio.timeout(30):
        async with floor.worker(scripted(), stop_seconds=0.2, lease_seconds=1.0):
            await stuck(caplog, 1)
    assert (await floor.job(job)).state is JobState.RUNNING  # its lease runs out
    await asyncio.to_thread(own_server.start)
    own_server.bucket("house")
    await asyncio.sleep(1.0)
    await floor.queue.rescue()
    async with floor.worker(scripted()):
        assert (await floor.ended(job)).state is JobState.SUCCEEDED
    assert await floor.kinds(job) == ["reserve", "settle"]
