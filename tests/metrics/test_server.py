"""The small server, spoken to over real sockets."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from http import HTTPStatus

import pytest

from flux_core.errors import ConfigurationError
from flux_core.metrics import server
from flux_core.metrics.server import Answer, serve
from tests.metrics.asking import ask, exchange, read


async def hello(headers: Mapping[str, str]) -> Answer:
    return Answer(f"hello {headers.get('x-name', 'world')}\n".encode())


async def broken(_: Mapping[str, str]) -> Answer:
    raise RuntimeError("boom")


async def away(_: Mapping[str, str]) -> Answer:
    return Answer(b"not now\n", HTTPStatus.SERVICE_UNAVAILABLE)


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with serve({"/hello": hello, "/broken": broken, "/away": away}, "127.0.0.1", 0) as port:
        yield port


async def test_a_page_is_answered_and_the_connection_closed(port: int) -> None:
    said = await ask(port, "/hello", **{"X-Name": "Ada"})
    assert (said.status, said.text) == (200, "hello Ada\n")
    assert said.headers["content-length"] == str(len(said.body))
    assert said.headers["connection"] == "close"
    assert (await ask(port, "/hello?debug=1")).text == "hello world\n"


async def test_head_has_the_length_and_no_body(port: int) -> None:
    said = await ask(port, "/hello", method="HEAD")
    assert (said.status, said.body, said.headers["content-length"]) == (200, b"", "12")


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/", "GET", 404),
        ("/hello/../etc", "GET", 404),
        ("/hello", "POST", 405),
        ("/hello", "DELETE", 405),
        ("/broken", "GET", 500),
        ("/away", "GET", 503),
    ],
)
async def test_anything_else_is_refused(port: int, path: str, method: str, status: int) -> None:
    said = await ask(port, path, method=method)
    assert said.status == status
    assert "boom" not in said.text


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"\r\n\r\n", 400),
        (b"GET /hello\r\n\r\n", 400),
        (b"GET /hello HTTP/2\r\n\r\n", 400),
        (b"\x16\x03\x01\xff\xfe\x00\r\n\r\n", 400),
        (b"GET /hello HTTP/1.1\r\nno colon\r\n: \r\n\r\n", 200),
        (b"GET /hello HTTP/1.1\r\nX: " + b"x" * server.HEAD_BYTES + b"\r\n\r\n", 431),
    ],
)
async def test_what_is_no_request_is_answered_as_one_that_is_wrong(port: int, request_: bytes, status: int) -> None:
    assert read(await exchange(port, request_)).status == status
    assert (await ask(port, "/hello")).status == 200


async def test_the_silent_and_those_who_leave_hold_no_place(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOVE_SECONDS", 0.2)
    assert await exchange(port, b"GET /hel") == b"", "it hangs up"
    _, leaving = await asyncio.open_connection("127.0.0.1", port)
    leaving.transport.abort()
    assert (await ask(port, "/hello")).status == 200


async def test_only_so_many_at_once(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CONNECTIONS", 2)
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
    await asyncio.sleep(0.05)
    with suppress(ConnectionResetError):
        assert await exchange(port, b"GET /hello HTTP/1.1\r\n\r\n") == b""
    for _, writer in silent:
        writer.close()
    await asyncio.sleep(0.05)
    assert (await ask(port, "/hello")).status == 200


async def test_at_the_end_nobody_listens_and_nobody_is_left_hanging() -> None:
    async with serve({"/hello": hello}, "127.0.0.1", 0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(0.05)
    async with asyncio.timeout(30):
        assert await reader.read() == b""
    writer.close()
    with pytest.raises(OSError, match=r".*"):
        await asyncio.open_connection("127.0.0.1", port)


async def test_a_taken_port_is_told_in_one_sentence(port: int) -> None:
    with pytest.raises(ConfigurationError, match="METRICS_PORT"):
        async with serve({}, "127.0.0.1", port):
            pass


async def test_an_address_that_is_not_ours_too() -> None:
    with pytest.raises(ConfigurationError, match="METRICS_HOST"):
        async with serve({}, "192.0.2.1", 0):
            pass


async def test_no_bytes_break_it(port: int) -> None:
    chance = random.Random(20261121)
    parts = [b"GET", b"HEAD", b" ", b"/hello", b"HTTP/1.1", b"\r\n", b"\r\n\r\n", b":", b"\x00", b"\xff", b"Accept"]
    for _ in range(200):
        noise = b"".join(chance.choice([*parts, chance.randbytes(8)]) for _ in range(chance.randrange(12)))
        answered = await exchange(port, noise + b"\r\n\r\n")
        assert read(answered).status in (200, 400, 404, 405)
