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

from flux_core.database.tables import guilds, jobs, ledger, spending, virtual_time
from flux_core.errors import (
    DrawingBroken,
    LeaseLost,
    OutcomeUnknown,
    OutOfMemory,
    ProviderBroken,
    ProviderBusy,
    QueuePaused,
    QuotaSpent,
    TooManyWaiting,
)
from flux_core.jobs import Account, Job, JobState
from tests.database.new_file import new_file
from tests.database.scene import SCHNELL, TINY, Scene, a_request, a_scene, pictures

ACCOUNTS = [Account(7, 1), Account(7, 2), Account(8, 1)]
OURS = ["w1", "w2"]
VENDORS = {"acme": 1, "bolt": 2}
"""Hosted providers, with a worker of the same name each: cents a picture."""
WORKERS = [*OURS, *VENDORS]
ENDINGS = ["well", "partly", "badly", "broken", "unknown", "busy", "pass on", "back", "stop"]
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
        self.now = 0.0
        """The guilds' virtual time."""
        self.finish = {account.guild_id: 0.0 for account in ACCOUNTS}
        """Where each guild's next turn starts."""
        self.claimed_starts = {account.guild_id: 0.0 for account in ACCOUNTS}
        """The largest start claimed in each guild."""

    async def _open(self) -> Scene:
        folder = self.stack.enter_context(TemporaryDirectory())
        url = new_file(Path(folder) / "a.db")
        scene = await self.stack.enter_async_context(a_scene(url, Path(folder), allowance=ALLOWANCE, max_waiting=4))
        for vendor, cents in VENDORS.items():
            await scene.vendor(vendor, SCHNELL, TINY, cents=cents, slots=100)
        return scene

    async def _wake(self) -> None:
        for vendor in VENDORS:
            await self.scene.queue.beat(vendor)

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
        paid = [job for job in self.jobs.values() if job.account == account and job.state in kept]
        return sum(job.cost - self.given_back(job) for job in paid)

    def given_back(self, job: Job) -> int:
        """Return what pictures that are missing cost."""
        return sum(remark.facts["refunded"] for remark in job.remarks if remark.code == "partly_withheld")

    def claimable(self) -> list[Job]:
        """Return the jobs that wait where nobody paused, by turn."""
        return [job for job in self.of(JobState.QUEUED) if job.account.guild_id not in self.paused]

    def for_us(self) -> list[Job]:
        """Return those that our own cards may draw."""
        return [
            job
            for job in self.claimable()
            if job.venue != "hosted" and job.provider_job_id is None and "local" not in job.tried
        ]

    def for_vendors(self) -> list[Job]:
        """Return those that hosted providers may draw."""
        return [job for job in self.claimable() if job.venue != "local" or job.provider_job_id is not None]

    def best_of(self, job: Job) -> str | None:
        """Return the hosted provider that a job is sent to: no card of ours lives here, so none is waited for."""
        if job.provider_job_id is not None:
            return job.provider
        able = [vendor for vendor in VENDORS if vendor not in job.tried and job.request.provider in (None, vendor)]
        return min(able, key=VENDORS.__getitem__, default=None)

    def in_turn(self, waiting: list[Job]) -> list[Job]:
        """Return jobs in the order in which the guilds and their members take turns."""
        taken = dict.fromkeys(self.finish, 0.0)
        turns = {}
        for job in waiting:
            guild = job.account.guild_id
            start = max(self.now, self.finish[guild]) + taken[guild]
            turns[job.id] = (start, self.finish[guild], guild, job.start_tag, job.id)
            taken[guild] += job.price
        return sorted(waiting, key=lambda job: turns[job.id])

    def charge(self, job: Job) -> None:
        """Note that it was this job's turn."""
        guild = job.account.guild_id
        self.now = max(self.now, self.finish[guild])
        self.finish[guild] = self.now + job.price
        self.claimed_starts[guild] = max(self.claimed_starts[guild], job.start_tag)
        self.jobs[job.id] = job

    def refresh(self) -> None:
        """Read all jobs again."""
        for id in self.jobs:
            self.jobs[id] = self.runner.run(self.scene.studio.job(id))

    @rule(
        account=st.sampled_from(ACCOUNTS),
        model=st.sampled_from([SCHNELL, TINY]),
        count=st.integers(1, 4),
        provider=st.sampled_from([None, None, None, "local", *VENDORS]),
    )
    def submit(self, account: Account, model: str, count: int, provider: str | None) -> None:
        left = ALLOWANCE - self.spent(account)
        self.runner.run(self._wake())
        request = a_request(model, count=count, provider=provider)
        try:
            job = self.runner.run(self.scene.submit(account, request=request))
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
            assert job.start_tag >= max([self.claimed_starts[account.guild_id], *before])
            self.jobs[job.id] = job

    @rule(worker=st.sampled_from(OURS), models=st.sampled_from([[SCHNELL], [TINY], [SCHNELL, TINY]]))
    def claim(self, worker: str, models: list[str]) -> None:
        able = self.in_turn([job for job in self.for_us() if job.request.model in models])
        job = self.runner.run(self.scene.queue.claim(worker, models))
        assert (job and job.id) == (able[0].id if able else None)
        if job is not None:
            self.charge(job)

    @rule(vendor=st.sampled_from([*VENDORS]))
    def claim_hosted(self, vendor: str) -> None:
        self.runner.run(self._wake())
        bound = [job for job in self.for_vendors() if job.provider_job_id is not None]
        others = self.in_turn([job for job in self.for_vendors() if job.provider_job_id is None])
        sent = [job for job in [*bound, *others] if self.best_of(job) == vendor]
        job = self.runner.run(self.scene.queue.claim_hosted(vendor))
        assert (job and job.id) == (sent[0].id if sent else None)
        if job is not None:
            assert (job.provider, job.provider_job_id) == (vendor, sent[0].provider_job_id)
            if sent[0] in bound:
                self.jobs[job.id] = job  # its turn was charged when it was submitted there
            else:
                self.charge(job)

    @precondition(lambda self: any(job.worker_id in VENDORS for job in self.of(JobState.RUNNING)))
    @rule(data=st.data(), told=st.sampled_from(["about to submit", "prediction-1", ""]))
    def tell(self, data: st.DataObject, told: str) -> None:
        job = data.draw(st.sampled_from([job for job in self.of(JobState.RUNNING) if job.worker_id in VENDORS]))
        worker = job.worker_id or ""
        self.runner.run(self.scene.queue.submitted(worker, job.id, worker, told))
        self.refresh()

    @precondition(lambda self: self.of(JobState.RUNNING))
    @rule(data=st.data(), how=st.sampled_from(ENDINGS))
    def end(self, data: st.DataObject, how: str) -> None:
        job = data.draw(st.sampled_from(self.of(JobState.RUNNING)))
        # Mostly whoever has it.
        worker = data.draw(st.sampled_from([job.worker_id or "", job.worker_id or "", *WORKERS]))
        by, count = job.provider or "local", job.request.count
        queue = self.scene.queue
        ways: dict[str, Callable[[], Awaitable[object]]] = {
            "well": lambda: self.scene.succeed(job, worker),
            "partly": lambda: queue.succeed(
                worker, job.id, pictures(job)[:1], provider=by, seconds=1.0, missing=count - 1, withheld="a filter"
            ),
            "badly": lambda: queue.fail(worker, job.id, OutOfMemory()),
            "unknown": lambda: queue.fail(worker, job.id, OutcomeUnknown()),
            "busy": lambda: queue.pass_on(worker, job.id, ProviderBusy()),
            "pass on": lambda: queue.pass_on(worker, job.id, ProviderBroken()),
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
            self.runner.run(studio.line.pause(guild, by=1, reason="x"))
            self.paused.add(guild)
        else:
            self.runner.run(studio.line.resume(guild, by=1))
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
            well = job.state is JobState.SUCCEEDED and not self.given_back(job)
            closing = [] if not job.state.ended else ["settle" if well else "refund"]
            assert kinds[job.id] == ["reserve", *closing]

    @invariant()
    def turns_of_an_account_do_not_overlap(self) -> None:
        for account in ACCOUNTS:
            waiting = self.of(JobState.QUEUED, account)
            for first, second in pairwise(waiting):
                assert first.finish_tag <= second.start_tag

    @invariant()
    def virtual_times_are_the_largest_starts_claimed(self) -> None:
        def times(connection: Connection) -> tuple[float, dict[int, tuple[float, float]]]:
            now = connection.execute(sa.select(virtual_time.c.value)).scalar_one()
            rows = connection.execute(sa.select(guilds.c.guild_id, guilds.c.finish, guilds.c.fast))
            return now, {row.guild_id: (row.finish, row.fast) for row in rows}

        now, found = self.runner.run(self.scene.db.read(times))
        assert now == self.now
        for guild, told in found.items():
            assert told == (self.finish[guild], self.claimed_starts[guild])

    @invariant()
    def what_may_be_claimed_is_what_waits_where_nobody_paused(self) -> None:
        def claimable(connection: Connection) -> list[set[str]]:
            return [
                set(connection.execute(sa.select(jobs.c.id).where(column.is_not(None))).scalars())
                for column in (jobs.c.waits_for, jobs.c.waits_hosted)
            ]

        expected = [{job.id for job in waiting} for waiting in (self.for_us(), self.for_vendors())]
        assert self.runner.run(self.scene.db.read(claimable)) == expected

    @invariant()
    def every_waiting_job_has_somebody_who_may_draw_it(self) -> None:
        for job in self.claimable():
            assert job in self.for_us() or self.best_of(job) is not None

    @invariant()
    def money_is_counted_where_somebody_may_ask_for_it(self) -> None:
        def counted(connection: Connection) -> dict[str, dict[str, int]]:
            found: dict[str, dict[str, int]] = {id: {} for id in self.jobs}
            for row in connection.execute(sa.select(spending)):
                found[row.job_id][row.provider] = row.microdollars
            return found

        for id, amounts in self.runner.run(self.scene.db.read(counted)).items():
            job = self.jobs[id]
            expected = VENDORS.get(job.provider or "", 0) * 10_000 * job.request.count
            held = {provider: amount for provider, amount in amounts.items() if amount}
            told = job.provider_job_id is not None or job.error_code == "outcome_unknown"
            if job.state in (JobState.RUNNING, JobState.SUCCEEDED) or (told and job.error_code != "out_of_memory"):
                assert held == ({job.provider: expected} if expected else {})
            else:
                assert held == {}


Studio.TestCase.settings = settings(
    max_examples=12, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
TestStudio = Studio.TestCase
