"""Opening, transactions, and noticing what others wrote."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError
from sqlalchemy.util import await_only

from flux_core import outgrown
from flux_core.database import schema
from flux_core.database.connecting import connect
from flux_core.database.tables import pauses, program
from flux_core.errors import ConfigurationError, FluxError, StorageUnavailable
from tests.database.paused_guilds import guilds, put
from tests.database.postgres import new_database
from tests.database.scene import ANNE, DEV, ON_SQLITE, SCHNELL, Scene


def put_twice(connection: Connection) -> None:
    put(connection, 2)
    put(connection, 2)


@pytest.fixture
async def new_url(database_url: str, tmp_path: Path) -> str:
    """A database without tables, or a file that does not exist yet in a folder that does not either."""
    if database_url.startswith("postgresql"):
        return await new_database(migrated=False)
    return f"sqlite:///{tmp_path / 'new' / 'flux-bot.db'}"


async def test_the_folder_is_made_and_data_outlives_closing(new_url: str) -> None:
    for expected in ([], [1]):
        db = await connect(new_url)
        assert await db.read(guilds) == expected
        if not expected:
            await db.write(put, 1)
        await db.close()


@pytest.mark.parametrize(
    "url", ["", "nonsense", "mysql://host/name", "sqlite://", "sqlite:///:memory:", "sqlite+aiosqlite://"]
)
async def test_a_url_that_cannot_work_is_explained(url: str) -> None:
    with pytest.raises(ConfigurationError, match="DATABASE_URL"):
        await connect(url)


async def test_any_sqlite_driver_in_the_url_means_the_same_file(tmp_path: Path) -> None:
    for url in (f"sqlite+aiosqlite:///{tmp_path / 'a.db'}", f"sqlite:///{tmp_path / 'a.db'}"):
        db = await connect(url)
        seen = await db.read(guilds)
        await db.write(put, len(seen))
        await db.close()
    assert seen == [0]


async def test_a_transaction_that_raises_changes_nothing(scene: Scene) -> None:
    def half(connection: Connection) -> None:
        put(connection, 1)
        raise KeyError("on purpose")

    with pytest.raises(KeyError):
        await scene.db.write(half)
    with pytest.raises(IntegrityError):
        await scene.db.write(put_twice)
    assert await scene.db.read(guilds) == []


async def test_reading_cannot_write(scene: Scene) -> None:
    with pytest.raises(FluxError):
        await scene.db.read(put, 1)
    assert await scene.db.read(guilds) == []


async def test_a_reader_sees_one_moment_while_others_write(scene: Scene) -> None:
    loop = asyncio.get_running_loop()

    def slowly(connection: Connection) -> tuple[list[int], list[int]]:
        before = guilds(connection)
        asyncio.run_coroutine_threadsafe(scene.db.write(put, 1), loop).result(10)
        return before, guilds(connection)

    def slowly_on_the_loop(connection: Connection) -> tuple[list[int], list[int]]:
        before = guilds(connection)
        await_only(scene.db.write(put, 1))
        return before, guilds(connection)

    is_sqlite = scene.db.__class__.__name__ == "SqliteDatabase"
    assert await scene.db.read(slowly if is_sqlite else slowly_on_the_loop) == ([], [])
    assert await scene.db.read(guilds) == [1]


async def test_the_loop_goes_on_while_a_transaction_runs(scene: Scene) -> None:
    beats = 0

    async def heart() -> None:
        nonlocal beats
        while True:
            beats += 1
            await asyncio.sleep(0.001)

    beating = asyncio.create_task(heart())

    def slowly(connection: Connection) -> None:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SELECT pg_sleep(0.1)")
        else:
            time.sleep(0.1)

    await scene.db.write(slowly)
    beating.cancel()
    assert beats > 5


async def test_a_write_here_is_noticed(scene: Scene) -> None:
    version = await scene.db.changed(None, 0)
    assert await scene.db.changed(version, 0.05) == version
    waiting = asyncio.create_task(scene.db.changed(version, 20))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await scene.db.write(put, 1)
    later = await waiting
    assert later != version
    assert await scene.db.changed(version, 20) == later


async def test_a_claim_that_finds_nothing_wakes_nobody(scene: Scene) -> None:
    version = await scene.db.changed(None, 0)
    assert await scene.queue.claim("worker", [SCHNELL]) is None
    assert await scene.queue.claim("worker", [SCHNELL, DEV], {DEV}) is None
    assert await scene.queue.claim_hosted("worker") is None
    assert await scene.db.changed(version, 0.3) == version
    await scene.submit()
    version = await scene.db.changed(None, 0)
    assert await scene.queue.claim("worker", [SCHNELL]) is not None
    assert await scene.db.changed(version, 20) != version


async def test_whoever_waits_for_changes_can_be_stopped_at_the_moment_of_one(scene: Scene) -> None:
    async def look_for_ever() -> None:
        version = None
        while True:
            version = await scene.db.changed(version, 60)

    for turns in range(12):
        looking = asyncio.create_task(look_for_ever())
        await asyncio.sleep(0.05)
        await scene.db.write(put, turns)
        for _ in range(turns):
            await asyncio.sleep(0)
        looking.cancel()
        ended, _ = await asyncio.wait({looking}, timeout=5)
        assert ended, f"cancelled {turns} turns of the loop after the write, it went on"


async def test_a_write_of_another_process_is_noticed(scene: Scene, database_url: str) -> None:
    version = await scene.db.changed(None, 0)
    program = (
        "import asyncio, sys\n"
        "from flux_core.database.connecting import connect\n"
        "from tests.database.paused_guilds import put\n"
        "async def main():\n"
        "    db = await connect(sys.argv[1])\n"
        "    await db.write(put, 5)\n"
        "    await db.close()\n"
        "asyncio.run(main())\n"
    )
    other = await asyncio.create_subprocess_exec(sys.executable, "-c", program, database_url)
    assert await scene.db.changed(version, 60) != version
    assert await other.wait() == 0
    assert await scene.db.read(guilds) == [5]


async def test_several_processes_may_open_a_new_database_at_once(new_url: str) -> None:
    program = (
        "import asyncio, sys\n"
        "from flux_core.database.connecting import connect\n"
        "from tests.database.paused_guilds import put\n"
        "async def main():\n"
        "    sys.stdin.readline()\n"
        "    db = await connect(sys.argv[1])\n"
        "    await db.write(put, int(sys.argv[2]))\n"
        "    await db.close()\n"
        "asyncio.run(main())\n"
    )
    others = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, new_url, str(number), stdin=asyncio.subprocess.PIPE
        )
        for number in range(4)
    ]
    assert await asyncio.gather(*(other.communicate(b"go\n") for other in others))
    assert [other.returncode for other in others] == [0, 0, 0, 0]
    db = await connect(new_url)
    assert await db.read(guilds) == [0, 1, 2, 3]
    await db.close()


async def test_one_process_may_open_a_new_database_twice(new_url: str) -> None:
    databases = await asyncio.gather(*(connect(new_url) for _ in range(3)))
    await asyncio.gather(*(db.write(put, number) for number, db in enumerate(databases)))
    assert await databases[0].read(guilds) == [0, 1, 2]
    await asyncio.gather(*(db.close() for db in databases))


async def brought_to(database_url: str, revision: str, oldest: str) -> None:
    """Let a database be one that a newer program has migrated."""
    db = await connect(database_url)

    def go_on(connection: Connection) -> None:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :new"), {"new": revision})
        connection.execute(sa.update(program).values(oldest_revision=oldest))

    await db.write(go_on)
    await db.close()


async def test_a_newer_database_that_only_has_more_is_used_as_it_is(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    await brought_to(database_url, "9999", schema.head())
    db = await connect(database_url)
    assert "9999" in caplog.text
    assert await db.read(schema.revision_of) == "9999"
    await db.write(put, 7)
    assert await db.read(guilds) == [7]
    await db.close()


@pytest.mark.parametrize(("revision", "oldest"), [("9999", "9998"), ("someone-else", "0001")])
async def test_a_database_that_has_lost_what_this_program_needs_is_left_alone(
    database_url: str, revision: str, oldest: str
) -> None:
    await brought_to(database_url, revision, oldest)
    with pytest.raises(ConfigurationError, match=oldest if revision.isdecimal() else revision):
        await connect(database_url)


async def test_a_running_program_notices_that_the_database_has_gone_on_without_it(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgrown, "LOOK_SECONDS", 0.01)
    db = await connect(database_url)
    watching = asyncio.create_task(outgrown.until_outgrown(db))
    await brought_to(database_url, "9999", schema.head())
    assert not (await asyncio.wait({watching}, timeout=0.1))[0], "what only has more is no reason to end"
    await db.write(lambda connection: connection.execute(sa.update(program).values(oldest_revision="9998")).rowcount)
    with pytest.raises(ConfigurationError, match="9998"):
        await asyncio.wait_for(watching, 30)
    await db.close()


async def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    path = tmp_path / "letter.db"
    path.write_text("Dear reader, " * 1000)
    with pytest.raises(StorageUnavailable, match="not a database"):
        await connect(f"sqlite:///{path}")


async def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageUnavailable):
        await connect(f"sqlite:///{tmp_path / 'file' / 'x.db'}")


async def test_a_closed_database_says_so(scene: Scene) -> None:
    await scene.db.close()
    await scene.db.close()
    for use in (scene.db.read(guilds), scene.db.write(guilds), scene.db.changed(None, 0), scene.studio.quota(ANNE)):
        with pytest.raises(StorageUnavailable, match="closed"):
            await use


@ON_SQLITE
async def test_a_lock_that_is_never_let_go_becomes_storage_unavailable(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flux_core.database.sqlite.BUSY_SECONDS", 0.05)
    db = await connect(database_url)
    other = sqlite3.connect(sa.make_url(database_url).database or "", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageUnavailable, match="locked"):
        await db.write(put, 1)
    other.execute("ROLLBACK")
    other.close()
    await db.write(put, 1)
    await db.close()


async def test_errors_do_not_tell_the_parameters(scene: Scene) -> None:
    with pytest.raises(IntegrityError) as caught:
        await scene.db.write(
            lambda connection: connection.execute(
                sa.insert(pauses), {"guild_id": 1, "reason": "a-secret-token", "by_user": None, "since": 0.0}
            )
        )
    assert "a-secret-token" not in str(caught.value)
