"""A worker: claim → fetch the input → draw → encode → store → finish, again and again.

While one job is drawn, the next is already claimed and prepared, and the one before is encoded and stored, so the
engine never waits for the database, the store or an encoder. Jobs that are drawn side by side share their time on the
engine and nothing else: each has its own lease and its own end. Whatever happens to the worker, the database decides: a
job's result counts only while the worker still has its lease.
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from flux_core.database.queue import JobQueue, WorkerInfo
from flux_core.errors import (
    Cancelled,
    LeaseLost,
    StorageUnavailable,
)
from flux_core.images.store import PictureStore
from flux_core.insistence import RETRY_SECONDS
from flux_core.jobs import Job
from flux_core.metrics import work as metrics
from flux_core.moderation.output import OutputCheck
from flux_core.offers import Offer
from flux_core.providers.base import DrawsTogether, Fetches, Loads, Provider
from flux_core.skills import model_of, skill_for, skills_of
from flux_core.waiting import happened
from flux_core.worker.assignment import Assignment, Phase
from flux_core.worker.easel import Company, Easel
from flux_core.worker.outcomes import LAST_WORD_SECONDS, HandedBack, Outcomes
from flux_core.worker.readiness import Readiness

log = logging.getLogger(__name__)

T = TypeVar("T")

BEATS_PER_LEASE = 3
LOOK_SECONDS = 0.1
"""Least time between two looks for cancelled jobs: bursts of other processes' writes are taken together."""
POLL_SECONDS = 5.0
"""Look for work this often even when nobody tells of a change."""
HELD_PER_SLOT = 4
"""Most drawings in a worker's hands for each that it draws at once; more would only wait for a slow store."""


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
        batch_pictures: int = 1,
        tell_prompt: bool = True,
        check: OutputCheck | None = None,
        warm_up: Sequence[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Work as ``worker_id``; ``changed`` is ``Database.changed``.

        When stopped, a drawing gets ``stop_seconds`` to end before its job is handed back. ``money_cap``: the most
        that the provider may be paid a day, in millionths of a dollar. ``batch_pictures``: the most that are drawn at
        once, by a provider that can, where that is faster (``flux_core.batching``); 1: every job alone.
        ``tell_prompt``: whether the files say which words they were drawn from, where the community does not mind.
        ``check`` looks at every picture before anybody sees it. ``warm_up``: models that a provider which can gets
        ready before any job is claimed.
        """
        self._queue = queue
        self._pictures = pictures
        self._provider = provider
        self._id = worker_id
        self._changed = changed
        self._lease_seconds = lease_seconds
        self._preview_every = preview_every
        self._batch_pictures = batch_pictures if isinstance(provider, DrawsTogether) else 1
        self._stop_seconds = stop_seconds
        self._money_cap = money_cap
        self._clock = clock
        self._said: str | None = provider.closed
        """Why the provider takes no jobs, as others know it."""
        self._held: dict[str, Assignment] = {}
        self._companies: dict[str, Company] = {}
        """The company in which each of them is drawn."""
        self._jobs: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._closing = asyncio.Event()
        self._heard: float | None = None
        """When a heartbeat began that got through, on the monotonic clock."""
        self._readiness = Readiness(provider, warm_up, self._tell_offers)
        self._easel = Easel(provider, queue, pictures, job_timeout=job_timeout, measures=self._batch_pictures > 1)
        self._outcomes = Outcomes(
            *(queue, pictures, provider, self._easel),
            worker_id=worker_id,
            check=check,
            tell_prompt=tell_prompt,
            on_drawn=self._wake.set,
            on_unavailable=self._readiness.failed,
            clock=clock,
        )
        self._told: dict[str, Offer] = {}
        """What is offered, as others know it."""

    @property
    def trouble(self) -> str | None:
        """Return why no jobs are drawn here at the moment, for the operator; None while they are."""
        if self._closing.is_set():
            return "it stops"
        if self._heard is None or time.monotonic() - self._heard > self._lease_seconds:
            return "no heartbeat gets through"
        return self._readiness.trouble

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop``, then finish or hand back what is in hand, within a bound, and retire.

        Raises StorageUnavailable when the database cannot be reached in the beginning.
        """
        await self._queue.register(self._introduction())
        log.info("Worker %s draws %s with %s", self._id, ", ".join(self._provider.offers), self._provider.name)
        claims = asyncio.create_task(self._claim_jobs(), name="claims")
        watch = asyncio.create_task(self._watch_changes(), name="watch")
        beat = asyncio.create_task(self._beat(), name="heartbeat")
        models = asyncio.create_task(self._readiness.look_after(), name="models")
        loops = {claims, watch, beat, models}
        stopping = asyncio.create_task(stop.wait(), name="stop")
        try:
            # A loop ends only when something unforeseen broke it: then the worker ends as well, and is started anew.
            await asyncio.wait({stopping, *loops}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._closing.set()
            self._wake.set()
            self._readiness.warm.set()
            await asyncio.wait({claims})  # never cancelled: a claim must not get lost on its way here
            await self._clear_desk()
            for task in (stopping, watch, beat, models):
                task.cancel()
            await asyncio.wait({stopping, watch, beat, models})
            with suppress(StorageUnavailable):
                await self._queue.retire(self._id)
        for task in loops:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    def _introduction(self) -> WorkerInfo:
        self._told = self._readiness.offered
        return WorkerInfo(
            id=self._id,
            host=platform.node(),
            pid=os.getpid(),
            device=self._provider.device,
            provider=self._provider.name,
            hosted=self._provider.hosted,
            offers=self._told,
            closed=self._readiness.closed,
            slots=self._provider.concurrency,
            links=self._pictures.has_links,
            money_cap=self._money_cap,
            started_at=self._clock(),
        )

    # Finding work

    async def _claim_jobs(self) -> None:
        await self._readiness.warm.wait()
        failures = 0
        while not self._closing.is_set():
            self._wake.clear()
            try:
                while self._has_room() and not self._closing.is_set():
                    jobs = await self._claim()
                    if not jobs:
                        break
                    self._begin(jobs)
                failures = 0
            except StorageUnavailable as error:
                log.warning("No work can be claimed: %s", error)
                await happened(self._closing, RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
                failures += 1
                continue
            await happened(self._wake, POLL_SECONDS)

    async def _claim(self) -> list[Job]:
        if self._provider.hosted:
            # Said at once, not with the next heartbeat: a closed provider gets only what it was paid for already.
            if self._provider.closed != self._said:
                self._said = self._provider.closed
                await self._queue.beat(self._id, closed=self._said)
            job = await self._queue.claim_hosted(self._id)
            return [] if job is None else [job]
        skills = self._without_fetched(skills_of(self._readiness.offered))
        if not skills:
            return []
        loaded = self._provider.loaded if isinstance(self._provider, Loads) else None
        return await self._queue.claim_together(self._id, skills, self._provider.device, self._batch_pictures, loaded)

    def _without_fetched(self, skills: Sequence[str]) -> list[str]:
        """Leave out what files are being brought for: more jobs of that kind would take the places of all others."""
        waiting = [held.job.request for held in self._held.values() if held.phase is Phase.FETCHING]
        if not waiting or not isinstance(self._provider, Fetches):
            return list(skills)
        needed = {skill_for(request) for request in waiting}
        has = self._provider.has_files
        models = {one.model for one in waiting if not has(one.model_copy(update={"lora": None}))}
        return [skill for skill in skills if skill not in needed and model_of(skill) not in models]

    def _has_room(self) -> bool:
        """Whether to claim another job.

        One for every free place on the engine, and one more for every drawing that is past its half: earlier, the job
        is better off with a worker that is free. A hosted provider has no engine to keep busy: nothing waits for it
        here that somebody else might begin.
        """
        slots = self._provider.concurrency
        if len(set(self._companies.values())) >= slots * HELD_PER_SLOT:
            return False
        ahead = [held for held in self._held.values() if held.phase not in (Phase.FETCHING, Phase.FINISHING)]
        half = [held for held in ahead if held.phase is Phase.DRAWING and held.half_drawn]
        drawings, soon = ({self._companies[held.job.id] for held in some} for some in (ahead, half))
        return len(drawings) < slots + (0 if self._provider.hosted else len(soon))

    def _begin(self, jobs: Sequence[Job]) -> None:
        company = Company([self._hold(job) for job in jobs])
        if len(jobs) > 1:
            log.info("%d jobs are drawn together", len(jobs))
            self._do(self._easel.draw_together(company), name=f"company of {jobs[0].id}")
        for held in company.members:
            self._held[held.job.id] = held
            self._companies[held.job.id] = company
            self._do(self._work_on(held, company), name=f"job {held.job.id}")

    def _do(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)

    def _hold(self, job: Job) -> Assignment:
        return Assignment(
            job,
            queue=self._queue,
            worker_id=self._id,
            provider=self._provider.name,
            preview_every=self._preview_every,
            # Half a drawing done is a reason to fetch the next job, but not for a hosted provider (see `_has_room`).
            on_step=_nothing if self._provider.hosted else self._wake.set,
            shows_previews=self._outcomes.shows_previews,
        )

    # Keeping in touch

    async def _tell_offers(self) -> None:
        offers = self._readiness.offered
        try:
            await self._queue.offer(self._id, offers, closed=self._readiness.closed)
            self._told = offers
        except StorageUnavailable as error:
            log.warning("What is offered is told with the next heartbeat: %s", error)
        self._wake.set()

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
                if not await self._queue.beat(self._id, closed=self._readiness.closed):
                    await self._queue.introduce(self._introduction())
                # A card holds a model in a leaner way, or what is offered could not be told before.
                if self._readiness.offered != self._told:
                    await self._tell_offers()
                self._obey(await self._queue.heartbeat(self._id, list(asked)), asked)
                renewed = self._heard = began
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

    async def _work_on(self, held: Assignment, company: Company) -> None:
        with metrics.in_hand(held.job, self._provider.name):
            outcome = "lost"  # until the database has it otherwise
            try:
                outcome = await self._outcomes.of(held, company)
            except LeaseLost:
                log.warning("Job %s is no longer ours", held.job.id)
            except StorageUnavailable as error:
                log.error("How job %s ended cannot be written; its lease will run out: %s", held.job.id, error)
            finally:
                metrics.left(held.job, self._provider.name, outcome)
                if self._held.get(held.job.id) is held:  # a second attempt may have been claimed already
                    del self._held[held.job.id], self._companies[held.job.id]
                self._wake.set()

    # Going home

    async def _clear_desk(self) -> None:
        """Hand back what has not begun, let the rest end for a while, hand that back as well."""
        for held in self._held.values():
            if held.phase in (Phase.FETCHING, Phase.PREPARING):
                held.stop(HandedBack())
        if self._jobs:
            await asyncio.wait(self._jobs, timeout=self._stop_seconds)
        for held in self._held.values():
            if held.phase is not Phase.FINISHING:
                held.stop(HandedBack())
        if self._jobs:  # what they write now is not cut short where a drawing gets next to no time
            await asyncio.wait(self._jobs, timeout=max(self._stop_seconds, 2 * LAST_WORD_SECONDS))
        for task in list(self._jobs):
            task.cancel()
        if self._jobs:
            await asyncio.wait(self._jobs, timeout=1.0)


def _nothing() -> None:
    pass
