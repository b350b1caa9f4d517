"""Where pictures are fetched from: nothing leads into a private network, or swells on its way in."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpcore
import httpx
import pytest
from aiohttp import web

from flux_core.errors import ProviderBroken
from flux_core.providers.hosted.http import HttpTransport, TooMuch, read_within
from flux_core.providers.hosted.network import GuardedTransport, HostRules, is_public
from flux_core.providers.hosted.pictures import Pictures
from flux_core.providers.hosted.vendor import Access, Found
from tests.providers.hosted.sketch import HASTY, SIDE, SketchVendor

SIZE = (SIDE, SIDE)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """A small server on a loopback socket that remembers what it was asked."""

    def __init__(self) -> None:
        self.handler: Handler | None = None
        self.asked: list[web.Request] = []
        self.base = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        assert self.handler is not None
        return await self.handler(request)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_get("/{path:.*}", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.base = "http://{}:{}".format(*runner.addresses[0][:2])
    yield server
    await runner.cleanup()


@pytest.fixture
async def fetching(server: Server) -> AsyncIterator[Pictures]:
    """What fetches for a vendor at home, whose address is in a private network: the server."""
    vendor = SketchVendor(Access(base_url=server.base, key="a-key-of-the-vendor"))
    async with HttpTransport(vendor, patience=HASTY) as transport:
        yield Pictures("Sketch", transport, HASTY)


def says(body: bytes = b"", status: int = 200, **headers: str) -> Handler:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=body, status=status, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return handler


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:{other}/a.png",
        "https://127.0.0.1:{other}/a.png",
        "http://localhost:{port}/a.png",
        "http://169.254.169.254/latest/meta-data",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/a.png",
        "https://[::1]/a.png",
        "https://[::ffff:127.0.0.1]:{other}/a.png",
        "https://[::ffff:a9fe:a9fe]/",
        "https://0x7f000001/a.png",
        "https://127.1/a.png",
        "https://0/a.png",
        "file:///etc/passwd",
        "ftp://127.0.0.1/a.png",
        "gopher://127.0.0.1:{other}/_x",
        "data:image/png;base64,AAAA",
        "//169.254.169.254/",
        "http://user:password@127.0.0.1:{port}/a.png",
    ],
)
async def test_no_redirect_leads_inside(server: Server, fetching: Pictures, location: str) -> None:
    """Not even from a vendor that is inside itself, whose own server alone may be asked."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(0)
        port = server.base.rpartition(":")[2]
        server.handler = says(status=302, Location=location.format(other=other.getsockname()[1], port=port))
        with pytest.raises(ProviderBroken):
            await fetching.image(Found(url=f"{server.base}/a.png"), SIZE)
        with pytest.raises(BlockingIOError):
            other.accept()
    assert {request.path for request in server.asked} == {"/a.png"}
    assert {request.host.partition(":")[0] for request in server.asked} == {"127.0.0.1"}


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("2606:4700::1111", True),
        ("::7f00:1", False),  # IPv4-compatible
        ("::ffff:0:7f00:1", False),  # IPv4-translated
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b:1::7f00:1", False),
        ("fec0::1", False),
        ("fe80::1", False),
        ("ff02::1", False),
        ("2001::1", False),
        ("2002:7f00:1::", False),
        ("172.16.0.1", False),
        ("255.255.255.255", False),
        ("192.0.2.1", False),
    ],
)
def test_wrapped_addresses_are_unwrapped(address: str, public: bool) -> None:
    assert is_public(address) is public


class Resolver:
    """Answers for one name, another address each time, as a name server in an attacker's hands."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        self.asked += 1
        found = self.answers.pop(0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]


async def test_a_name_is_looked_up_once_and_what_was_checked_is_connected_to(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the resolver and the dialling are ours here: nobody can be reached at a public address in a test."""
    resolver, dialled = Resolver(["93.184.216.34"], ["127.0.0.1"]), []
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolver)

    async def dial(_: object, host: str, port: int, *__: object, **___: object) -> None:
        dialled.append(host)
        raise httpcore.ConnectError("nobody there")

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", dial)
    port = server.base.rpartition(":")[2]
    async with GuardedTransport(HostRules("https://sketch.example"), connections=2) as guarded:
        with pytest.raises(httpcore.ConnectError, match="nobody there"):
            await guarded.handle_async_request(httpx.Request("GET", f"https://rebinding.example:{port}/"))
        assert (resolver.asked, dialled) == (1, ["93.184.216.34"])
        with pytest.raises(httpcore.ConnectError, match="private network"):
            await guarded.handle_async_request(httpx.Request("GET", f"https://rebinding.example:{port}/"))
    assert dialled == ["93.184.216.34"]
    assert server.asked == []


async def test_one_private_address_among_public_ones_is_enough_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", Resolver(["93.184.216.34", "10.0.0.1"]))
    async with GuardedTransport(HostRules("https://sketch.example"), connections=2) as guarded:
        with pytest.raises(httpcore.ConnectError, match="private network"):
            await guarded.handle_async_request(httpx.Request("GET", "https://mixed.example/"))


@pytest.mark.parametrize("coding", ["gzip, gzip", "GZIP,identity, gzip", "br", "zstd", "deflate", "x-gzip"])
async def test_what_is_packed_in_a_way_nobody_asked_for_is_not_unpacked(
    server: Server, fetching: Pictures, coding: str
) -> None:
    """Two layers of gzip make a gigabyte of two kilobytes, and every piece is unpacked before it can be counted."""
    bomb = gzip.compress(gzip.compress(bytes(8_000_000)))
    assert len(bomb) < 2000
    server.handler = says(bomb, Content_Encoding=coding)
    with pytest.raises(ProviderBroken):
        await fetching.image(Found(url=f"{server.base}/a.png"), SIZE)
    async with httpx.AsyncClient() as client, client.stream("GET", f"{server.base}/a.png") as response:
        with pytest.raises(TooMuch, match="packed as"):
            await read_within(response, 1_000_000)
    assert server.asked[0].headers["Accept-Encoding"] == "gzip"


async def test_one_layer_is_counted_unpacked(server: Server) -> None:
    server.handler = says(gzip.compress(bytes(5_000_000)), Content_Encoding="gzip")
    async with httpx.AsyncClient() as client, client.stream("GET", f"{server.base}/a.png") as response:
        with pytest.raises(TooMuch, match="more than"):
            await read_within(response, 1_000_000)
