"""Draw on this machine, in one engine thread of this process."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

from flux_core.errors import Cancelled
from flux_core.gpu.card import Card
from flux_core.gpu.device import choose_device, title, use_threads
from flux_core.gpu.engine import Engine, Piece
from flux_core.models import Catalogue, ModelSpec
from flux_core.offers import Offer, own_offers
from flux_core.providers.base import Drawing, Drawn, DrawTask, Progress
from flux_core.router import LOCAL

log = logging.getLogger(__name__)


class LocalProvider:
    """The studio's own GPU or CPU. A model is loaded when it is first asked for and stays."""

    name = LOCAL
    concurrency = 1
    hosted = False
    closed: str | None = None

    def __init__(
        self, catalogue: Catalogue, *, device: str = "auto", threads: int = 0, hub_token: str | None = None
    ) -> None:
        """Choose the device; raises ConfigurationError when it is not here. 0 ``threads`` leaves them to torch."""
        self._catalogue = catalogue
        self._engine = Engine(choose_device(device), hub_token=hub_token, loras=catalogue.loras)
        # Pipelines share a scheduler and are not thread-safe; torch's thread count belongs to the thread that sets it.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="engine", initializer=use_threads, initargs=(threads,))

    @property
    def device(self) -> str:
        """Return the device's name for people."""
        return title(self._engine.device)

    @property
    def offers(self) -> Mapping[str, Offer]:
        """Return every model whose weights are configured; within its bounds, our own cards draw all of it."""
        return own_offers(self._catalogue)

    @property
    def gauges(self) -> Card:
        """Return the memory and the work of the card, as metrics."""
        return Card(self._engine.device)

    async def draw(self, task: DrawTask, progress: Progress) -> Drawing:
        """Draw ``task`` in the engine thread and enlarge the pictures where that is part of the model."""
        (outcome,) = await self._draw([task], [progress])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def draw_together(
        self, tasks: Sequence[DrawTask], progresses: Sequence[Progress]
    ) -> Sequence[Drawing | Exception]:
        """Draw ``tasks`` in the engine thread side by side, or one after the other when that fails for all."""
        try:
            return await self._draw(tasks, progresses)
        except Exception as error:
            log.warning("%d jobs are drawn one by one: together, %s", len(tasks), error)
        return [await self._alone(task, progress) for task, progress in zip(tasks, progresses, strict=True)]

    async def _alone(self, task: DrawTask, progress: Progress) -> Drawing | Exception:
        try:
            return await self.draw(task, progress)
        except Exception as error:
            return error

    async def _draw(self, tasks: Sequence[DrawTask], progresses: Sequence[Progress]) -> list[Drawing | Exception]:
        spec = self._catalogue[tasks[0].request.model]
        watched = [_GivenUp(progress) for progress in progresses]
        pieces = [
            Piece(task.request, task.input_image, one, task.input_mask)
            for task, one in zip(tasks, watched, strict=True)
        ]
        try:
            # In our context, so that what the engine logs names the job.
            outcomes = await asyncio.get_running_loop().run_in_executor(
                self._thread, contextvars.copy_context().run, self._engine.draw_together, spec, pieces
            )
        except asyncio.CancelledError:
            for one in watched:
                one.given_up.set()
            raise
        return [
            outcome if isinstance(outcome, Exception) else await _finished(outcome, task, spec)
            for outcome, task in zip(outcomes, tasks, strict=True)
        ]

    async def close(self) -> None:
        """Unload every model, once the step in progress is over."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._engine.unload)
        self._thread.shutdown(wait=False)


class _GivenUp:
    """A Progress that stops the engine thread when the call it belongs to was cancelled."""

    def __init__(self, progress: Progress) -> None:
        self.given_up = threading.Event()
        self._progress = progress

    def step(self, done: int, total: int) -> None:
        if self.given_up.is_set():
            raise Cancelled("The drawing was given up.")
        self._progress.step(done, total)

    def preview(self, show: Callable[[], Image.Image]) -> None:
        self._progress.preview(show)

    async def submitted(self, provider_job_id: str) -> None:
        await self._progress.submitted(provider_job_id)

    @property
    def cancelled(self) -> bool:
        return self._progress.cancelled


async def _finished(images: list[Image.Image], task: DrawTask, spec: ModelSpec) -> Drawing:
    if spec.enlarge > 1:
        images = await asyncio.to_thread(_enlarged, images, spec)
    return Drawing(
        pictures=tuple(Drawn(image=image, seed=seed) for image, seed in zip(images, task.request.seeds, strict=True))
    )


def _enlarged(images: list[Image.Image], spec: ModelSpec) -> list[Image.Image]:
    # Imported here: only flux-tiny is drawn smaller than it is shown.
    from flux_core.tiny.enlarge import enlarge

    return [enlarge(image, spec.enlarge) for image in images]
