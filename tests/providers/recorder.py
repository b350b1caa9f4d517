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
    receipts: list[str] = field(default_factory=list)
    """What the provider wants to be reminded of, in order."""
    cancelled: bool = False

    def step(self, done: int, total: int) -> None:
        self.steps.append((done, total))
        if self.error is not None and done == self.stop:
            raise self.error

    def preview(self, show: Callable[[], Image.Image]) -> None:
        self.previews.append(show())

    async def submitted(self, provider_job_id: str) -> None:
        self.receipts.append(provider_job_id)
