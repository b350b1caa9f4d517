"""Fetching uploads from a CDN: a real server that behaves well, badly, or not at all."""

from __future__ import annotations

import asyncio
import gzip
import io
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from PIL import Image

from bot.interactions import attachments
from bot.interactions.attachments import AttachmentReader, cdn_address, check_declared, fetch
from flux_core.errors import (
    PictureEmpty,
    PictureNotFetched,
    PictureTooHeavy,
    PictureUnreadable,
    PictureUnsupported,
)

Handler = Callable[[web.Request], Coroutine[Any, Any, web.StreamResponse]]


def png(width: int = 40, height: int = 30) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (width, height), "blue").save(data, "PNG")
    return data.getvalue()


class Cdn:
    """A CDN whose answer is the test's to choose."""

    def __init__(self) -> None:
        self.handler: Handler | None = None
        self.base = ""
        self.asked: list[web.Request] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        assert self.handler is not None
        return await self.handler(request)

    def gives(self, body: bytes, status: int = 200) -> None:
        async def handler(_: web.Request) -> web.Response:
            return web.Response(body=body, status=status)

        self.handler = handler


@pytest.fixture
async def cdn() -> AsyncIterator[Cdn]:
    cdn = Cdn()
    app = web.Application()
    app.router.add_get("/{path:.*}", cdn.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    cdn.base = f"http://{host}:{port}"
    yield cdn
    await runner.cleanup()


@pytest.fixture
async def reader(cdn: Cdn) -> AsyncIterator[AttachmentReader]:
    reader = AttachmentReader(cdn=cdn.base, max_bytes=100_000, max_pixels=1_000_000)
    yield reader
    await reader.close()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_a_picture_is_fetched_and_vetted(cdn: Cdn, reader: AttachmentReader) -> None:
    cdn.gives(png())
    picture = await reader.read(f"{cdn.base}/attachments/1/2/a.png?ex=1&hm=2")
    assert (picture.width, picture.height) == (40, 30)
    assert cdn.asked[0].path_qs == "/attachments/1/2/a.png?ex=1&hm=2"
    assert "Authorization" not in cdn.asked[0].headers


async def test_a_truncated_picture_is_told_apart(cdn: Cdn, reader: AttachmentReader) -> None:
    cdn.gives(png(600, 600)[:700])
    with pytest.raises(PictureUnreadable):
        await reader.read(f"{cdn.base}/a.png")


async def test_official_addresses_are_asked_of_the_configured_cdn(cdn: Cdn, reader: AttachmentReader) -> None:
    cdn.gives(png())
    await reader.read("https://cdn.discordapp.com/ephemeral-attachments/1/2/a.png?ex=1")
    assert cdn.asked[0].path == "/ephemeral-attachments/1/2/a.png"


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/a.png",
        "http://169.254.169.254/latest/meta-data",
        "https://cdn.discordapp.com.example.com/a.png",
        "https://cdn.discordapp.com@example.com/a.png",
        "http://cdn.discordapp.com/a.png",
        "file:///etc/passwd",
        "",
    ],
)
def test_no_other_host_is_ever_asked(url: str) -> None:
    with pytest.raises(PictureNotFetched):
        cdn_address(url, "https://cdn.discordapp.com")


async def test_redirects_are_not_followed(cdn: Cdn, session: aiohttp.ClientSession) -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        raise web.HTTPFound(f"{cdn.base}/elsewhere")

    cdn.handler = handler
    with pytest.raises(PictureNotFetched):
        await fetch(session, f"{cdn.base}/a.png", cdn=cdn.base, max_bytes=1000)
    assert len(cdn.asked) == 1


async def test_a_declared_length_over_the_limit_is_refused_unread(cdn: Cdn, session: aiohttp.ClientSession) -> None:
    cdn.gives(bytes(5000))
    with pytest.raises(PictureTooHeavy) as caught:
        await fetch(session, f"{cdn.base}/a.png", cdn=cdn.base, max_bytes=1000)
    assert caught.value.facts == {"size": 5000, "limit": 1000}


async def test_an_endless_body_is_cut_off(cdn: Cdn, session: aiohttp.ClientSession) -> None:
    sent = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(bytes(64 * 1024))
            sent += 64 * 1024

    cdn.handler = handler
    with pytest.raises(PictureTooHeavy):
        await fetch(session, f"{cdn.base}/a.png", cdn=cdn.base, max_bytes=200_000)
    assert sent < 50_000_000


async def test_nothing_is_unpacked_on_its_way_in(cdn: Cdn, reader: AttachmentReader) -> None:
    """Two layers of gzip make a gigabyte of two kilobytes."""
    bomb = gzip.compress(gzip.compress(bytes(8_000_000)))

    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=bomb, headers={"Content-Encoding": "gzip, gzip"})

    cdn.handler = handler
    assert await reader.fetch(f"{cdn.base}/a.png", max_bytes=100_000) == bomb
    with pytest.raises(PictureUnsupported):
        await reader.read(f"{cdn.base}/a.png")
    assert cdn.asked[0].headers["Accept-Encoding"] == "identity"


async def test_a_passing_fault_is_tried_again(cdn: Cdn, session: aiohttp.ClientSession) -> None:
    answers = [503, 429, 200]

    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=b"here", status=answers.pop(0))

    cdn.handler = handler
    assert await fetch(session, f"{cdn.base}/a.png", cdn=cdn.base, max_bytes=1000) == b"here"


async def test_a_lasting_fault_is_told(cdn: Cdn, session: aiohttp.ClientSession) -> None:
    cdn.gives(b"gone", status=404)
    with pytest.raises(PictureNotFetched):
        await fetch(session, f"{cdn.base}/a.png", cdn=cdn.base, max_bytes=1000)
    assert len(cdn.asked) == 1


async def test_a_silent_cdn_is_given_up(
    cdn: Cdn, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = asyncio.Event()

    async def handler(_: web.Request) -> web.Response:
        await released.wait()
        return web.Response()

    cdn.handler = handler
    monkeypatch.setattr(attachments, "TIMEOUT", aiohttp.ClientTimeout(total=0.1))
    with pytest.raises(PictureNotFetched):
        await fetch(session, f"{cdn.base}/a.png", cdn=cdn.base, max_bytes=1000)
    released.set()


def test_what_discord_declares_is_checked_first() -> None:
    check_declared(size=10, content_type="image/png", max_bytes=10)
    check_declared(size=10, content_type=None, max_bytes=10)
    check_declared(size=10, content_type="IMAGE/JPEG; charset=binary", max_bytes=10)
    with pytest.raises(PictureEmpty):
        check_declared(size=0, content_type="image/png", max_bytes=10)
    with pytest.raises(PictureTooHeavy):
        check_declared(size=11, content_type="image/png", max_bytes=10)
    with pytest.raises(PictureUnsupported):
        check_declared(size=10, content_type="video/mp4", max_bytes=10)
