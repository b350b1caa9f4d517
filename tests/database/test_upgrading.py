"""A database that an earlier version filled: everything in it survives, and goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command, op
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from flux_core.database import locks
from flux_core.database.bookkeeping import discrepancies
from flux_core.database.jobs import values_of
from flux_core.database.members import limits_of
from flux_core.database.schema import config_for
from flux_core.database.tables import jobs
from flux_core.jobs import Account, Job, JobState, Origin
from flux_core.policy.guild import GuildPolicy, Limits, Renewal
from flux_core.router import RoutingPolicy
from tests.database.postgres import driver, new_database
from tests.database.scene import ANNE, BERT, SCHNELL, Scene, a_reply, a_request, a_scene

ABROAD_TOO = Account(guild_id=10, user_id=1)
"""Somebody of a guild that had nothing before."""
NEW = (
    *("waits_hosted", "venue", "asked", "tried", "remarks", "microdollars", "kept"),
    *("lane", "price", "held", "age_restricted", "notify", "mask_key", "lora"),
)
NEW_WISHES = {"provider", "mode", "input_mask", "lora"}


def a_row(number: int, **changes: Any) -> dict[str, Any]:
    """A job as 0001 kept it."""
    job = Job(
        id=f"{number:024x}",
        account=ANNE,
        request=a_request(),
        origin=Origin.IMAGINE,
        cost=1000,
        created_at=1.0,
        reply_to=a_reply(),
        start_tag=float(number),
        finish_tag=number + 1.0,
    )
    row = values_of(job, f"key-{number}") | changes
    wish = json.loads(row["request"])
    row["request"] = json.dumps({name: value for name, value in wish.items() if name not in NEW_WISHES})
    return {name: value for name, value in row.items() if name not in NEW}


ROWS = [
    a_row(1),
    a_row(2, waits_for=None, guild_id=8),
    a_row(3, state="running", waits_for=None, worker_id="w0", lease_until=5.0, attempts=1, started_at=2.0),
    a_row(4, state="succeeded", waits_for=None, ended_at=3.0, worker_id="w0", provider="local", attempts=1),
    a_row(5, state="failed", waits_for=None, ended_at=3.0, error_code="out_of_memory", error_facts="{}"),
]


def fill(connection: Connection) -> None:
    """Write what a studio may hold."""
    for row in ROWS:
        names = ", ".join(row)
        connection.execute(sa.text(f"INSERT INTO jobs ({names}) VALUES ({', '.join(f':{name}' for name in row)})"), row)
    book = "INSERT INTO ledger (at, guild_id, user_id, purse, kind, amount, job_id)"
    for statement in (
        f"{book} VALUES (1, 7, 1, 'granted', 'grant', 9000, NULL)",
        f"{book} SELECT 1, guild_id, 1, 'granted', 'reserve', -1000, id FROM jobs WHERE guild_id = 7",
        f"{book} VALUES (1, 8, 1, 'day:1970-01-01', 'reserve', -1000, '{2:024x}')",
        f"{book} VALUES (3, 7, 1, 'settled', 'settle', 0, '{4:024x}')",
        f"{book} VALUES (3, 7, 1, 'granted', 'refund', 1000, '{5:024x}')",
        f"INSERT INTO pictures VALUES ('{4:024x}', 0, 'pictures/a.webp', 64, 64, 7, 'image/webp', 10)",
        "INSERT INTO pauses VALUES (8, 'storm', 1, 0)",
        "INSERT INTO workers VALUES ('w0', 'here', 1, 'cpu', '[\"flux-schnell\"]', 0, 0)",
        "INSERT INTO speeds VALUES ('flux-schnell', 1, 1, 1, 1, 1)",
        "INSERT INTO members VALUES (7, 1, 2.0, 5000, 6.0), (8, 1, 1.0, NULL, 3.0)",
    ):
        connection.exec_driver_sql(statement)


def begin(connection: Connection) -> None:
    """Make and fill a database of the first version."""
    command.upgrade(config_for(connection), "0001")
    fill(connection)


async def run(url: str, work: Callable[[Connection], None]) -> None:
    """Do ``work`` on a database that this version has not opened yet."""
    if url.startswith("postgresql"):
        server = create_async_engine(driver(url))
        async with server.begin() as connection:
            await connection.run_sync(work)
        await server.dispose()
    else:
        engine = sa.create_engine(url)
        with engine.begin() as plain:
            work(plain)
        engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
async def old_database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A filled database of the first version."""
    if request.param == "postgresql":
        url = await new_database(migrated=False)
    else:
        (tmp_path / "studio").mkdir()
        url = f"sqlite:///{tmp_path / 'studio' / 'flux-bot.db'}"
    await run(url, begin)
    return url


async def contents(scene: Scene) -> dict[str, dict[str, Any]]:
    """Return all jobs' rows."""
    return await scene.db.read(
        lambda connection: {row.id: dict(row._mapping) for row in connection.execute(sa.select(jobs))}
    )


async def test_every_job_survives_and_may_be_drawn_by_anybody(old_database: str, tmp_path: Path) -> None:
    async with a_scene(old_database, tmp_path) as scene:
        found = await contents(scene)
        for row in ROWS:
            now = found[row["id"]]
            assert {name: now[name] for name in row} == row
            assert (now["venue"], now["waits_hosted"]) == ("any", row["waits_for"])
            assert (now["asked"], now["tried"], now["remarks"], now["microdollars"]) == (None,) * 4
        assert await scene.studio.venues() == []
        assert len(await scene.studio.pictures(f"{4:024x}")) == 1
        assert await scene.db.read(limits_of, ANNE) == Limits(credits=5, renewal=Renewal(every="day"), weight=2)
        assert {row["price"] for row in found.values()} == {1000}
        assert [stop.reason for stop in await scene.studio.line.stops(8)] == ["storm"]


async def test_what_waited_goes_on(old_database: str, tmp_path: Path) -> None:
    async with a_scene(old_database, tmp_path) as scene:
        await scene.vendor()
        assert [job.state for job in await scene.queue.rescue()] == [JobState.QUEUED]
        assert (await scene.claim_hosted()).id == f"{1:024x}"
        assert (await scene.claim("w1")).id == f"{3:024x}"
        assert await scene.queue.claim("w1", [SCHNELL]) is None
        await scene.studio.line.resume(8, by=1)
        assert (await scene.claim_hosted()).id == f"{2:024x}"
        assert (await scene.submit(Account(9, 9))).venue == "any"


async def test_the_books_agree_after_it(old_database: str, tmp_path: Path) -> None:
    async with a_scene(old_database, tmp_path) as scene:
        assert await scene.db.read(discrepancies) == []
        await scene.queue.rescue()
        await scene.claim("w1")
        await scene.submit()
        assert await scene.db.read(discrepancies) == []


async def test_one_step_back_keeps_every_job(old_database: str, tmp_path: Path) -> None:
    async with a_scene(old_database, tmp_path) as scene:
        # Who was alone with the house notes it in a table, which is gone then.
        await scene.db.write(locks.beside_others(lambda connection: command.downgrade(config_for(connection), "0001")))

        def rows(connection: Connection) -> list[dict[str, Any]]:
            return [dict(row._mapping) for row in connection.exec_driver_sql("SELECT * FROM jobs ORDER BY id")]

        back = await scene.db.read(rows)
        assert [{name: row[name] for name in given} for row, given in zip(back, ROWS, strict=True)] == ROWS
        assert not set(NEW) & set(back[0])
        await scene.db.write(lambda connection: command.upgrade(config_for(connection), "head"))
        assert len(await contents(scene)) == len(ROWS)


def go_on_to_0003(connection: Connection) -> None:
    """Let the third version go on with it: prices came to be known, and guilds said who draws."""
    command.upgrade(config_for(connection), "0003")
    cheapest = RoutingPolicy(first="hosted", order="cheapest", providers=("acme",), overflow_seconds=5)
    for statement in (
        "UPDATE virtual_time SET value = 1.5",
        "UPDATE members SET last_finish = 2.0 WHERE guild_id = 7",
        f"INSERT INTO routing VALUES (7, '{cheapest.model_dump_json()}', 9, 12.0)",
        # As it was kept while nothing was said about it.
        "INSERT INTO routing VALUES (8, '{}', 9, 12.0)",
        "INSERT INTO members VALUES (9, 1, 1000.0, 0, 1.0)",
        f"INSERT INTO spending VALUES ('{4:024x}', 'acme', 7, '1970-01-01', 3.0, 30000)",
    ):
        connection.exec_driver_sql(statement)


@pytest.fixture
async def database_of_0003(old_database: str) -> str:
    """The same after the third version."""
    await run(old_database, go_on_to_0003)
    return old_database


async def test_what_guilds_said_about_who_draws_goes_on_to_hold(database_of_0003: str, tmp_path: Path) -> None:
    async with a_scene(database_of_0003, tmp_path) as scene:
        routing = (await scene.studio.policies.of(7)).routing
        assert routing == RoutingPolicy(first="hosted", order="cheapest", providers=("acme",), overflow_seconds=5)
        assert await scene.studio.policies.of(8) == GuildPolicy(routing=RoutingPolicy())
        # A weight larger than may be set now, and no allowance at all.
        limits = await scene.db.read(limits_of, Account(9, 1))
        assert limits == Limits(weight=100, credits=0, renewal=Renewal(every="day"))
        # Changed by a moderator, the rest of it stays.
        await scene.studio.policies.change(
            7, lambda before: before.model_copy(update={"pool": 5.0}), by=9, action="quota set"
        )
        assert (await scene.studio.policies.of(7)).routing == routing
        assert await scene.db.read(discrepancies) == []


async def test_turns_go_on_from_where_time_was(database_of_0003: str, tmp_path: Path) -> None:
    async with a_scene(database_of_0003, tmp_path, policy=RoutingPolicy()) as scene:
        await scene.studio.policies.change(
            7, lambda before: before.model_copy(update={"routing": None}), by=9, action="x"
        )
        newcomer, known, elsewhere = [await scene.submit(account) for account in (BERT, ANNE, ABROAD_TOO)]
        assert (newcomer.start_tag, known.start_tag, elsewhere.start_tag) == (1.5, 2.0, 0.0)
        await scene.queue.rescue()
        claimed = [await scene.claim("w1") for _ in range(5)]
        # Guilds take turns; within the old one the old jobs come by their tags.
        assert [job.id for job in claimed if job.account.guild_id == 7] == [
            *(f"{1:024x}", newcomer.id, known.id, f"{3:024x}"),
        ]
        assert elsewhere.id in {claimed[0].id, claimed[1].id}
        assert await scene.db.read(discrepancies) == []


async def test_a_migration_that_is_interrupted_leaves_the_old_database(
    database_of_0003: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever statement it was at: it is one transaction."""
    create_table = op.create_table

    def killed(name: str, *columns: Any, **more: Any) -> Any:
        if name == "reviews":
            raise InterruptedError("the power is gone")
        return create_table(name, *columns, **more)

    with monkeypatch.context() as patch:
        patch.setattr(op, "create_table", killed)
        with pytest.raises(InterruptedError):
            async with a_scene(database_of_0003, tmp_path):
                pass
    async with a_scene(database_of_0003, tmp_path) as scene:
        assert len(await contents(scene)) == len(ROWS)
        assert await scene.db.read(discrepancies) == []
