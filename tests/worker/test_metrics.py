"""What a worker counts, tells and logs of its jobs."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from flux_core.errors import ModelUnavailable, OutOfMemory, ProviderDown, Refused
from flux_core.family import FAMILY
from flux_core.images.threads import in_picture_thread
from flux_core.jobs import JobState
from flux_core.logs import configure_logging
from flux_core.metrics import definitions as m
from flux_core.providers.base import Drawing, DrawTask, Progress
from flux_core.providers.scripted import ScriptedProvider
from flux_core.settings import Settings
from flux_core.worker.worker import Worker
from tests.metrics.counting import growth, until
from tests.worker.conftest import CATALOGUE, Floor, Stubborn

OF_TINY = {"model": "flux-tiny", "provider": "local"}
ACME = {"model": "flux-tiny", "provider": "acme"}


class Acme(ScriptedProvider):
    """A hosted provider by script."""

    name, hosted = "acme", True

    def __init__(self, **options: Any) -> None:
        super().__init__(CATALOGUE, **options)


def sample(name: str, **labels: str) -> float:
    return m.REGISTRY.get_sample_value(name, labels) or 0.0


@pytest.fixture
def grown() -> Callable[..., float]:
    return growth()


async def test_a_drawn_job(floor: Floor, scripted: Any, grown: Callable[..., float]) -> None:
    job = await floor.submit(count=2, steps=4)
    async with floor.worker(scripted(step_seconds=0.02)):
        await floor.ended(job)
    assert grown("flux_pictures_total", **OF_TINY) == 2
    assert grown("flux_attempts_total", **OF_TINY, outcome="succeeded") == 1
    assert grown("flux_step_seconds_count", model="flux-tiny") == 4
    assert 0.08 <= grown("flux_step_seconds_sum", model="flux-tiny") < 20
    assert 0.08 <= grown("flux_job_run_seconds_sum", **OF_TINY) < 20
    assert grown("flux_job_wait_seconds_count", **OF_TINY) == 1
    assert 0 <= grown("flux_job_wait_seconds_sum", **OF_TINY) < 60
    assert grown("flux_job_finish_seconds_count", provider="local") == 1
    assert grown("flux_company_jobs_bucket", model="flux-tiny", le="1.0") == 1
    assert sample("flux_jobs_in_hand", provider="local") == 0


async def test_what_is_in_hand_and_how_it_leaves(floor: Floor, grown: Callable[..., float]) -> None:
    easel = Stubborn()
    job = await floor.submit()
    async with floor.worker(easel):
        await floor.running(job)
        assert sample("flux_jobs_in_hand", provider="local") == 1
        await floor.studio.cancel(job.id, by=1, moderator=False)
        assert (await floor.ended(job)).state is JobState.CANCELLED
        easel.go.set()
    assert grown("flux_attempts_total", **OF_TINY, outcome="cancelled") == 1
    assert sample("flux_jobs_in_hand", provider="local") == 0


async def test_a_job_handed_back(floor: Floor, grown: Callable[..., float]) -> None:
    easel = Stubborn()
    job = await floor.submit()
    async with floor.worker(easel, stop_seconds=0.5):
        await floor.running(job)
    assert grown("flux_attempts_total", **OF_TINY, outcome="handed_back") == 1


async def test_a_job_that_is_somebody_elses_by_now(floor: Floor, grown: Callable[..., float]) -> None:
    easel = Stubborn()
    job = await floor.submit()
    async with floor.worker(easel, lease_seconds=0.3):
        await floor.running(job)
        await floor.queue.hand_back("w0", job.id)
        await until(lambda: grown("flux_attempts_total", **OF_TINY, outcome="lost") == 1)
        easel.go.set()


@pytest.mark.parametrize(
    ("error", "outcome"), [(OutOfMemory("no room"), "failed"), (Refused(reason="house rules"), "refused")]
)
async def test_a_failure_is_counted_by_its_code(
    floor: Floor, scripted: Any, grown: Callable[..., float], error: Any, outcome: str
) -> None:
    job = await floor.submit()
    async with floor.worker(scripted(script=[error] * 3)):
        await floor.ended(job)
    assert grown("flux_failures_total", **OF_TINY, code=error.code) >= 1
    assert grown("flux_attempts_total", **OF_TINY, outcome=outcome) >= 1
    assert grown("flux_pictures_total", **OF_TINY) == 0


async def test_a_hosted_providers_fault(floor: Floor, grown: Callable[..., float]) -> None:
    job = await floor.submit()
    async with floor.worker(Acme(script=[ProviderDown("down", provider="Acme")])):
        await floor.until(job, lambda now: bool(now.tried) or now.attempts > 0 or now.state.ended)
        await until(lambda: grown("flux_provider_faults_total", provider="acme", code="provider_down") == 1)
    assert grown("flux_step_seconds_count", model="flux-tiny") == 0, "what hosted providers call a step is none"


async def test_labels_are_few_and_tell_of_nobody(floor: Floor, scripted: Any) -> None:
    secret = "a purple elephant called Eleonora"
    job = await floor.submit(user=424242424242, prompt=secret)
    async with floor.worker(scripted(script=[OutOfMemory(secret)])):
        await floor.ended(job)
    await floor.studio.house.look()
    found = [
        (label, str(value))
        for collector in (m.REGISTRY, floor.studio.house)
        for family in collector.collect()
        for one in family.samples
        for label, value in one.labels.items()
    ]
    values = " ".join(value for _, value in found)
    for never in ("elephant", "424242424242", job.id, "w0"):
        assert never not in values
    named = {label for label, _ in found}
    known = {label for reading in m.every() for label in reading.labels}
    assert named <= known | {"le"}
    assert known == {
        "model",
        "profile",
        "reason",
        "provider",
        "outcome",
        "code",
        "status",
        "scope",
        "lane",
        "venue",
        "state",
        "kind",
        "shard",
    }
    models = {spec.id for spec in FAMILY}
    assert {value for label, value in found if label == "model"} <= models


# Whether it is ready


def a_worker(floor: Floor, provider: Any, **options: Any) -> Worker:
    return Worker(
        floor.queue,
        floor.store,
        provider,
        worker_id="w",
        changed=floor.db.changed,
        **({"lease_seconds": 5.0} | options),
    )


@asynccontextmanager
async def working(worker: Worker) -> AsyncIterator[asyncio.Event]:
    stop = asyncio.Event()
    running = asyncio.create_task(worker.run(stop))
    try:
        yield stop
    finally:
        stop.set()
        await running


async def test_a_worker_is_ready_while_its_heartbeats_get_through(floor: Floor, scripted: Any) -> None:
    worker = a_worker(floor, scripted())
    assert worker.trouble == "no heartbeat gets through"
    async with working(worker) as stop:
        await until(lambda: worker.trouble is None)
        stop.set()
        await until(lambda: worker.trouble == "it stops")


async def test_a_silent_worker_is_not_ready(floor: Floor, scripted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = a_worker(floor, scripted(), lease_seconds=0.3)
    async with working(worker):
        await until(lambda: worker.trouble is None)

        async def hangs(*_: Any, **__: Any) -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr(floor.queue, "beat", hangs)
        await until(lambda: worker.trouble == "no heartbeat gets through")


async def test_a_closed_provider_is_not_ready(floor: Floor) -> None:
    provider = Acme()
    worker = a_worker(floor, provider)
    async with working(worker):
        await until(lambda: worker.trouble is None)
        provider.closed = "no credit is left"
        assert worker.trouble == "no credit is left"


async def test_models_that_do_not_load_are_not_ready(floor: Floor, scripted: Any) -> None:
    provider = scripted(script=[ModelUnavailable("its folder is empty", model="flux-tiny")])
    worker = a_worker(floor, provider)
    async with working(worker):
        await until(lambda: worker.trouble is None)
        await floor.ended(await floor.submit())
        assert worker.trouble is None, "the other model may load"
        provider._script.append(ModelUnavailable("nor is there that one", model="flux-schnell"))
        await floor.ended(await floor.submit(model="flux-schnell"))
        assert worker.trouble == "its folder is empty"
        worker._readiness._repertoire.loaded("flux-tiny")
        assert worker.trouble is None


# What it logs


@pytest.fixture
def lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logging(Settings(_env_file=None, log_format="json"), stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:] = handlers
    root.setLevel(level)


class Talkative(ScriptedProvider):
    """Logs while it draws: in the loop, in a thread for pictures, and in one of asyncio's."""

    async def draw(self, task: DrawTask, progress: Progress) -> Drawing:
        log = logging.getLogger("vendor")
        log.warning("in the loop")
        await in_picture_thread(lambda: log.warning("in a picture thread"))
        await asyncio.to_thread(log.warning, "in a thread")
        await asyncio.sleep(0.02)
        return await super().draw(task, progress)


async def test_every_line_about_a_job_names_it(floor: Floor, lines: Callable[[], list[dict[str, Any]]]) -> None:
    jobs = [await floor.submit(prompt="words that no log tells") for _ in range(2)]
    async with floor.worker(Talkative(CATALOGUE, concurrency=2)):
        for job in jobs:
            await floor.ended(job)
    for job in jobs:
        said = [line["event"] for line in lines() if line.get("job") == job.id]
        assert said[:3] == ["in the loop", "in a picture thread", "in a thread"]
        assert any(event.startswith(f"Job {job.id}: 2 pictures") for event in said)
    others = [line for line in lines() if "job" not in line]
    assert others, "lines about no job name none"
    assert not [line for line in others if "pictures in" in line["event"]]
    assert "words that no log tells" not in json.dumps(lines())


async def test_a_line_about_a_preview_names_its_job(
    floor: Floor, lines: Callable[[], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    put = floor.store.put

    async def noted(key: str, *args: Any, **options: Any) -> None:
        logging.getLogger("store").warning("stored %s", key.partition("/")[0])
        await put(key, *args, **options)

    monkeypatch.setattr(floor.store, "put", noted)
    job = await floor.submit(steps=6)
    async with floor.worker(ScriptedProvider(CATALOGUE, step_seconds=0.05)):
        await floor.ended(job)
    stored = [line for line in lines() if line["event"] in ("stored previews", "stored pictures")]
    assert {line["event"] for line in stored} == {"stored previews", "stored pictures"}
    assert {line.get("job") for line in stored} == {job.id}
