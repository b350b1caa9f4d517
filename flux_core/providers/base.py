"""The one seam between the worker and whoever draws the pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from PIL import Image

from flux_core.generation import GenerationRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawTask:
    """What a provider needs to know of a job."""

    job_id: str
    request: GenerationRequest
    input_image: Image.Image | None = None
    """RGB, decoded from the request's input picture."""
    provider_job_id: str | None = None
    """The provider's own id from an earlier attempt: resume it, do not submit again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One finished picture: RGB pixels and the seed it came from."""

    image: Image.Image
    seed: int


class Progress(Protocol):
    """How a provider tells what it does. ``step`` and ``preview`` may be called from any thread and return at once."""

    def step(self, done: int, total: int) -> None:
        """Tell that ``done`` of ``total`` steps are drawn; raises Cancelled or LeaseLost when nobody wants the rest.

        ``done`` = 0 tells that the drawing itself begins: loading a model before it does not count as drawing time.
        """

    def preview(self, show: Callable[[], Image.Image]) -> None:
        """Offer an RGB picture of where the drawing stands; ``show`` is called at once, or never where none is wanted.

        The picture may be as small as an eighth of the final one: whoever shows it scales it.
        """

    async def submitted(self, provider_job_id: str) -> None:
        """Keep the provider's own id; it is stored when this returns. Raises LeaseLost."""


class Provider(Protocol):
    """Draws requests. One provider serves one task at a time unless ``concurrency`` says otherwise."""

    name: str
    concurrency: int

    @property
    def device(self) -> str:
        """Return what it draws on, for people: a card's name, "cpu", a vendor's host."""

    @property
    def models(self) -> Sequence[str]:
        """Return the ids of the models it can draw."""

    async def draw(self, task: DrawTask, progress: Progress) -> list[Drawn]:
        """Draw all pictures of ``task``, in order.

        Raises a GenerationFailed that says why not, or whatever ``progress.step`` raised, within one step. Cancelling
        the call gives the drawing up: what still runs in a thread ends by itself, within one step.
        """

    async def close(self) -> None:
        """Give memory and connections back."""
