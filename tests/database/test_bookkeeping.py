"""The books agree whatever happens, and where somebody wrote past this program it is found."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from flux_core.database.bookkeeping import MEANINGS, Discrepancy, discrepancies
from flux_core.errors import OutOfMemory
from flux_core.jobs import Job
from tests.database.scene import ANNE, BERT, CLEO, Scene, a_scene, pictures


async def one_of_each(scene: Scene) -> dict[str, Job]:
    """Submit one job for each way in which one can end, in a server with a pool; the first is paid from two purses."""
    await scene.studio.policies.change(
        7, lambda policy: policy.model_copy(update={"pool": 50.0}), by=1, action="quota set"
    )
    await scene.studio.members.grant(ANNE, 8000, by=1, reason="a prize")
    found = {}
    for name in ("partly", "failed"):
        found[name] = await scene.submit(ANNE, count=3)
        await scene.claim()
    drawn = pictures(found["partly"])[:2]
    await scene.queue.succeed("w1", found["partly"].id, drawn, provider="local", seconds=1, missing=1)
    await scene.queue.fail("w1", found["failed"].id, OutOfMemory())
    await scene.vendor()
    found["hosted"] = await scene.submit(CLEO)
    await scene.claim_hosted()
    await scene.queue.succeed("acme", found["hosted"].id, pictures(found["hosted"]), provider="acme", seconds=1)
    await scene.queue.retire("acme")
    found["cancelled"] = await scene.submit(BERT)
    await scene.studio.cancel(found["cancelled"].id, by=BERT.user_id, moderator=False)
    found["running"] = await scene.submit(CLEO)
    assert (await scene.claim()).id == found["running"].id
    found["waiting"] = await scene.submit(BERT)
    kinds = [kind for kind, *_ in await scene.ledger(found["partly"])]
    assert kinds == ["reserve", "reserve", "refund", "refund"]
    return found


@dataclass(frozen=True)
class Books:
    """A database file that nobody else has open, and the jobs in it."""

    file: Path
    jobs: dict[str, Job]

    def found(self, folder: Path, *statements: str) -> list[Discrepancy]:
        """Return what is found in a copy after somebody wrote into it past triggers and foreign keys."""
        copy = shutil.copy(self.file, folder / "copy.db")
        connection = sqlite3.connect(copy, isolation_level=None)
        for change in ("update", "delete"):
            connection.execute(f"DROP TRIGGER ledger_no_{change}")
        for statement in statements:
            assert connection.execute(statement).rowcount > 0, statement
        connection.close()
        engine = sa.create_engine(f"sqlite:///{copy}")
        with engine.connect() as looking:
            found = discrepancies(looking)
        engine.dispose()
        return found


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Books:
    """A studio that gives two credits a day, in which something of everything happened."""
    folder = tmp_path_factory.mktemp("books")

    async def write() -> dict[str, Job]:
        async with a_scene(f"sqlite:///{folder}/books.db", folder, allowance=2000) as scene:
            return await one_of_each(scene)

    return Books(folder / "books.db", asyncio.run(write()))


def test_everything_agrees_however_jobs_end(books: Books, tmp_path: Path) -> None:
    assert books.found(tmp_path) == []


COPIED = (
    "INSERT INTO ledger (at, guild_id, user_id, purse, kind, amount, job_id, part, pool) SELECT at, guild_id, user_id"
)
DAMAGES = {
    "a job without a reservation": ("unpaid", "waiting", "DELETE FROM ledger WHERE job_id = '{}'"),
    "somebody else's reservation": ("unpaid", "waiting", "UPDATE ledger SET user_id = 99 WHERE job_id = '{}'"),
    "one part of two is somebody else's": (
        "unpaid", "partly", "UPDATE ledger SET user_id = 99 WHERE job_id = '{}' AND part = 1 AND kind = 'reserve'",
    ),
    "a reservation of too little": (
        "mischarged", "waiting", "UPDATE ledger SET amount = amount + 1, pool = NULL WHERE job_id = '{}'",
    ),
    "a relaxed job that costs": ("relaxed_paid", "running", "UPDATE jobs SET lane = 1 WHERE id = '{}'"),
    "a refund before the end": (
        "settled_early", "running", f"{COPIED}, purse, 'refund', 0, job_id, 0, pool FROM ledger WHERE job_id = '{{}}'",
    ),
    "a settlement before the end": (
        "settled_early", "waiting", f"{COPIED}, 's', 'settle', 0, job_id, 0, NULL FROM ledger WHERE job_id = '{{}}'",
    ),
    "an end without refund": (
        "unsettled", "cancelled", "DELETE FROM ledger WHERE job_id = '{}' AND kind = 'refund' AND amount = 1000",
    ),
    "a success without settlement": (
        "unsettled", "hosted", "DELETE FROM ledger WHERE job_id = '{}' AND kind = 'settle'",
    ),
    "settled and refunded": (
        "settled_twice", "hosted",
        f"{COPIED}, purse, 'refund', 0, job_id, 1, NULL FROM ledger WHERE job_id = '{{}}' AND kind = 'reserve'",
    ),
    "more back than was paid": (
        "misrefunded", "failed",
        "UPDATE ledger SET amount = amount + 1 WHERE job_id = '{}' AND kind = 'refund' AND purse = 'granted'",
    ),
    "less back than was paid": (
        "misrefunded", "failed",
        "UPDATE ledger SET amount = amount - 1 WHERE job_id = '{}' AND kind = 'refund' AND purse = 'granted'",
    ),
    "the right sum to the wrong purse": (
        "misrefunded", "cancelled",
        "UPDATE ledger SET purse = 'granted' WHERE job_id = '{}' AND kind = 'refund'",
    ),
    "a success that gave back more than a purse paid": (
        "misrefunded", "partly",
        "UPDATE ledger SET amount = 3001 WHERE job_id = '{}' AND kind = 'refund' AND purse = 'granted'",
    ),
    "another price than was counted": ("dollars", "hosted", "UPDATE jobs SET microdollars = 1 WHERE id = '{}'"),
    "a hosted job's money in another server": (
        "nobodys_money", "hosted", "UPDATE spending SET guild_id = 8 WHERE job_id = '{}'",
    ),
    "a waiting job that nobody may claim": (
        "claimable", "waiting", "UPDATE jobs SET waits_for = NULL WHERE id = '{}'",
    ),
    "a job of a paused server that can be claimed": (
        "claimable", "waiting",
        "INSERT INTO pauses (guild_id, reason, by_user, since) SELECT guild_id, '', 1, 0 FROM jobs WHERE id = '{}'",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("problem", "job", "statement"), DAMAGES.values(), ids=DAMAGES)
def test_damage_to_a_job_is_found(books: Books, tmp_path: Path, problem: str, job: str, statement: str) -> None:
    found = books.found(tmp_path, statement.format(books.jobs[job].id))
    assert Discrepancy(problem, 1, books.jobs[job].id) in found
    # What follows from it may be told as well: a pool that no longer agrees with the ledger.
    assert {one.problem for one in found} <= {problem, "pool", "overdrawn"}


OTHERS = {
    "a pool with too much": ("pool", "7 day:2026-11-21", "UPDATE pools SET spent = spent + 1"),
    "a pool that was lost": ("pool", "7 day:2026-11-21", "DELETE FROM pools"),
    "a pool of nobody": ("pool", "9 day:2026-11-21", "INSERT INTO pools VALUES (9, 'day:2026-11-21', 1)"),
    "credits spent that were not given": (
        "overdrawn", "7/1 granted", "UPDATE ledger SET amount = 1 WHERE kind = 'grant' AND user_id = 1",
    ),
    "a reset of more than was spent": (
        "overgiven", "7/2 day:2026-11-21",
        "INSERT INTO ledger (at, guild_id, user_id, purse, kind, amount, by_user)"
        " VALUES (0, 7, 2, 'day:2026-11-21', 'grant', 1001, 9)",
    ),
    "a turn that starts too early": ("turn", "7/2", "UPDATE members SET last_finish = 0 WHERE user_id = 2"),
    "a member without a turn": ("turn", "7/2", "DELETE FROM members WHERE user_id = 2"),
    "a server without turns": ("unknown_guild", "7", "DELETE FROM guilds"),
    "money for a job that is not there": (
        "nobodys_money", "gone", "INSERT INTO spending VALUES ('gone', 'acme', 7, '2026-11-21', 0, 1)",
    ),
    "a refund for a job that is not there": (
        "nobodys_money", "gone",
        "INSERT INTO ledger (at, guild_id, user_id, purse, kind, amount, job_id)"
        " VALUES (0, 7, 1, 'p', 'refund', 1, 'gone')",
    ),
    "a policy that nobody can read": (
        "policy", "7", "UPDATE policies SET policy = '{'",
    ),
    "limits that nobody can read": (
        "limits", "7/2", "UPDATE members SET limits = '{\"credits\": \"many\"}' WHERE user_id = 2",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("problem", "example", "statement"), OTHERS.values(), ids=OTHERS)
def test_other_damage_is_found(books: Books, tmp_path: Path, problem: str, example: str, statement: str) -> None:
    assert books.found(tmp_path, statement) == [Discrepancy(problem, 1, example)]


def test_each_problem_is_tried_and_has_an_advice() -> None:
    assert {problem for problem, *_ in [*DAMAGES.values(), *OTHERS.values()]} == set(MEANINGS)
    one = Discrepancy("pool", 2, "7 day:2026-11-21")
    assert str(one) == "Pools that do not say what their server's members spent: 2, such as 7 day:2026-11-21"
    assert one.advice.startswith("Until such a pool renews")


def test_a_problem_that_many_have_is_told_once(books: Books, tmp_path: Path) -> None:
    [found] = books.found(tmp_path, "UPDATE jobs SET cost = cost + 1 WHERE id <> (SELECT min(id) FROM jobs)")
    assert found == Discrepancy("mischarged", len(books.jobs) - 1, books.jobs["failed"].id)
