"""Thousands of random operations by several processes, killed again and again: the books agree throughout.

``make soak`` does so many that everything happens which is rare (SPREE_OPERATIONS), and sees that it did.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from asyncio.subprocess import Process
from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from flux_core.database.bookkeeping import discrepancies
from flux_core.database.tables import jobs, ledger, spending
from flux_core.jobs import JobState, Lane
from tests.database.scene import a_scene
from tests.database.spender import WHAT, clock

pytestmark = pytest.mark.timeout(600)
PROCESSES, KILLS = 3, 4
MANY = 10_000
"""Enough for all that is rare."""
OPERATIONS = {"sqlite": int(os.environ.get("SPREE_OPERATIONS", 3_000)), "postgresql": 1_200}
"""On a server each costs several times as much of a test's time."""


async def start(url: str, folder: Path, number: int, life: int, seed: int, began: float) -> Process:
    """Start a spender."""
    words = [url, str(folder), *(str(word) for word in (number, life, seed, began))]
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.database.spender", *words)


def tally(folder: Path) -> Counter[str]:
    """Count what was done so far; what was refused is a dot."""
    return sum((Counter(file.read_text()) for file in folder.glob("tally-*")), Counter())


def done(folder: Path) -> int:
    """Return how many operations went through so far."""
    counted = tally(folder)
    return counted.total() - counted["."]


def sums(connection: Connection) -> tuple[int, int]:
    """Return what the ledger took for jobs in all, and what the jobs' costs come to less what was partly withheld."""
    taken = sa.select(-sa.func.sum(ledger.c.amount)).where(ledger.c.kind.in_(["reserve", "refund"]))
    lives = jobs.c.state.in_(["queued", "running", "succeeded"])
    cost = sa.select(sa.func.sum(jobs.c.cost)).where(lives)
    back = (
        sa.select(sa.func.coalesce(sa.func.sum(ledger.c.amount), 0))
        .join(jobs, jobs.c.id == ledger.c.job_id)
        .where(jobs.c.state == "succeeded", ledger.c.kind == "refund")
    )
    return connection.execute(taken).scalar_one(), (
        connection.execute(cost).scalar_one() - connection.execute(back).scalar_one()
    )


def variety(connection: Connection) -> set[object]:
    """Return the states, lanes, purses and kinds of rows that there are, to see that the spree was one."""
    seen: set[object] = set()
    for column in (jobs.c.state, jobs.c.lane, ledger.c.kind, sa.func.substr(ledger.c.purse, 1, 4), spending.c.provider):
        seen |= set(connection.execute(sa.select(column).distinct()).scalars())
    pooled = sa.select(sa.func.count()).select_from(ledger).where(ledger.c.pool.is_not(None))
    return seen | ({"pooled"} if connection.execute(pooled).scalar_one() else set())


async def test_ledger_counters_and_jobs_agree_whatever_happens(database_url: str, tmp_path: Path) -> None:
    seed, operations = random.randrange(10**6), OPERATIONS[database_url.partition(":")[0]]
    print(f"seed {seed}")  # noqa: T201 (shown when it fails)
    chance, began = random.Random(seed), time.time()
    async with a_scene(database_url, tmp_path) as scene:
        scene.db.clock = clock(began)
        spenders = [await start(database_url, tmp_path, number, 0, seed, began) for number in range(PROCESSES)]
        try:
            for life in range(1, KILLS + 1):
                while done(tmp_path) < operations * life / (KILLS + 1):
                    assert all(spender.returncode is None for spender in spenders), "a spender gave up"
                    await asyncio.sleep(0.05)
                victim = chance.randrange(PROCESSES)
                spenders[victim].kill()
                await spenders[victim].wait()
                assert await scene.db.read(discrepancies) == []
                spenders[victim] = await start(database_url, tmp_path, victim, life, seed, began)
            while done(tmp_path) < operations:
                assert all(spender.returncode is None for spender in spenders), "a spender gave up"
                await asyncio.sleep(0.05)
        finally:
            for spender in spenders:
                if spender.returncode is None:
                    spender.kill()
                await spender.wait()
        assert await scene.db.read(discrepancies) == []
        taken, kept = await scene.db.read(sums)
        assert taken == kept > 0
        seen = await scene.db.read(variety)
    assert set(tally(tmp_path)) <= {*WHAT, "."}
    assert {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, "allowance", "grant"} <= seen
    if operations >= MANY:
        assert set(tally(tmp_path)) == {*WHAT, "."}
        assert {*JobState, *Lane} - seen <= {JobState.REFUSED}
        assert {"acme", "pooled", "day:", "week", "mont", "roll", "gran"} <= seen
