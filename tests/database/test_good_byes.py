"""A server that is told to stop says good-bye on every connection before it closes it: what comes in between fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.util import await_only

from flux_core.database import postgres
from flux_core.database.connecting import connect
from flux_core.database.opening import OpeningConnection, driver_of
from flux_core.errors import StorageUnavailable
from tests.database.postgres import new_database, shared
from tests.database.scene import ANNE, BERT, a_scene
from tests.database.test_postgres_trouble import end_connections, guilds, put

GOOD_BYE = b"57P01"
"""admin_shutdown: https://www.postgresql.org/docs/18/errcodes-appendix.html"""
TERMINATE = b"X\x00\x00\x00\x04"
"""What a client says before it closes: https://www.postgresql.org/docs/18/protocol-message-formats.html"""


@asynccontextmanager
async def never_closing(said: asyncio.Event) -> AsyncIterator[int]:
    """Pass on all that the shared server says at a port, and ``said`` its good-byes, but never that it has closed."""

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_unix_connection(shared().folder / ".s.PGSQL.5432")

        async def answer() -> None:
            with suppress(ConnectionError):
                while data := await inner.read(65_536):
                    writer.write(data)
                    if GOOD_BYE in data:
                        said.set()

        async with asyncio.TaskGroup() as both:
            both.create_task(answer())
            with suppress(ConnectionError):
                while (data := await reader.read(65_536)) and not data.endswith(TERMINATE):
                    outer.write(data)
            outer.close()
        writer.close()

    async with await asyncio.start_server(meet, "127.0.0.1") as server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("what", ["look", "change", "order", "claim"])
async def test_what_follows_a_good_bye_is_refused_at_worst(tmp_path: Path, what: str) -> None:
    url, said = await new_database(), asyncio.Event()
    async with never_closing(said) as port:
        through = f"postgresql://postgres@127.0.0.1:{port}/{sa.make_url(url).database}"
        async with a_scene(through, tmp_path, pool=1) as scene:
            for _ in range(2):  # the first one makes the guild and the member known
                await scene.submit()
            await scene.claim()
            assert await end_connections(url, listening=False) == 1
            await said.wait()
            for _ in range(5):
                await asyncio.sleep(0)  # it arrives
            with suppress(StorageUnavailable):
                match what:
                    case "look":
                        await scene.db.read(guilds)
                    case "change":
                        await scene.db.write(put, 1)
                    case "order":
                        await scene.submit()
                    case _:
                        await scene.queue.claim("w2", ["flux-schnell"])
            # And the connection is not used again.
            assert (await scene.submit()).account == ANNE
            assert await scene.claim()


@pytest.mark.parametrize("what", ["look", "order", "claim"])
async def test_a_restart_while_all_connections_rest_costs_nobody_an_error(tmp_path: Path, what: str) -> None:
    """However many there are: each is found ended only when somebody takes it."""
    url, pool = await new_database(), postgres.TRIES + 1
    async with a_scene(url, tmp_path, pool=pool) as scene:
        job = await scene.submit()
        all_of_them = asyncio.Barrier(pool)
        resting = await asyncio.gather(*(scene.db.read(rest, all_of_them) for _ in range(pool)))
        assert await end_connections(url, listening=False) == pool
        while not all(one.is_closed() for one in resting):  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # the server has said so to all, one after the other
        match what:
            case "look":
                assert await scene.db.read(guilds) == []
            case "order":
                assert (await scene.submit(BERT)).id != job.id
            case _:
                assert (await scene.claim()).id == job.id


def rest(connection: Connection, all_of_them: asyncio.Barrier) -> OpeningConnection:
    """Connect, and let go of the connection no sooner than everybody has one."""
    connection.exec_driver_sql("SELECT 1")
    await_only(all_of_them.wait())
    return driver_of(connection)


async def test_a_look_that_a_restart_interrupts_is_taken_again() -> None:
    url, ended = await new_database(), list[int]()

    def look(connection: Connection) -> list[int]:
        connection.exec_driver_sql("SELECT 1")
        if not ended:
            ended.append(await_only(end_connections(url, listening=False)))
        return guilds(connection)

    db = await connect(url, pool=2)
    await db.write(put, 1)
    assert await db.read(look) == [1]
    assert ended
    await db.close()
