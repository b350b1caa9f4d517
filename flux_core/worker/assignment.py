"""One job in a worker's hands: how far it is, whether it is still wanted, and what others get to see of it."""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import Awaitable, Callable
from enum import Enum, auto

from PIL import Image
from structlog.contextvars import bind_contextvars

from flux_core.database.queue import JobQueue
from flux_core.errors import Cancelled, StorageUnavailable, TimedOut
from flux_core.images.encoding import encode_preview
from flux_core.images.store import PictureStore
from flux_core.images.threads import in_picture_thread
from flux_core.insistence import insist
from flux_core.jobs import Job
from flux_core.metrics import definitions as m
from flux_core.router import LOCAL
from flux_core.waiting import happened

log = logging.getLogger(__name__)

REPORT_SECONDS = 0.25
"""Least time between two writes about one job; what happens between them is summed up by the next."""


class Phase(Enum):
    """What a worker does with a job."""

    FETCHING = auto()
    """Files that it needs are brought from elsewhere: others are drawn meanwhile."""
    PREPARING = auto()
    """Its input is fetched; it waits for its turn on the engine."""
    DRAWING = auto()
    FINISHING = auto()
    """Its pictures are encoded and stored while the engine draws the next job."""


class Assignment:
    """A claimed job. It is the provider's ``Progress`` for that job, so its methods are called from any thread."""

    def __init__(
        self,
        job: Job,
        *,
        queue: JobQueue,
        worker_id: str,
        provider: str,
        preview_every: int,
        on_step: Callable[[], None],
        shows_previews: Callable[[Job], Awaitable[bool]] | None = None,
    ) -> None:
        """Hold ``job``; ``on_step`` is called in the event loop after each step. Made in the event loop.

        ``shows_previews`` is asked with the first preview whether the job may have any; None: it may.
        """
        self.job = job
        self.phase = Phase.PREPARING
        self.verdict: Exception | None = None
        """Why the drawing has to stop."""
        self.stopped = asyncio.Event()
        self._queue = queue
        self._worker_id = worker_id
        self._provider = provider
        self._preview_every = preview_every
        self._on_step = on_step
        self._shows_previews = shows_previews
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._news = asyncio.Event()
        self._over = asyncio.Event()
        self._done, self._total = 0, 0
        self._began: float | None = None
        self._last_step = 0.0
        self._left_engine: float | None = None
        self._preview: Image.Image | None = None

    @property
    def half_drawn(self) -> bool:
        """Whether at least half of the steps are drawn."""
        return self._total > 0 and self._done * 2 >= self._total

    @property
    def drawing_seconds(self) -> float:
        """Return how long the drawing has taken so far, loading of models apart."""
        return 0.0 if self._began is None else time.monotonic() - self._began

    @property
    def engine_seconds(self) -> float:
        """Return how long it kept the next drawing waiting, loading of models apart."""
        if self._began is None:
            return 0.0
        return (time.monotonic() if self._left_engine is None else self._left_engine) - self._began

    def let_others(self) -> None:
        """Note that it waits for files, and that its worker may take another job for the while."""
        self.phase = Phase.FETCHING
        self._on_step()

    def leave_engine(self) -> None:
        """Note that the next drawing may begin."""
        if self._left_engine is None:
            self._left_engine = time.monotonic()

    def stop(self, verdict: Exception) -> None:
        """Stop the drawing; it ends with ``verdict``. The first verdict counts."""
        if self.verdict is None:
            self.verdict = verdict
            self.stopped.set()

    # Progress

    def step(self, done: int, total: int) -> None:
        """Take note of a step; raises the verdict when there is one."""
        if self.verdict is not None:
            raise self.verdict
        now = time.monotonic()
        if self._began is None:
            self._began = now
        elif self._provider == LOCAL and done == self._done + 1:  # not what hosted providers call a step
            m.STEP.labels(self.job.request.model).observe(now - self._last_step)
        self._last_step = now
        self._done, self._total = done, total
        if threading.get_ident() == self._thread:
            self._tell()
        else:
            self._loop.call_soon_threadsafe(self._tell)

    def preview(self, show: Callable[[], Image.Image]) -> None:
        """Take a preview every few steps, unless the one before has not been shown yet."""
        if self._preview_every == 0 or self._done % self._preview_every or self._done >= self._total:
            return
        if self._preview is None:
            self._preview = show()
            self._loop.call_soon_threadsafe(self._tell)

    async def submitted(self, provider_job_id: str) -> None:
        """Store what the provider needs to resume before anything else happens; raises LeaseLost, StorageUnavailable.

        What is paid for must not be forgotten, so a storage that is away is waited for.
        """
        await insist(lambda: self._queue.submitted(self._worker_id, self.job.id, self._provider, provider_job_id))

    @property
    def cancelled(self) -> bool:
        """Whether nobody wants the drawing any more: its member cancelled it, or its time is up."""
        return isinstance(self.verdict, Cancelled | TimedOut)

    def _tell(self) -> None:
        self._news.set()
        self._on_step()

    def drawn(self) -> None:
        """Let ``report`` end: there is nothing more to tell."""
        self._over.set()
        self._news.set()

    async def report(self, pictures: PictureStore) -> None:
        """Write progress and previews down until ``drawn``. The engine never waits for it.

        What it has begun it ends: a preview in the store that no job knows of would stay there for ever.
        """
        bind_contextvars(job=self.job.id)  # it is a task of its own
        while True:
            await self._news.wait()
            self._news.clear()
            if self._over.is_set():
                return
            try:
                await self._queue.progress(
                    self._worker_id, self.job.id, self._done, self._total, await self._stored_preview(pictures)
                )
            except StorageUnavailable as error:
                log.warning("The progress of job %s is not told: %s", self.job.id, error)
            await happened(self._over, REPORT_SECONDS)

    async def _stored_preview(self, pictures: PictureStore) -> str | None:
        if self._preview is None:
            return None
        try:
            preview = self._preview
            if self._shows_previews is not None and not await self._shows_previews(self.job):
                self._preview_every = 0
                return None
            self._shows_previews = None
            encoded = await in_picture_thread(lambda: encode_preview(preview))
            # No name is used twice, in no attempt: what a job no longer shows is deleted by name, some time later.
            key = f"previews/{self.job.id}/{secrets.token_hex(8)}.{encoded.extension}"
            await pictures.put(key, encoded.data, encoded.content_type)
        finally:
            self._preview = None
        return key
