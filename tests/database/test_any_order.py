"""Whatever members, workers and accidents do in whatever order: money, turns and states stay true."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy import Connection

from flux_core.database.tables import jobs, ledger, virtual_time
from flux_core.errors import DrawingBroken, LeaseLost, OutOfMemory, QueuePaused, QuotaSpent, TooManyWaiting
from flux_core.jobs import Account, Job, JobState
from tests.database.scene import SCHNELL, TINY, Scene, a_scene

ACCOUNTS = [Account(7, 1), Account(7, 2), Account(8, 1)]
WORKERS = ["w1", "w2"]
ENDINGS = ["well", "badly", "broken", "back", "stop"]
ALLOWANCE = 9000


async def done(awaitable: Awaitable[object]) -> None:
    """Wait for ``awaitable``."""
    await awaitable


class Studio(RuleBasedStateMachine):
    """Keeps a plain list of jobs beside the database and compares."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.scene: Scene = self.runner.run(self._open())
        self.jobs: dict[str, Job] = {}
        self.paused: set[int] = set()
        self.claimed_starts: list[float] = [0.0]

    async def _open(self) -> Scene:
        folder = self.stack.enter_context(TemporaryDirectory())
        url = f"sqlite:///{folder}/a.db"
        return await self.stack.enter_async_context(a_scene(url, Path(folder), allowance=ALLOWANCE, max_waiting=4))

    def teardown(self) -> None:
        self.runner.run(self.stack.aclose())
        self.runner.close()

    def of(self, state: JobState, account: Account | None = None) -> list[Job]:
        """Return the jobs in a state, by turn."""
        found = [job for job in self.jobs.values() if job.state is state and account in (None, job.account)]
        return sorted(found, key=lambda job: (job.start_tag, job.id))

    def spent(self, account: Account) -> int:
        """Return what an account's jobs cost it."""
        kept = (JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED)
        return sum(job.cost for job in self.jobs.values() if job.account == account and job.state in kept)

    def refresh(self) -> None:
        """Read all jobs again."""
        for id in self.jobs:
            self.jobs[id] = self.runner.run(self.scene.studio.job(id))

    @rule(account=st.sampled_from(ACCOUNTS), model=st.sampled_from([SCHNELL, TINY]), count=st.integers(1, 4))
    def submit(self, account: Account, model: str, count: int) -> None:
        left = ALLOWANCE - self.spent(account)
        try:
            job = self.runner.run(self.scene.submit(account, model, count=count))
        except QueuePaused:
            assert account.guild_id in self.paused
        except TooManyWaiting:
            assert len(self.of(JobState.QUEUED, account)) == 4
        except QuotaSpent as error:
            facts = error.facts
            assert facts["left"] == left < facts["cost"]
        else:
            assert account.guild_id not in self.paused
            assert job.cost <= left
            before = [other.finish_tag for other in self.of(JobState.QUEUED, account)]
            assert job.start_tag >= max([self.claimed_starts[-1], *before])
            self.jobs[job.id] = job

    @rule(worker=st.sampled_from(WORKERS), models=st.sampled_from([[SCHNELL], [TINY], [SCHNELL, TINY]]))
    def claim(self, worker: str, models: list[str]) -> None:
        able = [
            job
            for job in self.of(JobState.QUEUED)
            if job.request.model in models and job.account.guild_id not in self.paused
        ]
        job = self.runner.run(self.scene.queue.claim(worker, models))
        assert (job and job.id) == (able[0].id if able else None)
        if job is not None:
            self.claimed_starts.append(max(self.claimed_starts[-1], job.start_tag))
            self.jobs[job.id] = job

    @precondition(lambda self: self.of(JobState.RUNNING))
    @rule(
        data=st.data(),
        worker=st.sampled_from(WORKERS),
        how=st.sampled_from(["well", "badly", "broken", "back", "stop"]),
    )
    def end(self, data: st.DataObject, worker: str, how: str) -> None:
        job = data.draw(st.sampled_from(self.of(JobState.RUNNING)))
        queue = self.scene.queue
        ways: dict[str, Callable[[], Awaitable[object]]] = {
            "well": lambda: self.scene.succeed(job, worker),
            "badly": lambda: queue.fail(worker, job.id, OutOfMemory()),
            "broken": lambda: queue.fail(worker, job.id, DrawingBroken()),
            "back": lambda: queue.hand_back(worker, job.id),
            "stop": lambda: queue.cancelled(worker, job.id),
        }
        try:
            self.runner.run(done(ways[how]()))
        except LeaseLost:
            assert job.worker_id != worker
        else:
            assert job.worker_id == worker or how == "back"
        self.refresh()

    @precondition(lambda self: self.of(JobState.QUEUED) or self.of(JobState.RUNNING))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.of(JobState.QUEUED) + self.of(JobState.RUNNING)))
        self.runner.run(self.scene.studio.cancel(job.id, by=0, moderator=True))
        self.refresh()

    @rule(seconds=st.sampled_from([1.0, 20.0, 40.0]), alive=st.sampled_from([None, *WORKERS]))
    def time_passes(self, seconds: float, alive: str | None) -> None:
        self.scene.clock.now += seconds
        if alive is not None:
            self.runner.run(self.scene.queue.heartbeat(alive, list(self.jobs)))
        expired = {job.id for job in self.of(JobState.RUNNING) if (job.lease_until or 0) <= self.scene.clock.now}
        if alive is not None:
            expired -= {job.id for job in self.of(JobState.RUNNING) if job.worker_id == alive}
        assert {job.id for job in self.runner.run(self.scene.queue.rescue())} == expired
        self.refresh()

    @rule(guild=st.sampled_from([7, 8]), pause=st.booleans())
    def pause(self, guild: int, pause: bool) -> None:
        studio = self.scene.studio
        if pause:
            self.runner.run(studio.pause(guild, by=1, reason="x"))
            self.paused.add(guild)
        else:
            self.runner.run(studio.resume(guild, by=1))
            self.paused.discard(guild)

    @invariant()
    def money_is_right(self) -> None:
        for account in ACCOUNTS:
            quota = self.runner.run(self.scene.studio.quota(account))
            assert quota.left == ALLOWANCE - self.spent(account)
            assert quota.waiting == len(self.of(JobState.QUEUED, account))

    @invariant()
    def every_job_is_closed_once_when_it_has_ended(self) -> None:
        def outcomes(connection: Connection) -> dict[str, list[str]]:
            found: dict[str, list[str]] = {}
            for row in connection.execute(sa.select(ledger.c.job_id, ledger.c.kind).order_by(ledger.c.id)):
                found.setdefault(row.job_id, []).append(row.kind)
            return found

        kinds = self.runner.run(self.scene.db.read(outcomes))
        for job in self.jobs.values():
            closing = [] if not job.state.ended else ["settle" if job.state is JobState.SUCCEEDED else "refund"]
            assert kinds[job.id] == ["reserve", *closing]

    @invariant()
    def turns_of_an_account_do_not_overlap(self) -> None:
        for account in ACCOUNTS:
            waiting = self.of(JobState.QUEUED, account)
            for first, second in pairwise(waiting):
                assert first.finish_tag <= second.start_tag

    @invariant()
    def virtual_time_is_the_largest_start_claimed(self) -> None:
        now = self.runner.run(
            self.scene.db.read(lambda connection: connection.execute(sa.select(virtual_time.c.value)).scalar_one())
        )
        assert now == self.claimed_starts[-1]

    @invariant()
    def what_may_be_claimed_is_what_waits_where_nobody_paused(self) -> None:
        def claimable(connection: Connection) -> set[str]:
            return set(connection.execute(sa.select(jobs.c.id).where(jobs.c.waits_for.is_not(None))).scalars())

        expected = {job.id for job in self.of(JobState.QUEUED) if job.account.guild_id not in self.paused}
        assert self.runner.run(self.scene.db.read(claimable)) == expected


Studio.TestCase.settings = settings(
    max_examples=12, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
TestStudio = Studio.TestCase
