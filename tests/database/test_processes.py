"""Several processes on one database, killed again and again: nothing is lost, drawn twice or paid twice."""

from __future__ import annotations

import asyncio
import random
import sys
from asyncio.subprocess import Process
from collections import Counter
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection

from flux_core.database.tables import jobs, ledger, pictures
from flux_core.jobs import JobState
from tests.database.laborer import GENEROUS
from tests.database.scene import a_scene

PROCESSES, JOBS_EACH, KILLS = 4, 30, 5


async def start(url: str, folder: Path, number: int, life: int) -> Process:
    """Start a laborer."""
    words = [url, str(folder), *(str(word) for word in (number, JOBS_EACH, life))]
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.database.laborer", *words)


def states(connection: Connection) -> Counter[str]:
    """Count the jobs by state."""
    rows = connection.execute(sa.select(jobs.c.state, sa.func.count().label("number")).group_by(jobs.c.state))
    return Counter({row.state: row.number for row in rows})


def accounts_book(connection: Connection) -> dict[str, tuple[str, int, list[tuple[str, int]], int]]:
    """Return for each job its state, its cost, its rows in the ledger, and how many pictures it has."""
    rows: dict[str, list[tuple[str, int]]] = {}
    for job, kind, amount in connection.execute(sa.select(ledger.c.job_id, ledger.c.kind, ledger.c.amount)):
        rows.setdefault(job, []).append((kind, amount))
    drawn = Counter(connection.execute(sa.select(pictures.c.job_id)).scalars())
    known = connection.execute(sa.select(jobs.c.id, jobs.c.state, jobs.c.cost))
    return {id: (state, cost, sorted(rows[id]), drawn[id]) for id, state, cost in known}


async def test_killing_processes_loses_nothing_and_charges_once(database_url: str, tmp_path: Path) -> None:
    chance = random.Random(7)
    async with a_scene(database_url, tmp_path, **GENEROUS) as scene:
        laborers = [await start(database_url, tmp_path, number, 0) for number in range(PROCESSES)]
        try:
            for life in range(1, KILLS + 1):
                enough = min((await scene.db.read(states)).total() + 5, PROCESSES * JOBS_EACH)
                seen = None
                while (await scene.db.read(states)).total() < enough:
                    seen = await scene.db.changed(seen, 1.0)
                await asyncio.sleep(chance.uniform(0, 0.1))
                victim = chance.randrange(PROCESSES)
                laborers[victim].kill()
                await laborers[victim].wait()
                laborers[victim] = await start(database_url, tmp_path, victim, life)
            while True:
                now = await scene.db.read(states)
                if now.total() == PROCESSES * JOBS_EACH and not now["queued"] + now["running"]:
                    break
                assert all(laborer.returncode is None for laborer in laborers), "a laborer gave up"
                await asyncio.sleep(0.05)
        finally:
            for laborer in laborers:
                if laborer.returncode is None:
                    laborer.kill()
                await laborer.wait()
        book = await scene.db.read(accounts_book)
        outcomes = {
            JobState.SUCCEEDED: [("reserve", -1000), ("settle", 0)],
            JobState.FAILED: [("refund", 1000), ("reserve", -1000)],
        }
        assert len(book) == PROCESSES * JOBS_EACH
        for state, cost, rows, drawn in book.values():
            assert (cost, rows) == (1000, outcomes[JobState(state)])
            assert drawn == (1 if state == JobState.SUCCEEDED else 0)
        assert {state for state, *_ in book.values()} == set(outcomes)
        ordered = Counter((tmp_path / "orders").read_text().split())
        assert len(ordered) > PROCESSES
        assert set(ordered.values()) == {1}
        assert (tmp_path / "parties").read_text(), "some were claimed together"
