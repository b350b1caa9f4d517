"""How a job in a worker's hands ends: it is drawn, looked at, stored and written down, or what went wrong is."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from flux_core.database.queue import JobQueue
from flux_core.errors import (
    Cancelled,
    DrawingBroken,
    GenerationFailed,
    LeaseLost,
    ModelUnavailable,
    OutOfMemory,
    ProviderFault,
    Refused,
    StorageUnavailable,
)
from flux_core.images.store import PictureStore
from flux_core.insistence import insist
from flux_core.jobs import Job, JobState
from flux_core.metrics import work as metrics
from flux_core.moderation.output import OutputCheck, shows_drafts
from flux_core.providers.base import Drawing, Provider
from flux_core.worker.assignment import Assignment, Phase
from flux_core.worker.easel import Company, Easel
from flux_core.worker.finishing import looked_at, store_pictures

log = logging.getLogger(__name__)

T = TypeVar("T")

LAST_WORD_SECONDS = 4.0
"""What a drawing that was given up gets to end: a hosted provider may be about to say under which name it has it."""


class HandedBack(Exception):
    """Tells an assignment that its worker stops and somebody else shall draw it."""


class Outcomes:
    """Draws the jobs of one worker at its easel, and writes down how each ended."""

    def __init__(
        self,
        queue: JobQueue,
        pictures: PictureStore,
        provider: Provider,
        easel: Easel,
        *,
        worker_id: str,
        check: OutputCheck | None,
        tell_prompt: bool,
        on_drawn: Callable[[], None],
        on_unavailable: Callable[[str, ModelUnavailable], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        """Tell ``on_drawn`` when the easel is free again, ``on_unavailable`` of a model that cannot be loaded."""
        self._queue = queue
        self._pictures = pictures
        self._provider = provider
        self._easel = easel
        self._id = worker_id
        self._check = check
        self._tell_prompt = tell_prompt
        self._on_drawn = on_drawn
        self._on_unavailable = on_unavailable
        self._clock = clock

    async def of(self, held: Assignment, company: Company) -> str:
        """Draw a job, and write down how that ended; return it in a word. Raises LeaseLost, StorageUnavailable."""
        job = held.job
        try:
            together = len(company.members) > 1
            drawn = company.outcome(held) if together else self._easel.draw(held)
            drawing, seconds = await self._unless_stopped(held, drawn)
            held.phase = Phase.FINISHING
            self._on_drawn()
            ended = await self._finish(job, drawing, seconds)
            await self._easel.measure(held, company, drawing.mode)
        except LeaseLost:
            raise
        except HandedBack:
            await insist(lambda: self._queue.hand_back(self._id, job.id))
            log.info("Job %s is handed back", job.id)
            return "handed_back"
        except Cancelled:
            await insist(lambda: self._queue.cancelled(self._id, job.id))
            log.info("Job %s was cancelled", job.id)
            return "cancelled"
        except GenerationFailed as error:
            await self._fail(job, error)
            return "refused" if isinstance(error, Refused) else "failed"
        except StorageUnavailable as error:
            await self._fail(job, DrawingBroken(str(error)))
            return "failed"
        except Exception as error:
            log.exception("Job %s broke", job.id)
            await self._fail(job, DrawingBroken(f"{type(error).__name__}: {error}"))
            return "failed"
        return "succeeded" if ended.state is JobState.SUCCEEDED else "refused"

    async def shows_previews(self, job: Job) -> bool:
        """Say whether what nobody checks may be shown of a job whose pictures will be checked."""
        if self._check is None:
            return True
        policy = await self._queue.policy_of(job.account.guild_id)
        return shows_drafts(policy.output, age_restricted=job.age_restricted)

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

    async def _finish(self, job: Job, drawing: Drawing, seconds: float) -> Job:
        began = time.monotonic()
        policy = await insist(lambda: self._queue.policy_of(job.account.guild_id))
        unsafe = await looked_at(self._check, drawing, policy.output, job)
        telling = self._tell_prompt and policy.tell_prompt
        finished = await store_pictures(self._pictures, job, drawing, tell_prompt=telling, unsafe=unsafe)
        ended = await insist(
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
                mode=drawing.mode,
                why_mode=drawing.why_mode,
            )
        )
        shown = "" if ended.state is JobState.SUCCEEDED else f", {ended.state} by its community's rules"
        log.info("Job %s: %d pictures in %.1f s%s", job.id, len(finished), seconds, shown)
        metrics.drawn(
            job,
            self._provider.name,
            pictures=len(finished),
            seconds=seconds,
            finishing=time.monotonic() - began,
            now=self._clock(),
        )
        return ended

    async def _fail(self, job: Job, error: GenerationFailed) -> None:
        log.warning("Job %s failed (%s): %s", job.id, error.code, error)
        metrics.failed(job, self._provider.name, error)
        if isinstance(error, ModelUnavailable) and not self._provider.hosted:
            await self._on_unavailable(job.request.model, error)
        if self._may_pass_on(job, error):
            after = await insist(lambda: self._queue.pass_on(self._id, job.id, error))
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


def _look_at(task: asyncio.Task[Any]) -> None:
    """Keep asyncio from complaining about the error of a drawing that was given up."""
    if not task.cancelled():
        task.exception()
