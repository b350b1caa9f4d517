"""The queue as a worker sees it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from flux_core.batching import Shape
from flux_core.database import (
    alike,
    batches,
    claims,
    hosted,
    leases,
    passing,
    pictures,
    policies,
    speeds,
    warm,
    workers,
)
from flux_core.database.engine import Database
from flux_core.database.hosted import Terms
from flux_core.database.policies import DEFAULT_ROUTING
from flux_core.database.wanted import waited_for
from flux_core.database.workers import WorkerInfo
from flux_core.errors import GenerationFailed, LeaseLost, OrderUnreadable, Refused, StorageUnavailable
from flux_core.jobs import Job, JobState, Picture
from flux_core.models import Mode
from flux_core.offers import Offer
from flux_core.policy.guild import GuildPolicy
from flux_core.quota import UTC
from flux_core.router import RoutingPolicy
from flux_core.skills import BETWEEN, model_of, of_use

__all__ = ["JobQueue", "WorkerInfo"]

log = logging.getLogger(__name__)


class JobQueue:
    """Jobs to draw, each owned by one worker at a time through a lease.

    Every call is one transaction. All raise StorageUnavailable when the database does not answer.
    """

    def __init__(
        self,
        db: Database,
        *,
        max_attempts: int,
        lease_seconds: float,
        policy: RoutingPolicy = DEFAULT_ROUTING,
        zone: ZoneInfo = UTC,
    ) -> None:
        """Work on ``db``; ``policy`` holds where a guild has none; spending is counted by the day in ``zone``."""
        self._db = db
        self.max_attempts = max_attempts
        self.lease_seconds = lease_seconds
        self._policy = policy
        self._zone = zone
        self._missing: dict[str, float] = {}

    @property
    def _terms(self) -> Terms:
        return Terms(policy=self._policy, zone=self._zone, lease_seconds=self.lease_seconds)

    async def claim(self, worker_id: str, skills: Sequence[str], loaded: Set[str] | None = None) -> Job | None:
        """Return the job whose turn it is among those for ``skills``, now running and leased to the worker; or None.

        ``skills``: as ``flux_core.skills`` has them: models, and those with a LoRA. ``loaded``: which models are in
        memory, where the others would have to be loaded first. A job for one of those may then come before its turn,
        within the bounds of ``flux_core.affinity``.
        """
        while True:
            job = await self._claim(worker_id, await self._of_use(skills), loaded)
            if job is None or not job.unreadable:
                return job
            await self._give_up_unreadable(job)

    async def _of_use(self, skills: Sequence[str]) -> Sequence[str]:
        """Leave out the LoRAs that no waiting job names."""
        if not any(BETWEEN in one for one in skills):
            return skills
        return of_use(skills, await self._db.read(waited_for))

    async def _claim(self, worker_id: str, skills: Sequence[str], loaded: Set[str] | None) -> Job | None:
        models = {model_of(one) for one in skills}
        if loaded and not loaded >= models and await self._db.read(warm.is_better, skills, loaded):
            now = self._db.clock()
            return await self._db.write(warm.take, worker_id, skills, loaded, now, self.lease_seconds)
        return await self._db.write(claims.claim, worker_id, skills, self._db.clock(), self.lease_seconds)

    async def claim_together(
        self,
        worker_id: str,
        skills: Sequence[str],
        device: str,
        most_pictures: int,
        loaded: Set[str] | None = None,
    ) -> list[Job]:
        """Return the job whose turn it is, as ``claim`` does, and those that are drawn faster together with it.

        ``device``: whose paces count; ``most_pictures``: drawn at once at most. Empty: none waits.
        """
        skills = await self._of_use(skills)
        job = await self.claim(worker_id, skills, loaded)
        if job is None or most_pictures < 2:
            return [] if job is None else [job]
        party = alike.Party(job, skills, device, most_pictures)
        with suppress(StorageUnavailable):  # the first one is claimed all the same
            if await self._db.read(alike.find, party):
                return [job, *await self._db.write(alike.take, party, self.lease_seconds)]
        return [job]

    async def claim_hosted(self, worker_id: str) -> Job | None:
        """Return the first waiting job that is to be drawn by the hosted provider of this worker, now running there.

        A job that was submitted there before comes first, with its ``provider_job_id``. None: nothing is for this one
        now, or the worker is not registered.
        """
        while True:
            now = self._db.clock()
            if not await self._db.read(hosted.anything_for, worker_id, self._terms, now):
                return None
            job = await self._db.write(hosted.claim, worker_id, self._terms, now)
            if job is None or not job.unreadable:
                return job
            await self._give_up_unreadable(job)

    async def _give_up_unreadable(self, job: Job) -> None:
        """End a job just claimed that nobody can read, with its cost back, so that the others go on."""
        log.error("Job %s is given up: what was asked for cannot be read.", job.id)
        error, now = OrderUnreadable(), self._db.clock()
        with suppress(LeaseLost):
            await self._db.write(leases.end_without_pictures, job.worker_id or "", job.id, JobState.FAILED, now, error)

    async def heartbeat(self, worker_id: str, job_ids: Sequence[str]) -> dict[str, bool]:
        """Extend the leases of ``job_ids``; return, for each that the worker still owns, whether it is to be cancelled.

        A job missing from the answer is lost.
        """
        return await self._db.write(leases.heartbeat, worker_id, job_ids, self._db.clock() + self.lease_seconds)

    async def wanted(self, worker_id: str, job_ids: Sequence[str]) -> dict[str, bool]:
        """Return the same as ``heartbeat`` without extending a lease: a look, which others do not notice as a write."""
        return await self._db.read(leases.wanted, worker_id, job_ids)

    async def progress(
        self, worker_id: str, job_id: str, done: int, total: int, preview_key: str | None = None
    ) -> None:
        """Tell how many steps are drawn, and where a preview is; when the worker lost the job, only that is discarded.

        Every preview has a key of its own: one that was replaced is deleted by its key, at any later time.
        """
        await self._db.write(leases.progress, worker_id, job_id, done, total, preview_key, self._db.clock())

    async def submitted(self, worker_id: str, job_id: str, provider: str, provider_job_id: str) -> None:
        """Keep the provider's own id, so that a restarted worker resumes instead of paying twice; raises LeaseLost.

        From then on no other provider may draw the job. An empty id takes that back.
        """
        await self._db.write(leases.submitted, worker_id, job_id, provider, provider_job_id)

    async def succeed(
        self,
        worker_id: str,
        job_id: str,
        pictures: Sequence[Picture],
        *,
        provider: str,
        seconds: float,
        withheld: str | None = None,
        missing: int = 0,
        from_words: bool = False,
        microdollars: int | None = None,
        mode: Mode = Mode.QUALITY,
        why_mode: str | None = None,
    ) -> Job:
        """End a job with its pictures and settle its cost; raises LeaseLost.

        ``seconds`` is what the drawing took: the job's ``started_at`` becomes the moment it really began. What
        ``missing`` pictures cost goes back, and ``withheld`` says why there are none. ``from_words``: the picture to
        start from was left aside. ``microdollars``: what the provider charged; None: what was expected. ``mode``: that
        it was drawn in, and ``why_mode``, where it is not the one asked for.
        """
        drawn = leases.Drawn(
            provider=provider,
            seconds=seconds,
            withheld=withheld,
            missing=missing,
            from_words=from_words,
            microdollars=microdollars,
            mode=mode,
            why_mode=why_mode,
        )
        return await self._db.write(leases.succeed, worker_id, job_id, pictures, drawn, self._db.clock())

    async def fail(
        self, worker_id: str, job_id: str, error: GenerationFailed, *, microdollars: int | None = None
    ) -> Job:
        """End an attempt with ``error``; raises LeaseLost.

        A retryable error puts the job back in its place while attempts are left. Otherwise the job ends as failed (or
        refused) and its cost goes back. ``microdollars``: what a hosted provider charged all the same.
        """
        now = self._db.clock()
        return await self._db.write(_fail, worker_id, job_id, error, now, self.max_attempts, microdollars)

    async def pass_on(self, worker_id: str, job_id: str, error: GenerationFailed) -> Job:
        """Give a job on which its provider failed for good to somebody who has not; raises LeaseLost.

        One whose model did not load here waits for another of our own workers, where one offers that model.
        It goes back to its place in the queue, as though this attempt had not been. When nobody else draws it and the
        fault is a transient one, it comes back as well, three times, after longer and longer pauses; else the job ends
        as failed, with its cost back.
        """
        now = self._db.clock()
        return await self._db.write(passing.pass_on, worker_id, job_id, error, self._terms, now)

    async def cancelled(self, worker_id: str, job_id: str) -> Job:
        """End a job as cancelled and give its cost back; raises LeaseLost."""
        return await self._db.write(
            leases.end_without_pictures, worker_id, job_id, JobState.CANCELLED, self._db.clock()
        )

    async def hand_back(self, worker_id: str, job_id: str) -> None:
        """Put a job back in its place, as though this attempt had not been; nothing when the worker lost it."""
        await self._db.write(_hand_back, worker_id, job_id, self._db.clock())

    async def register(self, worker: WorkerInfo) -> None:
        """Make a worker known. Jobs still leased to an earlier process with its id are due for rescue at once."""
        await self._db.write(_register, worker, self._db.clock())

    async def introduce(self, worker: WorkerInfo) -> None:
        """Make a worker known again that was struck from the list while the database was away; its leases stay."""
        await self._db.write(workers.register, worker, self._db.clock())

    async def beat(self, worker_id: str, *, closed: str | None = None) -> bool:
        """Give a sign of life, with the reason why no jobs are taken now; the silent count in nobody's estimate.

        False: it is not in the list, having been silent for too long, and has to introduce itself again.
        """
        return await self._db.write(workers.beat, worker_id, self._db.clock(), closed)

    async def offer(self, worker_id: str, offers: Mapping[str, Offer], *, closed: str | None = None) -> None:
        """Tell what a worker draws from now on, with the reason why it takes no jobs where that is nothing."""
        await self._db.write(workers.offer, worker_id, offers, self._db.clock(), closed)

    async def retire(self, worker_id: str) -> None:
        """Take a worker out. Jobs still leased to it are due for rescue at once."""
        await self._db.write(_retire, worker_id, self._db.clock())

    async def note_input(self, key: str) -> None:
        """Note that a picture is about to be stored that nothing may refer to: maintenance deletes it after a day."""
        await self._db.write(pictures.note_input, key, self._db.clock())

    async def policy_of(self, guild_id: int) -> GuildPolicy:
        """Return what a guild has decided."""
        return await self._db.read(policies.policy_of, guild_id)

    async def rescue(self, now: float | None = None) -> list[Job]:
        """Take the jobs with expired leases from their workers; return them as they are after.

        Each goes back to its place in the queue, or ends: cancelled when that was asked for, failed (worker_lost) when
        no attempts are left, with its cost back in both cases.
        """
        return await self._db.write(leases.rescue, self._db.clock() if now is None else now, self.max_attempts)

    async def admit_local(self, now: float | None = None) -> int:
        """Let our own cards claim what no hosted provider takes though it was meant for them; return how many."""
        found = await self._db.read(hosted.left_for_us, self._terms, self._db.clock() if now is None else now)
        return await self._db.write(hosted.admit, found) if found else 0

    async def abandon_bound(self, now: float | None = None) -> list[Job]:
        """End the waiting jobs whose provider has had no worker for ten minutes: what became of them is unknown.

        The minutes count from the first call that missed the provider, so a studio that was switched off overnight
        finds its jobs again in the morning.
        """
        now = self._db.clock() if now is None else now
        self._missing = await self._db.read(passing.missing, self._missing, now - self.lease_seconds, now)
        gone = [provider for provider, since in self._missing.items() if now - since >= passing.ABANDONED]
        return await self._db.write(passing.abandon, gone, now) if gone else []

    async def record_speed(self, provider: str, model: str, units: float, seconds: float) -> None:
        """Add a measurement: a job of ``units`` megapixel-steps (``request.work``, as drawn) took ``seconds``."""
        if units > 0 and seconds > 0:
            await self._db.write(speeds.record, provider, model, units, seconds)

    async def record_pace(self, device: str, shape: Shape, pictures: int, units: float, seconds: float) -> None:
        """Add a measurement: ``pictures`` drawn at once, ``units`` megapixel-steps in all, took ``seconds``."""
        if seconds > 0:
            await self._db.write(batches.record, device, shape.paced_as, shape.scale, pictures, units, seconds)


def _fail(
    connection: Connection,
    worker_id: str,
    job_id: str,
    error: GenerationFailed,
    now: float,
    most: int,
    microdollars: int | None,
) -> Job:
    job = leases.owned(connection, worker_id, job_id)
    if error.retryable and job.cancel_requested:
        return leases.end_without_pictures(connection, worker_id, job_id, JobState.CANCELLED, now)
    if error.retryable and job.attempts < most:
        return leases.requeue(connection, worker_id, job_id, counted=True)
    state = JobState.REFUSED if isinstance(error, Refused) else JobState.FAILED
    return leases.end_without_pictures(connection, worker_id, job_id, state, now, error, microdollars)


def _hand_back(connection: Connection, worker_id: str, job_id: str, now: float) -> None:
    try:
        job = leases.owned(connection, worker_id, job_id)
    except LeaseLost:
        return
    if job.cancel_requested:
        leases.end_without_pictures(connection, worker_id, job_id, JobState.CANCELLED, now)
    else:
        leases.requeue(connection, worker_id, job_id, counted=False)


def _register(connection: Connection, worker: WorkerInfo, now: float) -> None:
    leases.expire(connection, worker.id, now)
    workers.register(connection, worker, now)


def _retire(connection: Connection, worker_id: str, now: float) -> None:
    leases.expire(connection, worker_id, now)
    workers.retire(connection, worker_id)
