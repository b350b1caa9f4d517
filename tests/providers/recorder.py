"""A Progress that remembers, for any provider."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from PIL import Image

from flux_core.errors import FluxError


@dataclass
class Recorder:
    """Remembers steps and previews; ``stop`` raises ``error`` at that step."""

    stop: int | None = None
    error: FluxError | None = None
    steps: list[tuple[int, int]] = field(default_factory=list)
    previews: list[Image.Image] = field(default_factory=list)

    def step(self, done: int, total: int) -> None:
        self.steps.append((done, total))
        if self.error is not None and done == self.stop:
            raise self.error

    def preview(self, show: Callable[[], Image.Image]) -> None:
        self.previews.append(show())

    async def submitted(self, provider_job_id: str) -> None:
        raise AssertionError("Nothing here has a foreign id.")
