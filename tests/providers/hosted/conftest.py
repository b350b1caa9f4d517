"""A hosted provider before a stand-in, and what a job would keep of it."""

from __future__ import annotations

import asyncio
import importlib
import logging
import pkgutil
import traceback
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from PIL import Image

import tests.providers.hosted.vendors as folder
from flux_core.catalogue import Catalogue
from flux_core.errors import Cancelled, GenerationFailed
from flux_core.family import FAMILY
from flux_core.generation import GenerationRequest, InputPicture, RequestOptions, resolve
from flux_core.providers.base import Drawing, DrawTask
from flux_core.providers.hosted.http import Patience
from flux_core.providers.hosted.provider import HostedProvider
from flux_core.providers.scripted import colour_of
from tests.providers.hosted.standin import Case, StandIn

PATIENT = Patience(
    silence=10.0,
    submit_silence=10.0,
    whole=10.0,
    download=10.0,
    tries=3,
    submit_tries=3,
    pause=0.005,
    longest_pause=0.01,
    longest_retry_after=0.05,
    poll_pace=0.004,
    poll_factor=1.0,
    trouble=0.25,
    unheard=2,
    last_word=5.0,
)
"""For vendors that answer: quick to ask again, in no hurry on a machine that has much else to do."""
WAITING = replace(PATIENT, silence=0.4, whole=2.0, trouble=5.0)
"""For vendors that once do not answer. On a busy machine, those that do may take a moment."""
CATALOGUE = Catalogue({}, hosted=[spec.id for spec in FAMILY if spec.id != "flux-tiny"])
LONG = 15.0
"""Seconds after which a call counts as hanging."""


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let stand-ins keep the parsed body in the request under a plain word."""
    item.add_marker(pytest.mark.filterwarnings("ignore::aiohttp.web_exceptions.NotAppKeyWarning"))


def all_cases() -> list[Case]:
    """Return the cases of every stand-in."""
    names = sorted(module.name for module in pkgutil.iter_modules(folder.__path__) if module.name.endswith("_standin"))
    modules = [importlib.import_module(f"{folder.__name__}.{name}") for name in names]
    return [case for module in modules for case in module.CASES]


@dataclass
class Watcher:
    """A Progress that keeps what the job's row would keep."""

    receipts: list[str] = field(default_factory=list)
    cancelled: bool = False
    steps: list[tuple[int, int]] = field(default_factory=list)
    previews: list[Image.Image] = field(default_factory=list)
    on_receipt: Callable[[int], None] = lambda count: None
    """Told how many receipts are kept now."""
    hold: int | None = None
    """The receipt (1, 2, …) after which the worker stops for good, as one that is about to be killed."""

    def step(self, done: int, total: int) -> None:
        """Count a step."""
        if self.cancelled:
            raise Cancelled()
        self.steps.append((done, total))

    def preview(self, show: Callable[[], Image.Image]) -> None:
        """Keep a preview."""
        self.previews.append(show())

    async def submitted(self, provider_job_id: str) -> None:
        """Keep a receipt."""
        self.receipts.append(provider_job_id)
        self.on_receipt(len(self.receipts))
        if self.hold == len(self.receipts):
            await asyncio.Event().wait()

    @property
    def receipt(self) -> str | None:
        """Return the last receipt, as a resumed job has it."""
        return (self.receipts[-1] if self.receipts else "") or None


def request_for(model: str, *, picture: Image.Image | None = None, **options: Any) -> GenerationRequest:
    """Return an exact request."""
    given = RequestOptions.model_validate({"prompt": "a lighthouse at dusk", "seed": 7, "count": 1} | options)
    given = given.model_copy(update={"model": model})
    source = None if picture is None else InputPicture(key="inputs/a.png", width=picture.width, height=picture.height)
    return resolve(given, CATALOGUE, picture=source)


@dataclass
class Desk:
    """One vendor's stand-in and a provider before it."""

    case: Case
    standin: StandIn
    provider: HostedProvider
    patience: Patience

    def task(self, model: str | None = None, *, picture: Image.Image | None = None, **options: Any) -> DrawTask:
        """Return a job for ``model``, by default the case's first."""
        request = request_for(model or self.case.models[0], picture=picture, **options)
        return DrawTask(job_id="a", request=request, input_image=picture, publish=self.standin.publish)

    async def draw(self, task: DrawTask, watcher: Watcher | None = None) -> Drawing:
        """Draw; a call that hangs fails the test."""
        async with asyncio.timeout(LONG):
            return await self.provider.draw(task, watcher or Watcher())

    async def outcome(self, task: DrawTask, watcher: Watcher | None = None) -> Drawing | GenerationFailed:
        """Draw, and return the error where it ends in one."""
        try:
            return await self.draw(task, watcher)
        except GenerationFailed as error:
            return error

    @asynccontextmanager
    async def next_worker(self, patience: Patience | None = None) -> AsyncIterator[Desk]:
        """Serve as another worker would, with nothing kept but what is in the database."""
        async with provider_for(self.case, self.standin, patience or self.patience) as provider:
            yield Desk(self.case, self.standin, provider, patience or self.patience)


@asynccontextmanager
async def provider_for(
    case: Case, standin: StandIn, patience: Patience = PATIENT, **changed: Any
) -> AsyncIterator[HostedProvider]:
    """Serve a provider for ``standin``; ``changed`` goes over its access."""
    vendor = case.vendor(standin.access(case, **changed))
    provider = HostedProvider(vendor, per_minute=60_000, links=True, patience=patience)
    try:
        yield provider
    finally:
        await provider.close()


@asynccontextmanager
async def desk_for(case: Case, patience: Patience = PATIENT) -> AsyncIterator[Desk]:
    """Serve a stand-in and a provider before it."""
    async with case.standin() as standin, provider_for(case, standin, patience) as provider:
        yield Desk(case, standin, provider, patience)


KEYS = {StandIn.key, *(case.standin.key for case in all_cases())}


@pytest.fixture(autouse=True)
def no_key_in_the_log(caplog: pytest.LogCaptureFixture) -> Iterable[None]:
    """Fail where a log line, however detailed, shows the key."""
    caplog.set_level(logging.DEBUG)
    yield
    # What caplog itself shows by now is the teardown alone.
    lines = [caplog.handler.format(record) for when in ("setup", "call") for record in caplog.get_records(when)]
    for key in KEYS:
        assert not any(key in line for line in lines), "the key is in the log"


def assert_key_unsaid(error: BaseException) -> None:
    """Fail where an error, its facts or what led to it show the key."""
    told = "".join(traceback.format_exception(error)) + repr(error) + repr(getattr(error, "facts", ""))
    assert StandIn.key not in told


def looks_like(image: Image.Image, seed: int) -> bool:
    """Say whether a picture is flat in the colour of ``seed``, as far as lossy formats keep it."""
    found = image.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    assert isinstance(found, tuple)
    return all(abs(a - b) <= 6 for a, b in zip(found, colour_of(seed), strict=True))


@pytest.fixture(params=[pytest.param(case, id=case.id) for case in all_cases()])
def case(request: pytest.FixtureRequest) -> Case:
    """Every vendor, in each of its modes."""
    found: Case = request.param
    return found


@pytest.fixture
async def desk(case: Case) -> AsyncIterator[Desk]:
    """A vendor that answers."""
    async with desk_for(case) as found:
        yield found
