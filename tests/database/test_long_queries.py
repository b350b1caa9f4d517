"""What goes through everything there is takes as long as it takes, where any other query has seconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
import sqlalchemy as sa

from flux_core.database import copying, locks, postgres
from flux_core.database.bookkeeping import discrepancies
from flux_core.database.connecting import connect
from flux_core.errors import StorageUnavailable
from tests.database import postgres as servers
from tests.database.scene import a_scene
from tests.database.test_postgres_trouble import guilds, put

SHORT = 0.3


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "STATEMENT_SECONDS", SHORT)


@asynccontextmanager
async def in_the_way(url: str, statement: str) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Lock something; what is handed out waits until somebody has waited for it for too long, and lets go."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"BEGIN; {statement}")

        async def let_go() -> None:
            waiting = "SELECT bool_or(clock_timestamp() - query_start > make_interval(secs => $1))"
            waiting += " FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            async with asyncio.timeout(30):
                while not await connection.fetchval(waiting, 3 * SHORT):
                    await connection.execute("SELECT pg_stat_clear_snapshot(), pg_sleep(0.05)")
            await connection.execute("COMMIT")

        yield let_go
    finally:
        await connection.close()


async def test_the_books_of_a_large_house_are_checked(tmp_path: Path) -> None:
    url = await servers.new_database()
    async with a_scene(url, tmp_path) as scene:
        await scene.submit()
        async with in_the_way(url, "LOCK TABLE ledger") as let_go:
            with pytest.raises(StorageUnavailable, match="timeout"):
                await scene.submit()
            found, _ = await asyncio.gather(scene.db.read(discrepancies), let_go())
        assert found == []


async def test_a_migration_that_takes_long_is_waited_for_and_done() -> None:
    url = await servers.new_database(migrated=False)
    async with in_the_way(url, f"SELECT pg_advisory_xact_lock({locks.HOUSE}, 0)") as let_go:
        db, _ = await asyncio.gather(connect(url, pool=1), let_go())
    await db.write(put, 1)
    assert await db.read(guilds) == [1]
    await db.close()


async def test_a_copy_may_look_at_the_old_house_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Meanwhile the server hears nothing of its transaction."""
    compare = copying._compare

    def at_length(target: sa.Connection, source: sa.Connection) -> None:
        time.sleep(3 * SHORT)  # as long as a large file takes
        compare(target, source)

    monkeypatch.setattr(copying, "_compare", at_length)
    new = await connect(await servers.new_database(), pool=1)
    async with a_scene(f"sqlite:///{tmp_path / 'old.db'}", tmp_path) as old:
        await old.submit()
        copied = await copying.copy_house(old.db, new, silent_since=old.clock.now + 1)
    assert copied["jobs"] == 1
    await new.close()
