"""Jobs of several members in one drawing: each keeps its own lease, pictures, charge and end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageStat

from flux_core.batching import TRIALS, shape_of
from flux_core.catalogue import Catalogue
from flux_core.database import batches, leases, speeds
from flux_core.errors import DrawingBroken, OutOfMemory
from flux_core.generation import RequestOptions, resolve
from flux_core.jobs import Job, JobState
from flux_core.providers.base import Drawing, DrawTask, Progress
from flux_core.providers.local import LocalProvider
from flux_core.providers.scripted import ScriptedProvider, colour_of
from flux_core.tiny.architecture import build_random
from tests.providers.recorder import Recorder
from tests.worker.conftest import CATALOGUE, Floor

MOST = 4


async def learn(floor: Floor, device: str, *, fixed: float = 0.8, **options: Any) -> None:
    """Have seen a device that spends this part of a picture's time once per drawing."""
    given = RequestOptions.model_validate({"prompt": "a", "steps": 4} | options)
    shape = shape_of(resolve(given, CATALOGUE))
    assert shape is not None
    for pictures in range(1, MOST + 1):
        for _ in range(TRIALS):
            await floor.queue.record_pace(device, shape, pictures, float(pictures), fixed + pictures * (1 - fixed))


async def order(floor: Floor, number: int, **options: Any) -> list[Job]:
    """Have different members ask for a picture each, with seeds of their own."""
    given: dict[str, Any] = {"count": 1, "output_format": "png"} | options
    return [await floor.submit(user=n, seed=100 * n, prompt=f"{n} stars", **given) for n in range(1, number + 1)]


class Together(ScriptedProvider):
    """Tells when several jobs are being drawn at once, and holds them after their first step until it is let go."""

    def __init__(self, **options: Any) -> None:
        super().__init__(CATALOGUE, **options)
        self.begun = asyncio.Event()
        self.go = asyncio.Event()

    async def draw_together(
        self, tasks: Sequence[DrawTask], progresses: Sequence[Progress]
    ) -> Sequence[Drawing | Exception]:
        if len(tasks) > 1 and not self.go.is_set():
            for progress in progresses:
                progress.step(0, 4)
                progress.step(1, 4)
            self.begun.set()
            await self.go.wait()
        return await super().draw_together(tasks, progresses)


@pytest.fixture
async def held(floor: Floor) -> Together:
    """A provider in whose hands four jobs come together."""
    await learn(floor, "script")
    return Together()


async def test_each_gets_the_pictures_of_its_own_seeds_and_pays_for_them(floor: Floor, held: Together) -> None:
    jobs = await order(floor, 4)
    held.go.set()
    async with floor.worker(held, batch_pictures=MOST):
        ended = [await floor.ended(job) for job in jobs]
    assert held.together == [4]
    for job, now in zip(jobs, ended, strict=True):
        assert (now.state, now.attempts, now.provider) == (JobState.SUCCEEDED, 1, "local")
        [picture] = await floor.studio.pictures(job.id)
        assert picture.seed == job.request.seed
        assert picture.key is not None
        image = Image.open(BytesIO(await floor.store.get(picture.key)))
        assert image.getpixel((3, 3)) == colour_of(picture.seed)
        assert f"{job.account.user_id} stars" in image.info["parameters"]
        assert await floor.kinds(job) == ["reserve", "settle"]


async def test_each_shows_the_steps_and_takes_the_time_of_the_whole_drawing(floor: Floor) -> None:
    await learn(floor, "script", steps=8)
    jobs = await order(floor, 3, steps=8)
    async with floor.worker(ScriptedProvider(CATALOGUE, step_seconds=0.03, further=0.5), batch_pictures=MOST):
        running = [await floor.running(job) for job in jobs]
        assert {job.steps_total for job in running} == {8}
        assert len({job.started_at for job in running}) == 1
        ended = [await floor.ended(job) for job in jobs]
    whole = 8 * 0.03 * 2
    for job in ended:
        assert job.ended_at is not None
        assert job.started_at is not None
        assert whole * 0.9 <= job.ended_at - job.started_at < whole + 20
        assert job.preview_key is not None
    # Each of three thirds of the time: so much does a job behind them wait for one more of them.
    speed = (await floor.db.read(speeds.known))["local", "flux-tiny"]
    assert speed.samples == 3
    assert whole * 0.9 / 3 <= speed.seconds < (whole + 20) / 3
    shape = shape_of(jobs[0].request)
    assert shape is not None
    known = await floor.db.read(batches.known, "script", shape.model, shape.scale)
    assert {pictures: pace.samples - TRIALS for pictures, pace in known.items()} == {1: 0, 2: 0, 3: 1, 4: 0}


async def test_one_that_is_cancelled_leaves_the_others_alone(floor: Floor, held: Together) -> None:
    jobs = await order(floor, 4)
    async with floor.worker(held, batch_pictures=MOST):
        await held.begun.wait()
        await floor.studio.cancel(jobs[2].id, by=jobs[2].account.user_id, moderator=False)
        assert (await floor.ended(jobs[2])).state is JobState.CANCELLED
        held.go.set()
        assert {(await floor.ended(jobs[place])).state for place in (0, 1, 3)} == {JobState.SUCCEEDED}
    assert await floor.kinds(jobs[2]) == ["reserve", "refund"]
    assert await floor.studio.pictures(jobs[2].id) == []
    shape = shape_of(jobs[0].request)
    assert shape is not None
    known = await floor.db.read(batches.known, "script", shape.model, shape.scale)
    assert {pace.samples for pace in known.values()} == {TRIALS}, "what it took says nothing about four"


async def test_one_whose_lease_is_lost_leaves_the_others_alone_and_is_drawn_again_alone(
    floor: Floor, held: Together
) -> None:
    jobs = await order(floor, 4)
    async with floor.worker(held, batch_pictures=MOST):
        await held.begun.wait()
        await floor.db.write(lambda connection: leases.requeue(connection, "w0", jobs[1].id, counted=True))
        held.go.set()
        ended = [await floor.ended(job) for job in jobs]
    assert [(job.state, job.attempts) for job in ended] == [(JobState.SUCCEEDED, n) for n in (1, 2, 1, 1)]
    assert held.together == [4, 1]
    for job in jobs:
        assert len(await floor.studio.pictures(job.id)) == 1
        assert await floor.kinds(job) == ["reserve", "settle"]


async def test_one_that_fails_leaves_the_others_alone(floor: Floor) -> None:
    await learn(floor, "script")
    jobs = await order(floor, 4)
    provider = ScriptedProvider(CATALOGUE, script=[None, OutOfMemory(), None, DrawingBroken("hiccup")])
    async with floor.worker(provider, batch_pictures=MOST):
        ended = [await floor.ended(job) for job in jobs]
    assert [job.error_code for job in ended] == [None, "out_of_memory", None, None]
    assert [job.attempts for job in ended] == [1, 1, 1, 2]
    assert provider.together == [4, 1]
    assert await floor.kinds(jobs[1]) == ["reserve", "refund"]


async def test_a_provider_that_breaks_with_all_of_them_gets_each_once_more(floor: Floor) -> None:
    class Broken(ScriptedProvider):
        async def draw_together(
            self, tasks: Sequence[DrawTask], progresses: Sequence[Progress]
        ) -> Sequence[Drawing | Exception]:
            if len(tasks) > 1:
                raise RuntimeError("a bug")
            return await super().draw_together(tasks, progresses)

    await learn(floor, "script")
    jobs = await order(floor, 4)
    provider = Broken(CATALOGUE)
    async with floor.worker(provider, batch_pictures=MOST):
        ended = [await floor.ended(job) for job in jobs]
    assert [(job.state, job.attempts) for job in ended] == [(JobState.SUCCEEDED, 2)] * 4
    assert provider.together == [1] * 4


async def test_what_breaks_before_their_turn_leaves_nobody_waiting(floor: Floor) -> None:
    class Unprepared(ScriptedProvider):
        async def prepare(self, task: DrawTask) -> None:
            prepared.append(task.job_id)
            if len(prepared) == 1:
                raise RuntimeError("no thread is left to read its words")

    prepared: list[str] = []
    await learn(floor, "script")
    jobs = await order(floor, 4)
    async with floor.worker(Unprepared(CATALOGUE), batch_pictures=MOST):
        ended = [await floor.ended(job) for job in jobs]
    assert [(job.state, job.attempts) for job in ended] == [(JobState.SUCCEEDED, 2)] * 4


async def test_a_worker_that_stops_hands_all_of_them_back(floor: Floor, held: Together) -> None:
    jobs = await order(floor, 4)
    async with floor.worker(held, batch_pictures=MOST, stop_seconds=0.1):
        await held.begun.wait()
    for job in jobs:
        now = await floor.job(job)
        assert (now.state, now.attempts) == (JobState.QUEUED, 0)
    again = ScriptedProvider(CATALOGUE)
    async with floor.worker(again, batch_pictures=MOST):
        assert {(await floor.ended(job)).state for job in jobs} == {JobState.SUCCEEDED}
    assert again.together == [4]


async def test_those_who_are_cancelled_before_their_turn_are_not_drawn(floor: Floor, held: Together) -> None:
    """The next company is claimed while one is drawn, and waits for the engine."""
    first, second = await order(floor, 4), await order(floor, 4)
    async with floor.worker(Halfway(held), batch_pictures=MOST):
        await held.begun.wait()
        await floor.until(second[3], lambda now: now.state is JobState.RUNNING)
        for job in second[:3]:
            await floor.studio.cancel(job.id, by=job.account.user_id, moderator=False)
        assert {(await floor.ended(job)).state for job in second[:3]} == {JobState.CANCELLED}
        held.go.set()
        assert {(await floor.ended(job)).state for job in [*first, second[3]]} == {JobState.SUCCEEDED}
    assert held.together == [4, 1]


class Halfway:
    """A provider that tells at once that half of the steps are drawn, so that its worker claims the next jobs."""

    def __init__(self, inner: Together) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def draw_together(
        self, tasks: Sequence[DrawTask], progresses: Sequence[Progress]
    ) -> Sequence[Drawing | Exception]:
        for progress in progresses:
            progress.step(2, 4)
        held = self.inner
        if not held.go.is_set():
            held.begun.set()
            await held.go.wait()
        return await held.draw_together(tasks, progresses)


async def test_one_at_a_time_is_a_setting(floor: Floor, held: Together) -> None:
    jobs = await order(floor, 4)
    async with floor.worker(held, batch_pictures=1):
        for job in jobs:
            await floor.ended(job)
    assert held.together == [1] * 4


@pytest.mark.parametrize(("further", "gains"), [(0.05, True), (2.5, False)])
async def test_a_worker_finds_out_by_itself_whether_it_is_faster(floor: Floor, further: float, gains: bool) -> None:
    jobs = await order(floor, 60, steps=2)
    provider = ScriptedProvider(CATALOGUE, step_seconds=0.02, further=further)
    async with floor.worker(provider, batch_pictures=MOST, preview_every=0):
        for job in jobs:
            assert (await floor.ended(job)).state is JobState.SUCCEEDED
    shape = shape_of(jobs[0].request)
    assert shape is not None
    known = await floor.db.read(batches.known, "script", shape.model, shape.scale)
    assert set(known) == {1, 2, 3, 4}
    assert sum(pace.samples for pace in known.values()) == len(provider.together)
    assert all(pace.samples >= TRIALS for pace in known.values())
    if gains:
        assert len(provider.together) < 30
    else:
        # Each company is claimed while the one before is drawn, and not yet counted.
        assert sum(number > 1 for number in provider.together) <= 3 * (TRIALS + 2)


async def test_the_real_network_draws_together_what_it_draws_apart(floor: Floor, tmp_path: Path) -> None:
    catalogue = Catalogue({"flux-tiny": str(build_random(tmp_path / "tiny"))}, default="flux-tiny")
    provider = LocalProvider(catalogue, device="cpu", threads=1)
    await learn(floor, provider.device)
    jobs = await order(floor, 3)
    apart = [
        (await provider.draw(DrawTask(job_id=job.id, request=job.request), Recorder())).pictures[0].image
        for job in jobs
    ]
    sizes: list[int] = []
    denoise = provider._engine.denoise

    def counted(spec: Any, pieces: Any, **options: Any) -> Any:
        sizes.append(len(pieces))
        return denoise(spec, pieces, **options)

    provider._engine.denoise = counted  # type: ignore[method-assign]
    async with floor.worker(provider, batch_pictures=MOST):
        for job in jobs:
            assert (await floor.ended(job)).state is JobState.SUCCEEDED
    assert sizes == [3]
    for job, alone in zip(jobs, apart, strict=True):
        [picture] = await floor.studio.pictures(job.id)
        assert picture.key is not None
        ours = Image.open(BytesIO(await floor.store.get(picture.key)))
        assert ours.size == alone.size
        assert max(ImageStat.Stat(ImageChops.difference(ours, alone)).mean) < 0.1  # enlarging sharpens a level or two
    assert max(ImageStat.Stat(ImageChops.difference(*apart[:2])).mean) > 5
    await provider.close()
