"""The queue's own functions on one open connection, so that tests can play thousands of turns in a second.

What differs from production is only that all of it is one transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from sqlalchemy import Connection

from flux_core.database import bookkeeping, claims, jobs, leases, policies, submissions
from flux_core.database.submissions import Submission
from flux_core.errors import OutOfMemory
from flux_core.jobs import Account, Job, JobState, Origin, Whereabouts
from flux_core.policy.guild import GuildPolicy
from tests.database.scene import SCHNELL, Scene, a_request, a_scene, pictures

T = TypeVar("T")

RICH: dict[str, Any] = {"allowance": 10**12, "max_waiting": 1000}
LONG = 10**9
"""Seconds of a lease: nothing here is rescued."""


@dataclass
class Turns:
    """Members who order and workers who claim, one after another."""

    scene: Scene
    connection: Connection

    @property
    def now(self) -> float:
        return self.scene.clock.now

    def decide(self, guild_id: int, policy: GuildPolicy) -> None:
        """Set what a guild has decided."""
        policies.put_policy(self.connection, guild_id, policy, by=1, now=self.now)

    def submit(
        self, account: Account, count: int = 1, *, model: str = SCHNELL, roles: Collection[int] = (), **options: Any
    ) -> Job:
        """Order ``count`` pictures of one megapixel."""
        request = a_request(model, count=count, **options)
        submission = Submission(
            account=account, request=request, origin=Origin.IMAGINE, where=Whereabouts(role_ids=frozenset(roles))
        )
        studio = self.scene.studio
        price = request.price(studio.catalogue)
        return submissions.submit(self.connection, submission, price, studio.rules, studio._offered, self.now)

    def claim(self, worker: str = "w1", models: Sequence[str] = (SCHNELL,)) -> Job | None:
        """Give a worker the job whose turn it is."""
        return claims.claim(self.connection, worker, models, self.now, LONG)

    def next(self) -> Job:
        """Claim a job that has to be there."""
        job = self.claim()
        assert job is not None, "nothing to claim"
        return job

    def succeed(self, job: Job) -> None:
        """End a running job well."""
        assert job.worker_id is not None
        drawn = leases.Drawn(provider="local", seconds=2.0)
        leases.succeed(self.connection, job.worker_id, job.id, pictures(job), drawn, self.now)

    def fail(self, job: Job) -> None:
        """End a running job without pictures, its cost given back."""
        assert job.worker_id is not None
        leases.end_without_pictures(
            self.connection, job.worker_id, job.id, JobState.FAILED, self.now, error=OutOfMemory()
        )

    def spent(self, account: Account) -> int:
        """Return what an account has spent of its allowance, in thousandths of a credit."""
        return submissions.quota_of(self.connection, account, (), self.scene.studio.rules, self.now).spent

    def find(self, job: Job) -> Job:
        """Return a job as it is now."""
        found = jobs.find(self.connection, job.id)
        assert found is not None
        return found

    def agrees(self) -> bool:
        """Say whether ledger, counters and jobs agree."""
        return bookkeeping.discrepancies(self.connection) == []

    def cancel(self, job: Job) -> Job:
        """Take a waiting job back."""
        return submissions.withdraw(self.connection, job, self.now)


def play(game: Callable[[Turns], T], **rules: Any) -> T:
    """Return what ``game`` returns, on a new database of its own."""

    async def run() -> T:
        with TemporaryDirectory() as folder:
            async with a_scene(f"sqlite:///{folder}/a.db", Path(folder), **(RICH | rules)) as scene:
                return await scene.db.write(lambda connection: game(Turns(scene, connection)))

    return asyncio.run(run())
