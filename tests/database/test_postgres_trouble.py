"""What a server far away adds: it is down, connections break, somebody holds a lock, callers give up."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.util import await_only

from flux_core.database import locks, postgres, wire
from flux_core.database.connecting import connect
from flux_core.database.engine import Database
from flux_core.database.tables import pauses
from flux_core.errors import ConfigurationError, StorageUnavailable
from tests.database.postgres import Server, new_database, shared
from tests.database.scene import BERT, a_scene

SECRET = "p4ss-w0rd"


def put(connection: Connection, guild: int) -> None:
    connection.execute(sa.insert(pauses), {"guild_id": guild, "reason": "x", "by_user": 1, "since": 0.0})


def guilds(connection: Connection) -> list[int]:
    return list(connection.execute(sa.select(pauses.c.guild_id).order_by(pauses.c.guild_id)).scalars())


@pytest.fixture
async def url() -> str:
    return await new_database()


@pytest.fixture
async def db(url: str) -> AsyncIterator[Database]:
    db = await connect(url, pool=2)
    yield db
    await db.close()


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that a test may stop."""
    server = Server()
    yield server
    server.close()


async def end_connections(url: str, *, listening: bool) -> int:
    """End the connections to a database as an operator would; return how many."""
    name = sa.make_url(url).database or ""
    kind = "query LIKE 'LISTEN%' OR query LIKE 'NOTIFY%'"
    found = await shared().run(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        f" AND {'' if listening else 'NOT'} ({kind})"
    )
    return len(found)


async def test_a_server_that_is_down_refuses_and_comes_back(server: Server, tmp_path: Path) -> None:
    async with a_scene(await server.new_database(), tmp_path) as scene:
        job = await scene.submit()
        claimed = await scene.claim()
        await scene.submit(BERT)  # it waits for the disk, and so the claim is there as well (``may_be_undone``)
        listened = await connect(server.url_of(sa.make_url(await _url_of(scene.db)).database or ""))
        server.stop()
        for use in (scene.submit(), scene.studio.job(job.id), scene.queue.heartbeat("w1", [job.id])):
            began = time.monotonic()
            with pytest.raises(StorageUnavailable, match="does not answer"):
                await use
            assert time.monotonic() - began < 20
        server.start()
        # What ran goes on, as though nothing had been, and others are heard of again.
        await scene.succeed(claimed)
        assert (await scene.studio.job(job.id)).state.ended
        async with asyncio.timeout(20):
            version = await listened.changed(None, 0)
            while await listened.changed(version, 0.2) == version:
                await scene.queue.heartbeat("w1", [job.id])
        await listened.close()


async def _url_of(db: Database) -> str:
    assert isinstance(db, postgres.PostgresDatabase)
    return db._writer.url.render_as_string(hide_password=False)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://flux@127.0.0.1:1/flux", "does not answer"),
        ("postgresql://flux@/flux?host=/nowhere/at/all", "does not answer"),
        ("postgresql://flux@127.0.0.1:1/flux?sslmode=require", "does not answer"),
    ],
)
async def test_a_server_that_is_not_there_is_told(url: str, said: str) -> None:
    with pytest.raises(StorageUnavailable, match=said):
        await connect(url)


async def test_what_the_server_says_to_a_wrong_name_is_told() -> None:
    with pytest.raises(StorageUnavailable, match='database "nobodys" does not exist'):
        await connect(shared().url_of("nobodys"))


async def test_an_option_that_does_not_exist_is_told(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"DATABASE_URL.*colour"):
        await connect(f"{url}&colour=blue")


async def test_the_password_is_told_to_nobody(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for rest in (
        "@127.0.0.1:1/flux",
        "@/flux?host=/nowhere",
        "@127.0.0.1:1/flux?colour=blue",
        "@127.0.0.1:x/flux",
        "@ss@db/flux",
    ):
        with pytest.raises((StorageUnavailable, ConfigurationError)) as caught:
            await connect(f"postgresql://flux:{SECRET}{rest}")
        assert SECRET not in str(caught.value) + repr(caught.value)
        assert SECRET not in "".join(traceback.format_exception_only(caught.value))
    assert SECRET not in caplog.text


async def test_broken_connections_are_made_again_without_a_word(db: Database, url: str) -> None:
    await asyncio.gather(*(db.read(guilds) for _ in range(2)))
    assert await end_connections(url, listening=False) >= 1
    await db.write(put, 1)
    assert await end_connections(url, listening=False) >= 1
    assert await db.read(guilds) == [1]


async def test_a_connection_that_breaks_in_the_middle_undoes_the_transaction(db: Database, url: str) -> None:
    def interrupted(connection: Connection) -> None:
        put(connection, 1)
        await_only(end_connections(url, listening=False))
        put(connection, 2)

    with pytest.raises(StorageUnavailable):
        await db.write(interrupted)
    assert await db.read(guilds) == []


async def test_who_listens_listens_again(db: Database, url: str) -> None:
    other = await connect(url)
    assert await end_connections(url, listening=True) >= 1
    async with asyncio.timeout(20):
        version, number = await db.changed(None, 0), 0
        while await db.changed(version, 0.2) == version:
            number += 1
            await other.write(put, number)
        # It is told of the gap itself as well; this time it is the others' write.
        version = await db.changed(None, 0.5)
        while (later := await db.changed(version, 0.5)) != version:
            version = later
        await other.write(put, 0)
        assert await db.changed(version, 10) != version
    await other.close()


async def test_a_connection_that_is_tried_while_something_is_told_stays(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("ALIVE_SECONDS", "TELL_SECONDS", "QUIET_SECONDS"):
        monkeypatch.setattr(wire, name, 0.0)
    db = await connect(url)
    for guild in range(30):
        await db.write(put, guild)
    await db.close()
    assert "cannot listen" not in caplog.text


async def test_what_is_written_last_is_told_before_leaving(db: Database, url: str) -> None:
    version = await db.changed(None, 0)
    other = await connect(url)
    await other.write(put, 1)
    await other.close()
    assert await db.changed(version, 10) != version


async def test_a_lock_that_is_never_let_go_becomes_storage_unavailable(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "STATEMENT_SECONDS", 0.3)
    patient, hasty = await connect(url), await connect(url)
    held, done = asyncio.Event(), asyncio.Event()

    def hold(connection: Connection) -> None:
        connection.exec_driver_sql("SELECT 1")  # what a transaction locks, it locks when it begins
        held.set()
        # Statements keep the transaction from being taken for one of a machine that is gone.
        while not done.is_set():
            connection.exec_driver_sql("SELECT pg_sleep(0.05)")

    holding = asyncio.create_task(patient.write(hold))
    await held.wait()
    with pytest.raises(StorageUnavailable, match="timeout"):
        await hasty.write(put, 1)
    assert await hasty.read(guilds) == []
    done.set()
    await holding
    await hasty.write(put, 1)
    assert await hasty.read(guilds) == [1]
    await patient.close()
    await hasty.close()


async def test_a_transaction_whose_machine_is_gone_does_not_keep_the_house_shut(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "STATEMENT_SECONDS", 0.5)
    gone, other = await connect(url), await connect(url)

    def fall_silent(connection: Connection) -> None:
        put(connection, 1)
        await_only(asyncio.sleep(2))
        put(connection, 2)

    falling = asyncio.create_task(gone.write(fall_silent))
    await asyncio.sleep(0.1)
    async with asyncio.timeout(30):
        while True:
            try:
                await other.write(put, 3)
                break
            except StorageUnavailable:
                continue
    with pytest.raises(StorageUnavailable):
        await falling
    assert await other.read(guilds) == [3]
    await gone.close()
    await other.close()


async def test_two_that_wait_for_one_another_are_both_done(db: Database) -> None:
    await db.write(put, 1)
    await db.write(put, 2)
    tries: list[int] = []

    @locks.beside_others
    def touch(connection: Connection, first: int, then: int) -> None:
        tries.append(first)
        for guild in (first, then):
            connection.execute(sa.update(pauses).where(pauses.c.guild_id == guild).values(by_user=pauses.c.by_user + 1))
            await_only(asyncio.sleep(0.2))

    await asyncio.gather(db.write(touch, 1, 2), db.write(touch, 2, 1))
    assert len(tries) > 2, "they were in one another's way"
    rows = await db.read(lambda connection: list(connection.execute(sa.select(pauses.c.by_user)).scalars()))
    assert rows == [3, 3]


async def test_a_caller_that_gives_up_leaves_a_sound_pool(url: str) -> None:
    db = await connect(url, pool=1)

    def slow(connection: Connection) -> None:
        put(connection, 1)
        connection.exec_driver_sql("SELECT pg_sleep(60)")

    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await db.write(slow)
        began = time.monotonic()
        assert await db.read(guilds) == []
        assert time.monotonic() - began < 20
    await db.write(put, 2)
    assert await db.read(guilds) == [2]
    await db.close()


async def test_a_pool_that_is_taken_says_so(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "POOL_SECONDS", 0.2)
    db = await connect(url, pool=1)
    slow = asyncio.create_task(db.read(lambda connection: connection.exec_driver_sql("SELECT pg_sleep(1)").scalar()))
    await asyncio.sleep(0.05)
    with pytest.raises(StorageUnavailable, match="taken"):
        await db.read(guilds)
    await slow
    assert await db.read(guilds) == []
    await db.close()


async def test_no_more_connections_than_were_allowed(url: str) -> None:
    db = await connect(url, pool=3)
    await asyncio.gather(*(db.read(guilds) for _ in range(30)))
    name = sa.make_url(url).database or ""
    [[number]] = await shared().run(f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}'")
    assert number == 3 + 1
    await db.close()
