"""A worker: claim → fetch the input → draw → encode → store → finish, again and again.

While one job is drawn, the next is already claimed and prepared, and the one before is encoded and stored, so the
engine never waits for the database, the store or an encoder. Whatever happens to the worker, the database decides: a
job's result counts only while the worker still has its lease.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import platform
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from io import BytesIO
from typing import Any, TypeVar

from PIL import Image

from flux_core.assignment import Assignment, Phase
from flux_core.database.queue import JobQueue, WorkerInfo
from flux_core.errors import (
    Cancelled,
    DrawingBroken,
    GenerationFailed,
    InputGone,
    LeaseLost,
    ModelUnavailable,
    OutOfMemory,
    PictureGone,
    ProviderFault,
    StorageUnavailable,
    TimedOut,
)
from flux_core.finishing import store_pictures
from flux_core.generation import GenerationRequest
from flux_core.images.store import PictureStore
from flux_core.insistence import RETRY_SECONDS, insist
from flux_core.jobs import Job
from flux_core.providers.base import Drawing, DrawTask, Provider

log = logging.getLogger(__name__)

T = TypeVar("T")

BEATS_PER_LEASE = 3
LOOK_SECONDS = 0.1
"""Least time between two looks for cancelled jobs: bursts of other processes' writes are taken together."""
POLL_SECONDS = 5.0
"""Look for work this often even when nobody tells of a change."""
LAST_WORD_SECONDS = 4.0
"""What a drawing that was given up gets to end: a hosted provider may be about to say under which name it has it."""
LINK_SECONDS = 3600.0
"""How long a provider may fetch a picture to start from."""
HELD_PER_SLOT = 4
"""Most jobs in a worker's hands per job drawn at once; more would only wait for a slow store."""


class HandedBack(Exception):
    """Tells an assignment that its worker stops and somebody else shall draw it."""


class Worker:
    """Draws jobs from the queue with one provider, until it is told to stop."""

    def __init__(
        self,
        queue: JobQueue,
        pictures: PictureStore,
        provider: Provider,
        *,
        worker_id: str,
        changed: Callable[[int | None, float], Awaitable[int]],
        lease_seconds: float,
        preview_every: int = 2,
        job_timeout: float = 1800.0,
        stop_seconds: float = 8.0,
        money_cap: int | None = None,
        tell_prompt: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Work as ``worker_id``; ``changed`` is ``Database.changed``.

        When stopped, a drawing gets ``stop_seconds`` to end before its job is handed back. ``money_cap``: the most
        that the provider may be paid a day, in millionths of a dollar. ``tell_prompt``: whether the files say which
        words they were drawn from.
        """
        self._queue = queue
        self._pictures = pictures
        self._provider = provider
        self._id = worker_id
        self._changed = changed
        self._lease_seconds = lease_seconds
        self._preview_every = preview_every
        self._job_timeout = job_timeout
        self._stop_seconds = stop_seconds
        self._money_cap = money_cap
        self._tell_prompt = tell_prompt
        self._clock = clock
        self._said: str | None = provider.closed
        """Why the provider takes no jobs, as others know it."""
        self._held: dict[str, Assignment] = {}
        self._jobs: set[asyncio.Task[None]] = set()
        self._engine = asyncio.Semaphore(provider.concurrency)
        self._wake = asyncio.Event()
        self._closing = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop``, then finish or hand back what is in hand, within a bound, and retire.

        Raises StorageUnavailable when the database cannot be reached in the beginning.
        """
        await self._queue.register(self._introduction())
        log.info("Worker %s draws %s with %s", self._id, ", ".join(self._provider.offers), self._provider.name)
        claims = asyncio.create_task(self._claim_jobs(), name="claims")
        watch = asyncio.create_task(self._watch_changes(), name="watch")
        beat = asyncio.create_task(self._beat(), name="heartbeat")
        loops = {claims, watch, beat}
        stopping = asyncio.create_task(stop.wait(), name="stop")
        try:
            # A loop ends only when something unforeseen broke it: then the worker ends as well, and is started anew.
            await asyncio.wait({stopping, *loops}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._closing.set()
            self._wake.set()
            await asyncio.wait({claims})  # never cancelled: a claim must not get lost on its way here
            await self._clear_desk()
            for task in (stopping, watch, beat):
                task.cancel()
            await asyncio.wait({stopping, watch, beat})
            with suppress(StorageUnavailable):
                await self._queue.retire(self._id)
        for task in loops:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    def _introduction(self) -> WorkerInfo:
        return WorkerInfo(
            id=self._id,
            host=platform.node(),
            pid=os.getpid(),
            device=self._provider.device,
            provider=self._provider.name,
            hosted=self._provider.hosted,
            offers=dict(self._provider.offers),
            closed=self._provider.closed,
            slots=self._provider.concurrency,
            links=self._pictures.has_links,
            money_cap=self._money_cap,
            started_at=self._clock(),
        )

    # Finding work

    async def _claim_jobs(self) -> None:
        failures = 0
        while not self._closing.is_set():
            self._wake.clear()
            try:
                while self._has_room() and not self._closing.is_set():
                    job = await self._claim()
                    if job is None:
                        break
                    self._begin(job)
                failures = 0
            except StorageUnavailable as error:
                log.warning("No work can be claimed: %s", error)
                await self._pause(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
                failures += 1
                continue
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), POLL_SECONDS)

    async def _claim(self) -> Job | None:
        if self._provider.hosted:
            # Said at once, not with the next heartbeat: a closed provider gets only what it was paid for already.
            if self._provider.closed != self._said:
                self._said = self._provider.closed
                await self._queue.beat(self._id, closed=self._said)
            return await self._queue.claim_hosted(self._id)
        return await self._queue.claim(self._id, list(self._provider.offers))

    def _has_room(self) -> bool:
        """Whether to claim another job.

        One for every free place on the engine, and one more for every drawing that is past its half: earlier, the job
        is better off with a worker that is free. A hosted provider has no engine to keep busy: nothing waits for it
        here that somebody else might begin.
        """
        slots = self._provider.concurrency
        if len(self._held) >= slots * HELD_PER_SLOT:
            return False
        ahead = [held for held in self._held.values() if held.phase is not Phase.FINISHING]
        soon = 0 if self._provider.hosted else sum(held.phase is Phase.DRAWING and held.half_drawn for held in ahead)
        return len(ahead) < slots + soon

    def _begin(self, job: Job) -> None:
        held = Assignment(
            job,
            queue=self._queue,
            worker_id=self._id,
            provider=self._provider.name,
            preview_every=self._preview_every,
            # Half a drawing done is a reason to fetch the next job, but not for a hosted provider (see `_has_room`).
            on_step=_nothing if self._provider.hosted else self._wake.set,
        )
        self._held[job.id] = held
        task = asyncio.create_task(self._work_on(held), name=f"job {job.id}")
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)

    # Keeping in touch

    async def _watch_changes(self) -> None:
        """Notice at once when somebody submits or cancels."""
        version: int | None = None
        while True:
            try:
                version = await self._changed(version, POLL_SECONDS)
                self._wake.set()
                if asked := dict(self._held):
                    self._obey(await self._queue.wanted(self._id, list(asked)), asked)
                    await asyncio.sleep(LOOK_SECONDS)
            except StorageUnavailable as error:
                log.warning("Changes cannot be watched: %s", error)
                await asyncio.sleep(RETRY_SECONDS[-1])

    async def _beat(self) -> None:
        """Keep the leases; jobs whose lease ran out unrenewed are somebody else's by now."""
        renewed = time.monotonic()
        while True:
            asked = dict(self._held)
            began = time.monotonic()
            try:
                await self._queue.beat(self._id, closed=self._provider.closed)
                self._obey(await self._queue.heartbeat(self._id, list(asked)), asked)
                renewed = began
            except StorageUnavailable as error:
                log.warning("The heartbeat does not get through: %s", error)
                if time.monotonic() - renewed > self._lease_seconds:
                    self._obey({}, asked)
            await asyncio.sleep(self._lease_seconds / BEATS_PER_LEASE)

    def _obey(self, wanted: dict[str, bool], asked: dict[str, Assignment]) -> None:
        """Stop the jobs among ``asked`` that were lost or cancelled."""
        for job_id, held in asked.items():
            # Meanwhile the job may have ended here, and even have been claimed again: the answer is not about that one.
            if self._held.get(job_id) is not held or held.phase is Phase.FINISHING:
                continue
            if job_id not in wanted:
                held.stop(LeaseLost(job=job_id))
            elif wanted[job_id]:
                held.stop(Cancelled())

    # Working

    async def _work_on(self, held: Assignment) -> None:
        job = held.job
        try:
            try:
                drawing, seconds = await self._unless_stopped(held, self._draw(held))
                held.phase = Phase.FINISHING
                self._wake.set()
                await self._finish(job, drawing, seconds)
            except LeaseLost:
                log.warning("Job %s is no longer ours", job.id)
            except HandedBack:
                await insist(lambda: self._queue.hand_back(self._id, job.id))
                log.info("Job %s is handed back", job.id)
            except Cancelled:
                await insist(lambda: self._queue.cancelled(self._id, job.id))
                log.info("Job %s was cancelled", job.id)
            except GenerationFailed as error:
                await self._fail(job, error)
            except StorageUnavailable as error:
                await self._fail(job, DrawingBroken(str(error)))
            except Exception as error:
                log.exception("Job %s broke", job.id)
                await self._fail(job, DrawingBroken(f"{type(error).__name__}: {error}"))
        except LeaseLost:
            log.warning("Job %s is no longer ours", job.id)
        except StorageUnavailable as error:
            log.error("How job %s ended cannot be written; its lease will run out: %s", job.id, error)
        finally:
            if self._held.get(job.id) is held:  # a second attempt may have been claimed already
                del self._held[job.id]
            self._wake.set()

    async def _unless_stopped(self, held: Assignment, work: Coroutine[Any, Any, T]) -> T:
        """Return what ``work`` returns; raise the verdict, without waiting for ``work`` to end, once there is one."""
        working = asyncio.create_task(work, name=f"draw {held.job.id}")
        stopped = asyncio.create_task(held.stopped.wait(), name=f"stop {held.job.id}")
        working.add_done_callback(_look_at)
        try:
            await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if held.verdict is not None:
                raise held.verdict
            return working.result()
        finally:
            stopped.cancel()
            working.cancel()
            await asyncio.wait({working}, timeout=LAST_WORD_SECONDS)

    async def _draw(self, held: Assignment) -> tuple[Drawing, float]:
        job = held.job
        task = DrawTask(
            job_id=job.id,
            request=job.request,
            input_image=await self._input(job.request),
            provider_job_id=job.provider_job_id if job.provider == self._provider.name else None,
            publish=self._publish if self._pictures.has_links else None,
        )
        reporting: asyncio.Task[None] | None = None
        limit: asyncio.TimerHandle | None = None
        try:
            async with self._engine:
                held.phase = Phase.DRAWING
                late = TimedOut(seconds=self._job_timeout)
                limit = asyncio.get_running_loop().call_later(self._job_timeout, held.stop, late)
                reporting = asyncio.create_task(held.report(self._pictures), name=f"report {job.id}")
                drawing = await self._provider.draw(task, held)
                return drawing, held.drawing_seconds
        finally:
            if limit is not None:
                limit.cancel()
            held.drawn()
            if reporting is not None:  # outside of the engine's turn: the next drawing begins meanwhile
                await asyncio.wait({reporting})

    async def _input(self, request: GenerationRequest) -> Image.Image | None:
        if request.input_picture is None:
            return None
        key = request.input_picture.key
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

    async def _finish(self, job: Job, drawing: Drawing, seconds: float) -> None:
        finished = await store_pictures(self._pictures, job, drawing, tell_prompt=self._tell_prompt)
        await insist(
            lambda: self._queue.succeed(
                self._id,
                job.id,
                finished,
                provider=self._provider.name,
                seconds=seconds,
                withheld=drawing.withheld,
                missing=job.request.count - len(finished),
                from_words=drawing.from_words,
                microdollars=drawing.microdollars,
            )
        )
        log.info("Job %s: %d pictures in %.1f s", job.id, len(finished), seconds)
        with suppress(StorageUnavailable):
            await self._queue.record_speed(self._provider.name, job.request.model, job.request.megapixel_steps, seconds)

    async def _fail(self, job: Job, error: GenerationFailed) -> None:
        log.warning("Job %s failed (%s): %s", job.id, error.code, error)
        if self._may_pass_on(job, error):
            after = await insist(lambda: self._queue.pass_on(self._id, job.id, self._provider.name, error))
            if not after.state.ended:
                log.info("Job %s goes on to another provider", job.id)
        else:
            await insist(lambda: self._queue.fail(self._id, job.id, error))

    def _may_pass_on(self, job: Job, error: GenerationFailed) -> bool:
        """Say whether somebody else may draw what failed here: a fault of ours, nothing of the request's own."""
        if isinstance(error, ProviderFault | OutOfMemory | ModelUnavailable):
            return True
        return (
            isinstance(error, DrawingBroken) and not self._provider.hosted and job.attempts >= self._queue.max_attempts
        )

    # Going home

    async def _clear_desk(self) -> None:
        """Hand back what has not begun, let the rest end for a while, hand that back as well."""
        for held in self._held.values():
            if held.phase is Phase.PREPARING:
                held.stop(HandedBack())
        if self._jobs:
            await asyncio.wait(self._jobs, timeout=self._stop_seconds)
        for held in self._held.values():
            if held.phase is not Phase.FINISHING:
                held.stop(HandedBack())
        if self._jobs:
            await asyncio.wait(self._jobs, timeout=self._stop_seconds)
        for task in list(self._jobs):
            task.cancel()
        if self._jobs:
            await asyncio.wait(self._jobs, timeout=1.0)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)


def _nothing() -> None:
    pass


def _look_at(task: asyncio.Task[Any]) -> None:
    """Keep asyncio from complaining about the error of a drawing that was given up."""
    if not task.cancelled():
        task.exception()
