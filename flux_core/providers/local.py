"""Draw on this machine: steps in one engine thread, words and pixels in others beside it."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import ParamSpec, TypeVar

from PIL import Image

from flux_core.catalogue import Catalogue
from flux_core.downloads import comes_from_hub
from flux_core.errors import Cancelled
from flux_core.generation import GenerationRequest
from flux_core.gpu.card import Card
from flux_core.gpu.descent import Descent
from flux_core.gpu.developing import needs_mending
from flux_core.gpu.device import choose_device, settle, title
from flux_core.gpu.drawing import Flawed, Outcome, Piece
from flux_core.gpu.engine import STALL_SECONDS, Engine
from flux_core.gpu.rehearsal import Programme, rehearse
from flux_core.models import Mode, ModelSpec
from flux_core.offers import Offer, own_offers
from flux_core.providers.base import Drawing, Drawn, DrawTask, Progress
from flux_core.router import LOCAL
from flux_core.worker.watchdog import Watchdog

log = logging.getLogger(__name__)

FETCHED_AT_ONCE = 2
"""Models and LoRAs that are fetched from the hub at the same time."""
P = ParamSpec("P")
T = TypeVar("T")


class LocalProvider:
    """The studio's own GPU or CPU. A model is loaded when it is first asked for and stays."""

    name = LOCAL
    concurrency = 1
    hosted = False
    closed: str | None = None

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        device: str = "auto",
        threads: int = 0,
        hub_token: str | None = None,
        watchdog: Watchdog | None = None,
        stall_seconds: float = STALL_SECONDS,
        profile: str = "auto",
    ) -> None:
        """Choose the device; raises ConfigurationError when it is not here. 0 ``threads`` leaves them to torch.

        ``profile``: GPU_PROFILE; raises ConfigurationError for one that the device cannot do.
        ``watchdog`` learns of every step; each may take ``stall_seconds`` at least.
        """
        self._catalogue = catalogue
        self._watchdog = watchdog or Watchdog()
        self._engine = Engine(
            choose_device(device),
            hub_token=hub_token,
            watchdog=self._watchdog,
            stall_seconds=stall_seconds,
            profile=profile,
            loras=catalogue.loras,
        )
        self._offers = own_offers(catalogue, self._engine.profiles.modes)
        self._in_hand = 0
        """Drawings and models that somebody waits for."""
        self._idle = asyncio.Event()
        """Set while there are none."""
        self._idle.set()
        self._fetched: set[str] = set()
        """Models whose weights were found on the disk, or brought there."""
        self._programme = Programme(self._engine)
        self._rehearsing: asyncio.Task[None] | None = None

        def thread(name: str) -> ThreadPoolExecutor:
            # Torch's thread count and its current card belong to the thread that sets them.
            return ThreadPoolExecutor(
                1, thread_name_prefix=name, initializer=settle, initargs=(self._engine.device, threads)
            )

        # Pipelines share a scheduler and are not thread-safe: whatever takes steps does so in one thread.
        self._drawing, self._reading, self._developing = thread("engine"), thread("words"), thread("pixels")
        self._fetching = ThreadPoolExecutor(FETCHED_AT_ONCE, thread_name_prefix="files")

    @property
    def device(self) -> str:
        """Return the device's name for people."""
        return title(self._engine.device)

    @property
    def profiles(self) -> Descent:
        """Return how each model is held at the moment."""
        return self._engine.profiles

    @property
    def offers(self) -> Mapping[str, Offer]:
        """Return every model whose weights are configured; within its bounds, our own cards draw all of it."""
        fallen = {id: self.profiles.fallen(self._catalogue[id]) for id in self._offers}
        return {
            id: offer if (profile := fallen[id]) is None else offer.model_copy(update={"leaner": profile.name})
            for id, offer in self._offers.items()
        }

    @property
    def loaded(self) -> Set[str]:
        """Return the models that are in memory."""
        # The engine may hold one in a leaner way, and says so behind its id.
        return frozenset(held.partition(" ")[0] for held in self._engine.loaded)

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

    def has_files(self, request: GenerationRequest) -> bool:
        """Say whether the weights are here, and the LoRA that ``request`` names."""
        if request.model not in self._fetched and comes_from_hub(self._catalogue[request.model]):
            return False
        return request.lora is None or not request.lora.weight or self._engine.loras.has(request.lora.name)

    async def fetch(self, request: GenerationRequest) -> None:
        """Bring the weights, and the LoRA that ``request`` names, so that the engine waits for no hub.

        Raises ModelUnavailable or LoraUnusable.
        """
        await self._fetch_weights(self._catalogue[request.model])
        if request.lora is not None and request.lora.weight:
            loras = self._engine.loras
            await _in(self._fetching, loras.find, loras.named(request.lora.name, request.model))

    async def _fetch_weights(self, spec: ModelSpec) -> None:
        if comes_from_hub(spec):
            await _in(self._fetching, self._engine.models.fetch, spec)
            self._fetched.add(spec.id)

    async def prepare(self, task: DrawTask) -> None:
        """Read the words of ``task``, where its model is in memory and has room for that beside its drawing."""
        spec = self._catalogue[task.request.model]
        try:
            await _in(self._reading, self._engine.read, spec, task.request.prompt, task.request.mode)
        except Exception as error:
            log.warning("The words of job %s are read when its turn comes: %s", task.job_id, error)

    async def warm_up(self, model: str) -> None:
        """Load ``model``; then rehearse all its modes in the background, whenever nobody waits for anything else."""
        spec = self._catalogue[model]
        await self._fetch_weights(spec)
        with self._wanted():
            await _in(self._drawing, self._engine.load, spec)
        self._programme.add(spec)
        if self._rehearsing is None or self._rehearsing.done():
            self._rehearsing = asyncio.create_task(self._rehearse(), name="rehearsals")

    async def _rehearse(self) -> None:
        while (one := self._programme.next) is not None:
            await self._idle.wait()
            try:
                works = await _in(self._drawing, rehearse, self._engine, one, is_wanted=lambda: self._in_hand == 0)
            except Exception:  # which is no reason to let the worker end: a real drawing tells its member
                log.exception("%s cannot be rehearsed in %s", one.spec.id, one.request.mode)
                works = False
            if works is not None:
                self._programme.done(one, works=works)

    @contextmanager
    def _wanted(self) -> Iterator[None]:
        """Let whatever is only rehearsed wait."""
        self._in_hand += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._in_hand -= 1
            if not self._in_hand:
                self._idle.set()

    async def _draw(self, tasks: Sequence[DrawTask], progresses: Sequence[Progress]) -> list[Drawing | Exception]:
        spec = self._catalogue[tasks[0].request.model]
        watched = [_GivenUp(progress) for progress in progresses]
        pieces = [
            Piece(task.request, task.input_image, one, task.input_mask)
            for task, one in zip(tasks, watched, strict=True)
        ]
        with self._wanted():
            try:
                outcomes = await self._in_stages(spec, tasks, pieces)
            except asyncio.CancelledError:
                for one in watched:
                    one.given_up.set()
                raise
        return [
            outcome if isinstance(outcome, Exception) else await _finished(outcome, task, spec, mode, why)
            for (outcome, mode, why), task in zip(outcomes, tasks, strict=True)
        ]

    async def _in_stages(
        self, spec: ModelSpec, tasks: Sequence[DrawTask], pieces: Sequence[Piece]
    ) -> list[tuple[Outcome, Mode, str | None]]:
        """Take the steps in the engine's thread, and decode in another one while the next task has that.

        Returns with each outcome the mode it was drawn in, and why that is not the one asked for.
        """
        wanted = tasks[0].request.mode
        since = min(task.since for task in tasks)
        sketch = await _in(self._drawing, partial(self._engine.denoise, spec, pieces, since=since))
        if not sketch.beside:
            outcomes = await _in(self._drawing, self._engine.develop, sketch)
        for task in tasks:
            if task.let_next is not None:
                task.let_next()
        if sketch.beside:
            outcomes = await _in(self._developing, self._engine.develop, sketch)
        first = outcomes
        if any(map(needs_mending, first)):
            outcomes = await _in(self._drawing, self._engine.mend, sketch, first)
        return [
            (outcome, *self._manner(spec, wanted, sketch.mode, before))
            for outcome, before in zip(outcomes, first, strict=True)
        ]

    def _manner(self, spec: ModelSpec, wanted: Mode, drawn: Mode, first: Outcome) -> tuple[Mode, str | None]:
        """Return the mode of a piece and why it is not the one that was wanted; ``first``: what came out at first."""
        profiles = self._engine.profiles
        safe = profiles.standing(spec, Mode.QUALITY).mode
        if isinstance(first, Flawed) and safe is not wanted:
            return safe, f"the first try, in {wanted}, was no picture"
        mode = profiles.standing(spec, wanted).mode if needs_mending(first) else drawn
        return mode, None if mode is wanted else profiles.why(spec, wanted)

    async def close(self) -> None:
        """Unload every model, once the step in progress is over, and what goes on beside it."""
        with self._wanted():  # whatever is only rehearsed ends
            if self._rehearsing is not None:
                self._rehearsing.cancel()
            await _in(self._drawing, self._engine.unload)
        # Python waits for its threads when it ends, for ever where one hangs: better here, where somebody counts.
        every = self._drawing, self._reading, self._developing, self._fetching
        await asyncio.gather(*(asyncio.to_thread(threads.shutdown) for threads in every))
        self._watchdog.close()


async def _in(thread: ThreadPoolExecutor, work: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """Return what ``work`` returns there, in our context: what it logs names the job."""
    call = partial(contextvars.copy_context().run, work, *args, **options)
    return await asyncio.get_running_loop().run_in_executor(thread, call)


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
        return self.given_up.is_set() or self._progress.cancelled


async def _finished(images: list[Image.Image], task: DrawTask, spec: ModelSpec, mode: Mode, why: str | None) -> Drawing:
    if spec.enlarge > 1:
        images = await asyncio.to_thread(_enlarged, images, spec)
    return Drawing(
        pictures=tuple(Drawn(image=image, seed=seed) for image, seed in zip(images, task.request.seeds, strict=True)),
        mode=mode,
        why_mode=why,
    )


def _enlarged(images: list[Image.Image], spec: ModelSpec) -> list[Image.Image]:
    # Imported here: only flux-tiny is drawn smaller than it is shown.
    from flux_core.tiny.enlarge import enlarge

    return [enlarge(image, spec.enlarge) for image in images]
