"""The one seam between the worker and whoever draws the pictures."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from PIL import Image
from prometheus_client.registry import Collector

from flux_core.generation import GenerationRequest
from flux_core.models import Mode
from flux_core.offers import Offer


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawTask:
    """What a provider needs to know of a job."""

    job_id: str
    request: GenerationRequest
    input_image: Image.Image | None = None
    """RGB, decoded from the request's input picture."""
    input_mask: Image.Image | None = None
    """RGB, decoded from the request's mask: white where the picture is painted anew."""
    provider_job_id: str | None = None
    """What the provider told ``Progress.submitted`` last, in an earlier attempt: resume that, do not submit again."""
    publish: Callable[[bytes, str], Awaitable[str]] | None = None
    """Puts bytes of a content type where a provider may fetch them for an hour; returns the URL. None: no such place.
    """
    since: float = field(default_factory=time.monotonic, compare=False)
    """When the worker took it up, on the monotonic clock."""
    let_next: Callable[[], None] | None = field(default=None, compare=False)
    """To be called, in the event loop, as soon as the next task may be begun though this one is not ended: what remains
    of it goes on beside the next. A provider that never calls it is done when its call ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One finished picture: RGB pixels and the seed it came from."""

    image: Image.Image
    seed: int
    flagged: bool = False
    """Whether the provider says that it is not for everybody, and gave it all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """What came of a task."""

    pictures: tuple[Drawn, ...]
    """In order, at least one; fewer than asked for when the provider held some back."""
    withheld: str | None = None
    """Why the provider held the others back, in plain words; None when none is missing."""
    from_words: bool = False
    """Whether the picture to start from was left aside, because the model here draws from words only."""
    microdollars: int | None = None
    """What the provider charged, where it tells or its price is known; millionths of a US dollar."""
    mode: Mode = Mode.QUALITY
    """The mode it was drawn in."""
    why_mode: str | None = None
    """Why that is not the one asked for: a part of a sentence, such as "the card computes in 16 bits"."""


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
        """Keep what the provider needs to resume the job, its own ids first; it is stored when this returns.

        From then on the job belongs to this provider alone. An empty text takes that back: nothing was submitted.
        Raises LeaseLost.
        """

    @property
    def cancelled(self) -> bool:
        """Whether nobody wants the drawing any more; a call that ends without this may be resumed elsewhere."""


class Provider(Protocol):
    """Draws requests. One provider serves one task at a time unless ``concurrency`` says otherwise."""

    name: str
    concurrency: int
    hosted: bool
    """Whether somebody else draws, for money: such a provider takes only jobs that the router sends it."""

    @property
    def device(self) -> str:
        """Return what it draws on, for people: a card's name, "cpu", a vendor's host."""

    @property
    def offers(self) -> Mapping[str, Offer]:
        """Return what it can draw: model id → operations, sizes, price."""

    @property
    def closed(self) -> str | None:
        """Return why it takes no jobs at the moment, for the operator; None while it does."""

    async def draw(self, task: DrawTask, progress: Progress) -> Drawing:
        """Draw all pictures of ``task``, in order.

        Raises a GenerationFailed that says why not, or whatever ``progress.step`` raised, within one step. Cancelling
        the call gives the drawing up: what still runs in a thread ends by itself, within one step.
        """

    async def close(self) -> None:
        """Give memory and connections back."""


@runtime_checkable
class Measured(Protocol):
    """What a provider can have besides that tells something of what it draws on."""

    @property
    def gauges(self) -> Collector:
        """Return what is read when somebody asks for metrics (``flux_core.metrics.definitions``)."""


@runtime_checkable
class Loads(Protocol):
    """What a provider can have besides that has to bring a model into memory before it draws with it."""

    @property
    def loaded(self) -> Set[str]:
        """Return the models that are there now."""


@runtime_checkable
class DrawsTogether(Protocol):
    """What a provider can do besides that draws several tasks faster together than one after the other."""

    async def draw_together(
        self, tasks: Sequence[DrawTask], progresses: Sequence[Progress]
    ) -> Sequence[Drawing | Exception]:
        """Draw tasks of one shape (``flux_core.batching``) side by side.

        Returns for each what ``draw`` would return or raise: one that is stopped, or fails by itself, leaves the others
        alone, and what fails for all is tried once more, each by itself. Cancelling the call gives all of them up.
        """


@runtime_checkable
class Prepares(Protocol):
    """What a provider can do besides that does part of a task before its turn comes."""

    async def prepare(self, task: DrawTask) -> None:
        """Do what can be done while another task is drawn. Whatever fails is left to the drawing itself."""


@runtime_checkable
class Fetches(Protocol):
    """What a provider can do besides that may have to bring files from elsewhere before it can draw a request."""

    def has_files(self, request: GenerationRequest) -> bool:
        """Say whether all is here; at once."""

    async def fetch(self, request: GenerationRequest) -> None:
        """Bring what is missing, while others are drawn; raises the GenerationFailed that says why it cannot be had."""


@runtime_checkable
class WarmsUp(Protocol):
    """What a provider can do besides whose first drawing with a model would take longer than those after it."""

    async def warm_up(self, model: str) -> None:
        """Have a model ready before anybody asks for it. Raises what ``draw`` would where it cannot be."""
