"""Which models a worker has ready, and what becomes of the jobs of one that does not load."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import pytest

from flux_core.catalogue import Catalogue
from flux_core.database import workers
from flux_core.errors import LoraUnusable, ModelUnavailable, OutOfMemory, StorageUnavailable
from flux_core.generation import GenerationRequest
from flux_core.jobs import Account, Job, JobState, Origin
from flux_core.loras import Lora, LoraUse
from flux_core.offers import Offer
from flux_core.providers.base import Drawing, DrawTask, Progress
from flux_core.providers.scripted import ScriptedProvider
from flux_core.service import Submission
from flux_core.worker import repertoire
from flux_core.worker.repertoire import Repertoire
from flux_core.worker.worker import Worker
from tests.worker.conftest import CATALOGUE, Floor


class Loading(ScriptedProvider):
    """Has models that take their time to load, or do not."""

    def __init__(self, *, fails: str | None = None) -> None:
        super().__init__(CATALOGUE)
        self.fails = fails
        self.go = asyncio.Event()
        self.asked: deque[str] = deque()

    async def warm_up(self, model: str) -> None:
        self.asked.append(model)
        await self.go.wait()
        self._load(model)

    async def draw(self, task: DrawTask, progress: Progress) -> Drawing:
        self._load(task.request.model)
        return await super().draw(task, progress)

    def _load(self, model: str) -> None:
        if model == self.fails:
            raise ModelUnavailable(f"{model}: its folder is empty.", model=model)


async def offered(floor: Floor) -> dict[str, tuple[str, ...]]:
    return {one.id: one.models for one in await floor.db.read(workers.alive, 0.0)}


async def test_whatever_a_model_does_when_it_loads_the_worker_goes_on(floor: Floor) -> None:
    """Else it would end, be started anew, load it again, and end."""

    class Odd(Loading):
        def _load(self, model: str) -> None:
            if model == self.fails:
                raise RuntimeError("CUBLAS_STATUS_NOT_INITIALIZED")

    provider = Odd(fails="flux-schnell")
    provider.go.set()
    async with floor.worker(provider, warm_up=["flux-schnell"]):
        assert (await floor.ended(await floor.submit())).state is JobState.SUCCEEDED
        assert (await offered(floor))["w0"] == ("flux-tiny",)


async def test_what_could_not_be_told_at_once_is_told_later(floor: Floor, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the list holds decides who is asked for what: it must not stay wrong until something else changes."""
    provider, offer, failed = Loading(fails="flux-schnell"), floor.queue.offer, asyncio.Event()
    provider.go.set()

    async def once_away(*args: Any, **options: Any) -> None:
        if not failed.is_set():
            failed.set()
            raise StorageUnavailable("It is away.")
        await offer(*args, **options)

    monkeypatch.setattr(floor.queue, "offer", once_away)
    async with floor.worker(provider, warm_up=["flux-schnell"], lease_seconds=1.0), asyncio.timeout(60):
        await failed.wait()
        while (await offered(floor)).get("w0") != ("flux-tiny",):  # noqa: ASYNC110 (another connection tells nobody)
            await asyncio.sleep(0.05)


async def test_a_worker_tells_that_a_card_holds_a_model_in_a_leaner_way(floor: Floor) -> None:
    class Full(Loading):
        full = False

        @property
        def offers(self) -> dict[str, Offer]:
            own = dict(super().offers)
            if self.full:
                own["flux-tiny"] = own["flux-tiny"].model_copy(update={"leaner": "nf4"})
            return own

    provider = Full()
    async with floor.worker(provider, lease_seconds=1.0), asyncio.timeout(60):
        await floor.until(await floor.submit(), lambda now: now.state is not JobState.QUEUED)
        provider.full = True
        while (await floor.db.read(workers.alive, 0.0))[0].offers["flux-tiny"].leaner != "nf4":  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        provider.go.set()


async def test_jobs_wait_in_the_queue_until_the_first_model_is_loaded(floor: Floor) -> None:
    provider = Loading()
    worker = Worker(
        *(floor.queue, floor.store, provider),
        worker_id="w",
        changed=floor.db.changed,
        lease_seconds=5.0,
        warm_up=["flux-tiny"],
    )
    stop = asyncio.Event()
    running = asyncio.create_task(worker.run(stop))
    job = await floor.submit()
    async with asyncio.timeout(20):
        while not provider.asked or worker.trouble == "no heartbeat gets through":  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    assert worker.trouble == "flux-tiny: being loaded"
    assert (await floor.job(job)).state is JobState.QUEUED
    assert (await floor.studio.place(job.id)).workers == 1, "it will be drawn here"
    provider.go.set()
    assert (await floor.ended(job)).state is JobState.SUCCEEDED
    assert worker.trouble is None
    stop.set()
    await asyncio.wait_for(running, 20)
    assert list(provider.asked) == ["flux-tiny"]


async def test_a_worker_can_be_stopped_while_it_loads(floor: Floor) -> None:
    async with floor.worker(Loading(), warm_up=["flux-tiny"]):
        job = await floor.submit()
    assert (await floor.job(job)).state is JobState.QUEUED


async def test_a_model_that_does_not_load_at_the_start_costs_no_job_an_attempt(
    floor: Floor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(repertoire, "PAUSES", (0.2,))
    provider = Loading(fails="flux-schnell")
    provider.go.set()
    broken, fine = await floor.submit(model="flux-schnell"), await floor.submit()
    async with floor.worker(provider, warm_up=["flux-schnell"]):
        assert (await floor.ended(fine)).state is JobState.SUCCEEDED
        assert await offered(floor) == {"w0": ("flux-tiny",)}
        waiting = await floor.job(broken)
        assert (waiting.state, waiting.attempts) == (JobState.QUEUED, 0)
        assert (await floor.studio.place(broken.id)).workers == 0, "which its member reads"
        async with asyncio.timeout(20):
            while len(provider.asked) < 3:  # noqa: ASYNC110 (the worker tries it anew by itself)
                await asyncio.sleep(0.01)
        provider.fails = None
        ended = await floor.ended(broken)
    assert (ended.state, ended.attempts) == (JobState.SUCCEEDED, 1)
    said = [line for line in caplog.messages if "not offered until it loads" in line]
    assert said == ["flux-schnell is not offered until it loads: flux-schnell: its folder is empty."]


async def test_its_job_waits_for_another_worker_that_has_the_model(floor: Floor) -> None:
    broken, whole = Loading(fails="flux-tiny"), Loading()
    job = await floor.submit()
    await floor.queue.register(_somebody_else())
    async with floor.worker(broken):
        async with asyncio.timeout(20):
            while (await offered(floor)).get("w0") != ("flux-schnell",):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        handed = await floor.until(job, lambda now: now.state is JobState.QUEUED)
        assert (handed.attempts, handed.tried) == (0, ())
        async with floor.worker(whole):
            ended = await floor.ended(job)
    assert (ended.state, ended.attempts, ended.worker_id) == (JobState.SUCCEEDED, 1, "w1")


def _somebody_else() -> workers.WorkerInfo:
    """A worker that is there and busy, as far as anybody knows."""
    offers = ScriptedProvider(CATALOGUE).offers
    return workers.WorkerInfo(id="busy", host="", pid=1, device="", offers=offers, started_at=0.0)


@pytest.mark.parametrize("error", [ModelUnavailable(model="flux-tiny"), OutOfMemory()])
async def test_where_nobody_else_has_it_the_job_fails_with_its_cost_back(
    floor: Floor, error: ModelUnavailable | OutOfMemory
) -> None:
    job = await floor.submit()
    async with floor.worker(ScriptedProvider(CATALOGUE, script=[error])):
        ended = await floor.ended(job)
    assert (ended.state, ended.error_code, ended.error_facts) == (JobState.FAILED, error.code, error.facts)
    assert await floor.kinds(job) == ["reserve", "refund"]


async def test_the_jobs_behind_it_wait_until_it_is_tried_again(floor: Floor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repertoire, "PAUSES", (0.3,))
    provider = ScriptedProvider(CATALOGUE, script=[ModelUnavailable(model="flux-tiny")])
    first, second = await floor.submit(), await floor.submit()
    async with floor.worker(provider):
        assert (await floor.ended(first)).error_code == "model_unavailable"
        assert (await floor.ended(second)).state is JobState.SUCCEEDED
    assert (await floor.job(second)).attempts == 1


def test_a_model_is_tried_again_after_longer_and_longer_pauses() -> None:
    now = 0.0
    models = Repertoire(clock=lambda: now)
    assert (models.pause, models.due, models.trouble(["a", "b"])) == (None, [], None)
    waits = []
    for why in ("gone", "gone", "gone", "gone", "broken"):
        assert models.failed("a", why) is (why == "broken" or not waits)
        assert models.due == []
        assert models.offered({"a": 1, "b": 2}) == {"b": 2}
        assert models.pause is not None
        waits.append(models.pause)
        now += models.pause
        assert models.due == ["a"]
    assert waits == [60, 120, 300, 600, 600]
    assert models.trouble(["a"]) == "broken"
    assert models.trouble(["a", "b"]) is None
    assert models.loaded("a") is True
    assert models.loaded("a") is False
    assert models.offered({"a": 1}) == {"a": 1}


class Fetching(ScriptedProvider):
    """Has to bring the files of flux-schnell."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__(CATALOGUE)
        self.error = error
        self.began, self.go, self.here = asyncio.Event(), asyncio.Event(), False

    def has_files(self, request: GenerationRequest) -> bool:
        return self.here or request.model != "flux-schnell"

    async def fetch(self, request: GenerationRequest) -> None:
        self.began.set()
        await self.go.wait()
        if self.error is not None:
            raise self.error
        self.here = True


async def test_others_are_drawn_while_files_are_fetched_for_one(floor: Floor) -> None:
    provider = Fetching()
    async with floor.worker(provider):
        first = await floor.submit(model="flux-schnell")
        await provider.began.wait()
        others = [await floor.submit(user=user) for user in (2, 3)]
        for other in others:
            assert (await floor.ended(other)).state is JobState.SUCCEEDED
        assert (await floor.job(first)).state is JobState.RUNNING
        provider.go.set()
        assert (await floor.ended(first)).state is JobState.SUCCEEDED


async def test_many_who_wait_for_the_same_files_do_not_fill_a_workers_hands(floor: Floor) -> None:
    """A model of 30 GiB takes an hour to come: those who want another one are drawn meanwhile."""
    provider = Fetching()
    async with floor.worker(provider):
        many = [await floor.submit(model="flux-schnell", user=user) for user in range(10, 16)]
        await provider.began.wait()
        for user in (2, 3, 4):
            assert (await floor.ended(await floor.submit(user=user))).state is JobState.SUCCEEDED
        states = [(await floor.job(one)).state for one in many]
        assert states.count(JobState.QUEUED) == len(many) - 1, "a worker that has the files may still take them"
        provider.go.set()
        assert {(await floor.ended(one)).state for one in many} == {JobState.SUCCEEDED}


async def test_files_that_cannot_be_had_end_the_job_with_the_credits_back(floor: Floor) -> None:
    provider = Fetching(LoraUnusable("ink: it is gated.", lora="ink"))
    provider.go.set()
    async with floor.worker(provider):
        ended = await floor.ended(await floor.submit(model="flux-schnell"))
    assert (ended.state, ended.error_code) == (JobState.FAILED, "lora_unusable")
    assert await floor.spent() == 0


async def test_a_worker_that_stops_hands_back_what_it_fetches_files_for(floor: Floor) -> None:
    provider = Fetching()
    async with floor.worker(provider):
        job = await floor.submit(model="flux-schnell")
        await provider.began.wait()
    back = await floor.job(job)
    assert (back.state, back.attempts) == (JobState.QUEUED, 0)


async def test_a_job_with_a_lora_is_drawn_by_the_worker_that_has_it(floor: Floor) -> None:
    weights = {spec.id: "x" for spec in CATALOGUE}
    has = ScriptedProvider(Catalogue(weights, loras={"ink": Lora("ink", "ink.safetensors")}))
    lacks = ScriptedProvider(CATALOGUE)

    async def with_lora(user: int) -> Job:
        request = (await floor.submit(user=user)).request.model_copy(update={"lora": LoraUse(name="ink")})
        asked = Submission(account=Account(guild_id=1, user_id=user), request=request, origin=Origin.IMAGINE)
        return await floor.studio.submit(asked)

    async with floor.worker(lacks), floor.worker(has):
        async with asyncio.timeout(20):
            while not await floor.studio.loras():  # noqa: ASYNC110 (a worker tells the database, which sets no event)
                await asyncio.sleep(0.01)
        ended = [await floor.ended(await with_lora(user)) for user in (1, 2, 3)]
    assert {job.state for job in ended} == {JobState.SUCCEEDED}
    assert {job.worker_id for job in ended} == {"w1"}
    assert {task.request.lora for task in lacks.tasks} <= {None}
