"""PostgreSQL as others run it: with TLS, behind an address of several servers, and with a server that changes roles."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path

import pytest
import sqlalchemy as sa
import trustme

from flux_core.database.address import taken_apart
from flux_core.database.connecting import connect
from flux_core.database.postgres import TRIES, PostgresDatabase
from flux_core.errors import ConfigurationError, StorageUnavailable
from tests.database.postgres import Server, new_database, shared
from tests.database.scene import ANNE, a_scene
from tests.database.test_good_byes import rest
from tests.database.test_postgres_trouble import guilds, put

SSL_REQUEST = bytes.fromhex("0000000804d2162f")
"""How a client asks for TLS: https://www.postgresql.org/docs/18/protocol-message-formats.html"""


class Front:
    """Speaks TLS before the shared server, whose build has none, as the front of a managed server does."""

    def __init__(self, authority: trustme.CA) -> None:
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(self._context)
        self.private = 0
        """Connections that were encrypted."""

    async def serve(self, listening: socket.socket) -> None:
        """Pass connections on until cancelled."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as all_of_them:
            while True:
                connection, _ = await loop.sock_accept(listening)
                all_of_them.create_task(self._meet(connection))

    async def _meet(self, connection: socket.socket) -> None:
        loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
        try:
            assert await loop.sock_recv(connection, len(SSL_REQUEST)) == SSL_REQUEST
            await loop.sock_sendall(connection, b"S")
            transport, protocol = await loop.connect_accepted_socket(
                lambda: asyncio.StreamReaderProtocol(reader), connection, ssl=self._context
            )
        except (OSError, ssl.SSLError):
            return  # whoever it was does not trust us
        self.private += 1
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        inner, outer = await asyncio.open_unix_connection(shared().folder / ".s.PGSQL.5432")
        await asyncio.gather(passed_on(reader, outer), passed_on(inner, writer), return_exceptions=True)


async def passed_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Write whatever arrives to ``target``, until there is no more."""
    while data := await source.read(65_536):
        target.write(data)
        await target.drain()
    target.close()


async def test_connections_are_private_and_the_server_is_who_it_says(tmp_path: Path) -> None:
    authority, name = trustme.CA(), sa.make_url(await new_database()).database
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    trustme.CA().cert_pem.write_to_path(tmp_path / "another.pem")
    front = Front(authority)
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)
    url = f"postgresql://postgres@127.0.0.1:{listening.getsockname()[1]}/{name}"
    serving = asyncio.create_task(front.serve(listening))
    try:
        db = await connect(f"{url}?sslmode=verify-full&sslrootcert={tmp_path / 'authority.pem'}", pool=1)
        await db.write(put, 1)
        assert front.private == 2, "the one that listens, too"
        await db.close()
        with pytest.raises(StorageUnavailable, match=r"(?i)certificate"):
            await connect(f"{url}?sslmode=verify-full&sslrootcert={tmp_path / 'another.pem'}")
        assert front.private == 2
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        listening.close()


async def test_the_first_of_several_servers_that_takes_writes_is_used() -> None:
    url = sa.make_url(await new_database())
    hosts = "host=/nowhere/at/all:5432&host=" + f"{shared().folder}:5432"
    several = f"postgresql://postgres@/{url.database}?{hosts}&target_session_attrs=read-write"
    db = await connect(several, pool=1)
    await db.write(put, 1)
    assert await db.read(guilds) == [1]
    await db.close()


@pytest.mark.parametrize("word", ["colour=blue", "channel_binding=require", "prepared_statement_cache_size=0"])
async def test_what_an_address_may_not_ask_for_is_named(word: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{word.partition('=')[0]}\. What it may ask for: .*sslrootcert"):
        await connect(f"{await new_database(migrated=False)}&{word}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("sslmode=sometimes", r"sslmode=sometimes; it may be .*verify-full"),
        ("sslmode=verify-full&sslrootcert=/nowhere/a.pem", r"sslrootcert=/nowhere/a\.pem, and there is no such file"),
    ],
)
async def test_mistakes_about_tls_are_told_before_anybody_connects(words: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        await connect(f"postgresql://flux@127.0.0.1:1/flux?{words}")


def test_an_address_without_more_is_left_as_it_is() -> None:
    address, besides = taken_apart(sa.make_url("postgresql://flux:x@db:5433/flux?passfile=/run/pass"))
    assert (address.host, address.port, address.password, address.query) == ("db", 5433, "x", {"passfile": "/run/pass"})
    assert besides == {}


async def test_connections_to_a_server_that_takes_no_writes_any_more_are_given_up() -> None:
    url = await new_database()
    name = sa.make_url(url).database
    end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    db = await connect(url, pool=2)
    assert isinstance(db, PostgresDatabase)
    await db.write(put, 1)
    # What an address leads to for a moment after a fail-over: sessions that begin now take no writes, for ever.
    await shared().run(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    await shared().run(end)
    with pytest.raises(StorageUnavailable, match="read-only"):
        await db.write(put, 2)
    await asyncio.gather(*(db.read(guilds) for _ in range(2)))
    await shared().run(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    await db.write(put, 3)
    assert await db.read(guilds) == [1, 3]
    await db.close()


async def test_an_order_finds_the_way_past_all_connections_to_a_server_that_takes_no_writes(tmp_path: Path) -> None:
    url, pool = await new_database(), TRIES + 1
    name = sa.make_url(url).database
    async with a_scene(url, tmp_path) as before:
        await before.submit()  # makes the member known: from now on, an order is one message to write it down
    await shared().run(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    async with a_scene(url, tmp_path, pool=pool) as scene:
        all_of_them = asyncio.Barrier(pool)
        await asyncio.gather(*(scene.db.read(rest, all_of_them) for _ in range(pool)))
        await shared().run(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        await scene.submit()
        assert len(await scene.studio.jobs_of(ANNE)) == 2


async def test_who_listens_outlasts_a_time_in_which_none_of_the_servers_takes_writes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A fail-over takes its time: those that are up already are standbys."""
    url = sa.make_url(await new_database())
    hosts = f"host={shared().folder}:5432&host={shared().folder}:5432"
    db = await connect(f"postgresql://postgres@/{url.database}?{hosts}&target_session_attrs=read-write", pool=1)
    await shared().run(f"ALTER DATABASE {url.database} SET default_transaction_read_only = on")
    await shared().run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{url.database}'")
    async with asyncio.timeout(30):
        while "cannot listen to the database: TargetServer" not in caplog.text:  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # the log tells nobody
        await shared().run(f"ALTER DATABASE {url.database} RESET default_transaction_read_only")
        other = await connect(str(url.render_as_string(hide_password=False)), pool=1)
        version, number = await db.changed(None, 0), 0
        while await db.changed(version, 0.2) == version:
            number += 1
            await other.write(put, number)
    await other.close()
    await db.close()


async def test_silent_connections_stay_on_a_server_that_ends_such() -> None:
    url = await new_database()
    await shared().run(f"ALTER DATABASE {sa.make_url(url).database} SET idle_session_timeout = '50ms'")
    db = await connect(url, pool=1)
    assert isinstance(db, PostgresDatabase)
    pid = sa.text("SELECT pg_backend_pid()")
    before = await db.read(lambda connection: connection.execute(pid).scalar_one()), db._wire._connection
    ended = asyncio.Event()
    db._wire._connection.add_termination_listener(lambda _: ended.set())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(ended.wait(), 0.3)
    assert (await db.read(lambda connection: connection.execute(pid).scalar_one()), db._wire._connection) == before
    await db.close()


async def test_connections_over_a_network_are_kept_alive_and_those_of_the_dead_are_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = Server("listen_addresses=127.0.0.1", f"port={port}")
    try:
        db = await connect(f"postgresql://postgres@127.0.0.1:{port}/postgres", pool=1)
        names = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count")
        shown = await db.read(lambda c: [c.execute(sa.text(f"SHOW {name}")).scalar_one() for name in names])
        assert shown == ["60", "10", "3"]
        await db.close()
    finally:
        server.close()
