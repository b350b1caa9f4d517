"""A provider as one worker uses it: input fetched, a turn for each drawing, its time limited, its progress told."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from io import BytesIO

from PIL import Image
from structlog.contextvars import bind_contextvars

from flux_core.batching import shape_of
from flux_core.database.queue import JobQueue
from flux_core.errors import DrawingBroken, InputGone, PictureGone, StorageUnavailable, TimedOut
from flux_core.generation import InputPicture
from flux_core.images.store import PictureStore
from flux_core.insistence import insist
from flux_core.jobs import Job
from flux_core.metrics import definitions as m
from flux_core.models import Mode
from flux_core.providers.base import Drawing, DrawsTogether, DrawTask, Fetches, Prepares, Provider
from flux_core.worker.assignment import Assignment, Phase

log = logging.getLogger(__name__)

LINK_SECONDS = 3600.0
"""How long a provider may fetch a picture to start from."""


Outcome = tuple[Drawing, float] | Exception
"""A drawing with its seconds, or why there is none."""


class Company:
    """Jobs that are drawn side by side, or one by itself. Made in the event loop."""

    def __init__(self, members: Sequence[Assignment]) -> None:
        """Bring ``members`` together, of one shape."""
        self.members = members
        self.units = sum(member.job.request.work for member in members)
        self.pictures = sum(member.job.request.count for member in members)
        self.measured = False
        """Whether the time of the drawing was kept, or will not be."""
        self._outcomes: dict[str, asyncio.Future[Outcome]] = {
            member.job.id: asyncio.get_running_loop().create_future() for member in members
        }

    async def outcome(self, held: Assignment) -> tuple[Drawing, float]:
        """Return the drawing of one of them with its seconds, or raise why there is none."""
        outcome = await self._outcomes[held.job.id]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def tell(self, held: Assignment, outcome: Outcome) -> None:
        """Tell one of them what came of it, unless nobody listens any more."""
        if not (known := self._outcomes[held.job.id]).done():
            known.set_result(outcome)


class Turn:
    """The right to draw: of those who are still wanted, until they need the engine no longer."""

    def __init__(self, going: list[Assignment], free: Callable[[], None]) -> None:
        """Begin the turn of ``going``; ``free`` gives it on."""
        self.going = going
        self._free: Callable[[], None] | None = free

    def end(self) -> None:
        """Let the next one begin. More than once does no harm."""
        if (free := self._free) is not None:
            self._free = None
            for held in self.going:
                held.leave_engine()
            free()


class Easel:
    """Where a worker has its jobs drawn."""

    def __init__(
        self, provider: Provider, queue: JobQueue, pictures: PictureStore, *, job_timeout: float, measures: bool
    ) -> None:
        """Draw with ``provider``, each drawing within ``job_timeout`` seconds.

        ``measures``: whether to keep how fast it draws by the number of pictures at once.
        """
        self._provider = provider
        self._queue = queue
        self._pictures = pictures
        self._job_timeout = job_timeout
        self._measures = measures
        self._free = asyncio.Semaphore(provider.concurrency)

    async def draw(self, held: Assignment) -> tuple[Drawing, float]:
        """Draw one job by itself; return the drawing and the seconds it took, and raise what the provider raises."""
        await self._have_files(held)
        task = await self._task(held.job)
        async with self._turn(held) as turn:
            m.COMPANY.labels(held.job.request.model).observe(1)
            drawing = await self._provider.draw(replace(task, let_next=turn.end), held)
            return drawing, held.drawing_seconds

    async def draw_together(self, company: Company) -> None:
        """Draw several jobs side by side and tell each what came of it. None of them starts from a picture."""
        assert isinstance(self._provider, DrawsTogether)
        bind_contextvars(jobs=", ".join(held.job.id for held in company.members))  # it is a task of its own
        outcomes: list[Outcome] = []
        try:
            await self._have_files(*company.members)
            tasks = {held.job.id: await self._task(held.job) for held in company.members}
        except Exception as error:
            for held in company.members:
                company.tell(held, error)  # else each would wait for ever
            return
        async with self._turn(*company.members) as turn:
            if going := turn.going:
                m.COMPANY.labels(going[0].job.request.model).observe(len(going))
                theirs = [replace(tasks[held.job.id], let_next=turn.end) for held in going]
                try:
                    drawings = await self._provider.draw_together(theirs, going)
                except Exception as error:
                    log.exception("%d jobs drawn together broke", len(going))
                    drawings = [DrawingBroken(f"{type(error).__name__}: {error}")] * len(going)
                seconds = max(held.drawing_seconds for held in going)
                outcomes = [one if isinstance(one, Exception) else (one, seconds) for one in drawings]
        whole = [outcome for outcome in outcomes if not isinstance(outcome, Exception)]
        company.measured = len(whole) < len(company.members)  # what it took is not what all of them would take
        for held, outcome in zip(going, outcomes, strict=True):
            company.tell(held, outcome)

    async def measure(self, held: Assignment, company: Company, mode: Mode) -> None:
        """Keep how long a job kept others waiting: its part of the time of its company, so that all work adds up.

        ``mode``: the one it was drawn in, which says how much work there was.
        """
        request, seconds = held.job.request, held.engine_seconds
        part = seconds * request.work / company.units
        offer = self._provider.offers.get(request.model)
        shape, work = shape_of(request), request.megapixel_steps * (mode.work if offer is None else offer.effort(mode))
        with suppress(StorageUnavailable):
            await self._queue.record_speed(self._provider.name, request.model, work, part)
            if self._measures and shape is not None and mode is request.mode and not company.measured:
                company.measured = True
                await self._queue.record_pace(self._provider.device, shape, company.pictures, company.units, seconds)

    @asynccontextmanager
    async def _turn(self, *helds: Assignment) -> AsyncIterator[Turn]:
        """Wait for a free place, then let the time of those run who are still wanted, and tell how far they are."""
        limits: list[asyncio.TimerHandle] = []
        reports: list[asyncio.Task[None]] = []
        await self._free.acquire()
        turn = Turn([held for held in helds if held.verdict is None], self._free.release)
        try:
            for held in turn.going:
                held.phase = Phase.DRAWING
                late = TimedOut(seconds=self._job_timeout)
                limits.append(asyncio.get_running_loop().call_later(self._job_timeout, held.stop, late))
                reporting = held.report(self._pictures)
                reports.append(asyncio.create_task(reporting, name=f"report {held.job.id}"))
            yield turn
        finally:
            turn.end()
            for limit in limits:
                limit.cancel()
            for held in helds:
                held.drawn()
            if reports:  # outside of the engine's turn: the next drawing begins meanwhile
                await asyncio.wait(reports)

    # What a drawing starts from

    async def _have_files(self, *helds: Assignment) -> None:
        """Bring what the provider lacks for jobs of one shape, while it draws others."""
        request = helds[0].job.request
        if not isinstance(self._provider, Fetches) or self._provider.has_files(request):
            return
        for held in helds:
            held.let_others()
        await self._provider.fetch(request)
        for held in helds:
            held.phase = Phase.PREPARING

    async def _task(self, job: Job) -> DrawTask:
        task = DrawTask(
            job_id=job.id,
            request=job.request,
            input_image=await self._input(job.request.input_picture),
            input_mask=await self._input(job.request.input_mask),
            provider_job_id=job.provider_job_id if job.provider == self._provider.name else None,
            publish=self._publish if self._pictures.has_links else None,
        )
        if isinstance(self._provider, Prepares):
            await self._provider.prepare(task)
        return task

    async def _input(self, picture: InputPicture | None) -> Image.Image | None:
        if picture is None:
            return None
        key = picture.key
        try:
            data = await insist(lambda: self._pictures.get(key))
        except PictureGone:
            raise InputGone("The picture to start from was deleted.") from None
        return await asyncio.to_thread(lambda: Image.open(BytesIO(data)).convert("RGB"))

    async def _publish(self, data: bytes, content_type: str) -> str:
        """Keep a picture as an upload that no job starts from: maintenance lets go of it after a day."""
        key = f"inputs/{hashlib.sha256(data).hexdigest()}-link"
        await insist(lambda: self._queue.note_input(key))
        await insist(lambda: self._pictures.put(key, data, content_type))
        return await self._pictures.link(key, LINK_SECONDS)
