"""The engine before a vendor that does as it is told, and a job that remembers its receipts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from PIL import Image

from flux_core.generation import GenerationRequest
from flux_core.providers.base import Drawing, DrawTask
from flux_core.providers.hosted.http import Patience
from flux_core.providers.hosted.provider import HostedProvider
from flux_core.providers.hosted.receipt import State, parse
from tests.providers.hosted.sketch import (
    HASTY,
    SketchStandIn,
    SketchVendor,
    asked_for,
    sketch,
)
from tests.providers.recorder import Recorder

BLUE = Image.new("RGB", (512, 300), (0, 0, 255))


@dataclass
class Job(Recorder):
    """A Progress with a row: it remembers the receipt, and may be stopped or fail at a certain write."""

    on_write: Callable[[str], None] = lambda text: None
    failures: list[Exception | None] = field(default_factory=list)

    async def submitted(self, provider_job_id: str) -> None:
        await asyncio.sleep(0)
        if self.failures and (failure := self.failures.pop(0)) is not None:
            raise failure
        await super().submitted(provider_job_id)
        self.on_write(provider_job_id)

    @property
    def receipt(self) -> str | None:
        return self.receipts[-1] if self.receipts else None

    def states(self, shots: int) -> list[State]:
        assert self.receipt is not None
        return parse(self.receipt, shots)


@asynccontextmanager
async def provider_of(
    standin: SketchStandIn,
    kind: type[SketchVendor] = SketchVendor,
    *,
    patience: Patience = HASTY,
    access: dict[str, Any] | None = None,
    **settings: Any,
) -> AsyncIterator[HostedProvider]:
    provider = HostedProvider(sketch(standin, kind, **(access or {})), patience=patience, **settings)
    try:
        yield provider
    finally:
        await provider.close()


@pytest.fixture
async def standin() -> AsyncIterator[SketchStandIn]:
    async with SketchStandIn() as standin:
        yield standin


@pytest.fixture
async def provider(standin: SketchStandIn) -> AsyncIterator[HostedProvider]:
    async with provider_of(standin) as provider:
        yield provider


def task(count: int = 1, *, receipt: str | None = None, image: Image.Image | None = None, **options: Any) -> DrawTask:
    request: GenerationRequest = asked_for(count, picture=image is not None, **options)
    return DrawTask(job_id="j", request=request, input_image=image, provider_job_id=receipt)


def seeds(drawing: Drawing) -> list[int]:
    return [picture.seed for picture in drawing.pictures]
