"""TLS and HTTP/2: what is free shares one connection, what is paid for has its own, and GOAWAY loses nothing."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import pytest
import trustme

from flux_core.errors import OutcomeUnknown, ProviderDown
from flux_core.providers.hosted.http import HttpTransport
from flux_core.providers.hosted.network import tls
from flux_core.providers.hosted.vendor import Access
from tests.providers.hosted.sketch import HASTY, SketchVendor

AUTHORITY = trustme.CA()
"""Made anew for each run: no key lies in the repository."""


class Server:
    """Answers everything with ``{}``, in HTTP/2 or 1.1, as the client chooses."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, int]] = []
        """Protocol, method, number of the connection."""
        self.goaways = 0
        self.mute = False
        self._connections = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        AUTHORITY.issue_cert("127.0.0.1").configure_cert(context)
        context.set_alpn_protocols(["h2", "http/1.1"])
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        return f"https://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._connections += 1
        number = self._connections
        try:
            if writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2":
                await self._speak_two(reader, writer, number)
            else:
                await self._speak_one(reader, writer, number)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            writer.close()

    async def _speak_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            lines = head.decode().split("\r\n")
            sizes = [int(line.partition(":")[2]) for line in lines if line.lower().startswith("content-length")]
            await reader.readexactly(sum(sizes))
            self.seen.append(("http/1.1", lines[0].split()[0], number))
            if self.mute:
                return
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            await writer.drain()

    async def _speak_two(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        connection.initiate_connection()
        writer.write(connection.data_to_send())
        while data := await reader.read(65536):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    self._take(connection, event, number)
            writer.write(connection.data_to_send())
            await writer.drain()

    def _take(self, connection: h2.connection.H2Connection, event: h2.events.RequestReceived, number: int) -> None:
        assert event.stream_id is not None
        method = dict(event.headers or [])[b":method"].decode()
        self.seen.append(("h2", method, number))
        if self.goaways:
            self.goaways -= 1
            connection.close_connection(last_stream_id=event.stream_id)
            return
        connection.send_headers(event.stream_id, [(":status", "200"), ("content-type", "application/json")])
        connection.send_data(event.stream_id, json.dumps({}).encode(), end_stream=True)


LIBRARIES = ("hpack", "h2", "httpcore", "httpx")


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """The file that clients trust."""
    file = tmp_path / "authority.pem"
    AUTHORITY.cert_pem.write_to_path(str(file))
    return file


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    yield server
    await server.stop()


@pytest.fixture
async def transport(server: Server, authority: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HttpTransport]:
    url = await server.start()
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    tls.cache_clear()
    async with HttpTransport(SketchVendor(Access(base_url=url, key="key-0123456789")), patience=HASTY) as transport:
        yield transport
    tls.cache_clear()


async def test_free_calls_share_a_connection_and_paid_ones_do_not(server: Server, transport: HttpTransport) -> None:
    await transport.call("GET", "/order/a")
    await asyncio.gather(*(transport.call("GET", "/order/a") for _ in range(10)))
    assert server.seen == [("h2", "GET", 1)] * 11
    await transport.submit("/order", json={})
    await transport.submit("/order", json={})
    assert server.seen[11:] == [("http/1.1", "POST", 2), ("http/1.1", "POST", 3)]


async def test_libraries_do_not_log_the_key(
    server: Server, authority: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    url = await server.start()
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    tls.cache_clear()
    caplog.set_level(logging.DEBUG)
    for name in LIBRARIES:
        monkeypatch.setattr(logging.getLogger(name), "level", logging.NOTSET)
        logging.getLogger(name).manager._clear_cache()  # type: ignore[attr-defined]
    async with HttpTransport(SketchVendor(Access(base_url=url, key="key-0123456789")), patience=HASTY) as transport:
        await transport.call("GET", "/order/a", params={"signature": "s3cret"})
        await transport.submit("/order", json={})
    tls.cache_clear()
    assert server.seen
    assert "key-0123456789" not in caplog.text
    assert "s3cret" not in caplog.text


async def test_a_connection_that_goes_away_is_replaced(server: Server, transport: HttpTransport) -> None:
    server.goaways = 1
    assert (await transport.call("GET", "/order/a")).json == {}
    assert [number for _, _, number in server.seen] == [1, 2]


async def test_a_paid_request_that_is_cut_off_inside_tls_is_not_sent_again(
    server: Server, transport: HttpTransport
) -> None:
    server.mute = True
    with pytest.raises(OutcomeUnknown):
        await transport.submit("/order", json={})
    assert len(server.seen) == 1


async def test_a_certificate_that_nobody_vouches_for_is_a_clean_failure(server: Server) -> None:
    url = await server.start()
    async with HttpTransport(SketchVendor(Access(base_url=url, key="key-0123456789")), patience=HASTY) as transport:
        with pytest.raises(ProviderDown):
            await transport.submit("/order", json={})
        with pytest.raises(ProviderDown):
            await transport.call("GET", "/order/a")
    assert server.seen == []
