"""A tiny FLUX with random weights: real in structure, small enough to draw in a moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from PIL import Image

from flux_core.catalogue import Catalogue
from flux_core.errors import FluxError
from flux_core.generation import GenerationRequest, InputPicture, RequestOptions, resolve
from flux_core.gpu.engine import Engine
from flux_core.tiny.architecture import build_random


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Compute in one thread: several that wait for each other crawl on a machine busy with other things."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete diffusers folder."""
    return build_random(tmp_path_factory.mktemp("flux-tiny"), seed=0)


@pytest.fixture(scope="session")
def catalogue(tiny_folder: Path) -> Catalogue:
    """flux-tiny, and the same weights under flux-schnell's rules: no guidance, free sizes, no enlarging."""
    return Catalogue({"flux-tiny": str(tiny_folder), "flux-schnell": str(tiny_folder)}, default="flux-tiny")


@pytest.fixture(scope="session")
def engine() -> Engine:
    """One engine for all tests: what one drawing leaves behind must not matter to the next."""
    return Engine(torch.device("cpu"))


@pytest.fixture(scope="session")
def ask(catalogue: Catalogue) -> Callable[..., GenerationRequest]:
    """Make a request as a member would."""

    def make(*, picture: bool = False, **options: object) -> GenerationRequest:
        given = RequestOptions.model_validate({"prompt": "a red circle", "seed": 7, "steps": 4, "count": 1} | options)
        return resolve(given, catalogue, picture=InputPicture(key="x", width=60, height=60) if picture else None)

    return make


@dataclass
class Watcher:
    """A Progress that remembers, and can stop a drawing."""

    stop_at: int | None = None
    error: FluxError | None = None
    steps: list[tuple[int, int]] = field(default_factory=list)
    previews: list[Image.Image] = field(default_factory=list)
    cancelled: bool = False

    def step(self, done: int, total: int) -> None:
        self.steps.append((done, total))
        if self.error is not None and done == self.stop_at:
            raise self.error

    def preview(self, show: Callable[[], Image.Image]) -> None:
        self.previews.append(show())

    async def submitted(self, provider_job_id: str) -> None:
        raise AssertionError("A local drawing has no foreign id.")
