"""Several processes at once on one database: no job has two owners, and no member more running than they may.

``HAMMER=2000 pytest tests/database/test_hammer.py`` goes on for longer.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections import Counter
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection

from flux_core.database.bookkeeping import Discrepancy, discrepancies
from flux_core.database.tables import jobs
from flux_core.jobs import Account
from flux_core.policy.guild import Limits
from tests.database.hammer import LIMITED, MOST
from tests.database.laborer import GENEROUS
from tests.database.scene import a_scene
from tests.database.test_processes import states

PROCESSES = 3
JOBS_EACH = int(os.environ.get("HAMMER", "24"))


def running(connection: Connection) -> Counter[Account]:
    """Count the running jobs of every member."""
    rows = connection.execute(sa.select(jobs.c.guild_id, jobs.c.user_id).where(jobs.c.state == "running"))
    return Counter(Account(*row) for row in rows)


def look(connection: Connection) -> tuple[Counter[str], Counter[Account], list[Discrepancy]]:
    """Return how many jobs there are in each state, how many of each member run, and what does not agree."""
    return states(connection), running(connection), discrepancies(connection)


def owners(book: str) -> Counter[str]:
    """Return how often each job was claimed; nobody has one that another has."""
    held: dict[str, str] = {}
    claimed: Counter[str] = Counter()
    for line in book.splitlines():
        sign, job, worker = line.split()
        if sign == "+":
            assert job not in held, f"{worker} got {job}, which {held[job]} has"
            held[job] = worker
            claimed[job] += 1
        else:
            assert held.pop(job) == worker
    assert not held
    return claimed


async def test_many_at_once_share_what_waits(database_url: str, tmp_path: Path) -> None:
    seed = int(os.environ.get("SEED", "0")) or random.randrange(1, 10**6)
    print(f"SEED={seed}")  # noqa: T201 (shown when it fails)
    async with a_scene(database_url, tmp_path, **GENEROUS) as scene:
        for account in LIMITED:
            await scene.studio.members.change_limits(account, lambda _: Limits(max_running=MOST), by=1)
        words = [sys.executable, "-m", "tests.database.hammer", database_url, str(tmp_path)]
        hammers = [
            await asyncio.create_subprocess_exec(*words, str(number), str(JOBS_EACH), str(seed))
            for number in range(PROCESSES)
        ]
        try:
            while True:
                number, at_once, wrong = await scene.db.read(look)
                assert wrong == []
                assert max(at_once[account] for account in LIMITED) <= MOST
                if number.total() == PROCESSES * JOBS_EACH and not number["queued"] + number["running"]:
                    break
                assert all(hammer.returncode is None for hammer in hammers), "a hammer gave up"
                await asyncio.sleep(0.1)
        finally:
            for hammer in hammers:
                if hammer.returncode is None:
                    hammer.kill()
                await hammer.wait()
    claimed = owners((tmp_path / "book").read_text())
    assert set(number) <= {"succeeded", "failed", "cancelled"}
    assert len(claimed) >= number["succeeded"] > PROCESSES * JOBS_EACH / 3
