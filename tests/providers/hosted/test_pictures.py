"""From what a vendor calls a picture to pixels."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from io import BytesIO

import httpcore
import httpx
import pytest
from PIL import Image

from flux_core.errors import ProviderBroken
from flux_core.providers.hosted.http import HttpTransport
from flux_core.providers.hosted.network import GuardedTransport, HostRules, is_public
from flux_core.providers.hosted.pictures import Pictures
from flux_core.providers.hosted.vendor import Found
from flux_core.providers.scripted import colour_of
from tests.providers.hosted.sketch import HASTY, SIDE, SketchStandIn, sketch
from tests.providers.hosted.standin import Kind
from tests.providers.hosted.troubles import (
    Fault,
    Html,
    Huge,
    Redirect,
    ResetAfterBody,
    ResetAtOnce,
    Silence,
    Status,
    Trickle,
    Truncated,
    WrongType,
)

SIZE = (SIDE, SIDE)


@pytest.fixture
async def standin() -> AsyncIterator[SketchStandIn]:
    async with SketchStandIn() as standin:
        yield standin


@pytest.fixture
async def pictures(standin: SketchStandIn) -> AsyncIterator[Pictures]:
    async with HttpTransport(sketch(standin), patience=HASTY) as transport:
        yield Pictures("Sketch", transport, HASTY)


def encoded(format: str, size: tuple[int, int] = SIZE, mode: str = "RGB") -> bytes:
    file = BytesIO()
    Image.new(mode, size, 255 if mode == "L" else None).save(file, format)
    return file.getvalue()


def here(standin: SketchStandIn) -> Found:
    return Found(url=f"{standin.root_url}/file/7")


async def test_a_url_is_fetched_without_the_key(standin: SketchStandIn, pictures: Pictures) -> None:
    image = await pictures.image(here(standin), SIZE)
    assert image.mode == "RGB"
    assert image.size == SIZE
    assert max(abs(a - b) for a, b in zip(image.getpixel((9, 9)), colour_of(7), strict=True)) < 12  # type: ignore
    [seen] = standin.requests
    assert "Authorization" not in seen.headers
    assert seen.headers["User-Agent"]


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF"])
async def test_bytes_and_data_uris_of_any_type_whatever_they_are_called(pictures: Pictures, format: str) -> None:
    data = encoded(format)
    text = base64.b64encode(data).decode()
    for found in (Found(data=data), Found(url=f"data:image/png;base64,{text}"), Found(url=f"data:;base64,{text}")):
        assert (await pictures.image(found, SIZE)).size == SIZE


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "I;16", "1"])
async def test_whatever_its_mode_it_becomes_rgb(pictures: Pictures, mode: str) -> None:
    assert (await pictures.image(Found(data=encoded("PNG", mode=mode)), SIZE)).mode == "RGB"


@pytest.mark.parametrize(
    "found",
    [
        Found(data=b""),
        Found(data=b"<html></html>"),
        Found(data=encoded("PNG")[:-20]),
        Found(data=encoded("JPEG")[:400]),
        Found(data=encoded("WEBP")[:60]),
        Found(data=encoded("BMP")),
        Found(data=encoded("PNG", (SIDE, SIDE // 2))),
        Found(data=encoded("PNG", (SIDE, SIDE + 40))),
        Found(url="data:image/png;base64,!!!!"),
        Found(url="data:image/png;base64"),
        Found(url="data:text/html,hello"),
        Found(url=""),
        Found(url="/file/7"),
        Found(url="file:///etc/passwd"),
        Found(url="http://[x"),
    ],
    ids=lambda found: str(found)[:60],
)
async def test_what_is_no_such_picture_is_the_providers_fault(pictures: Pictures, found: Found) -> None:
    with pytest.raises(ProviderBroken):
        await pictures.image(found, SIZE)


async def test_a_larger_picture_of_the_same_aspect_is_welcome(pictures: Pictures) -> None:
    image = await pictures.image(Found(data=encoded("PNG", (SIDE * 2, SIDE * 2 + 10))), SIZE)
    assert image.size == (SIDE * 2, SIDE * 2 + 10)


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("file", ResetAfterBody()),
        ("file", ResetAtOnce()),
        ("file", Silence()),
        ("file", Trickle(20.0)),
        ("file", Truncated(clean=False)),
        ("file", Status(500)),
        ("file", Status(404)),
        ("file", Status(429)),
    ],
    ids=str,
)
async def test_trouble_on_the_way_is_got_over(
    standin: SketchStandIn, pictures: Pictures, kind: Kind, fault: Fault
) -> None:
    standin.trouble(kind, fault)
    if isinstance(fault, Trickle):
        with pytest.raises(ProviderBroken):  # the whole time is spent
            await pictures.image(here(standin), SIZE)
        return
    assert (await pictures.image(here(standin), SIZE)).size == SIZE
    assert len(standin.requests) == 2


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("file", Truncated()),
        ("file", Huge()),
        ("file", Huge(declared=True)),
        ("file", Html()),
        ("file", Status(403)),
        ("file", Redirect()),
        ("picture", Truncated()),
        ("picture", Html()),
        ("picture", Huge()),
    ],
    ids=str,
)
async def test_what_is_broken_is_not_believed(
    standin: SketchStandIn, pictures: Pictures, kind: Kind, fault: Fault
) -> None:
    standin.trouble(kind, fault, times=9)
    with pytest.raises(ProviderBroken):
        await pictures.image(here(standin), SIZE)


async def test_a_wrong_content_type_does_not_matter(standin: SketchStandIn, pictures: Pictures) -> None:
    standin.trouble("file", WrongType("application/json"))
    assert (await pictures.image(here(standin), SIZE)).size == SIZE


async def test_redirects_are_followed_within_the_rules_and_not_for_ever(
    standin: SketchStandIn, pictures: Pictures
) -> None:
    standin.trouble("file", Redirect(to_other_host=False), times=3)
    assert (await pictures.image(here(standin), SIZE)).size == SIZE
    standin.trouble("file", Redirect(to_other_host=False), times=4)
    with pytest.raises(ProviderBroken):
        await pictures.image(here(standin), SIZE)
    standin.trouble("file", Redirect(to_other_host=True))
    with pytest.raises(ProviderBroken):
        await pictures.image(here(standin), SIZE)
    assert standin.seen_elsewhere == []
    assert not [seen for seen in standin.requests if seen.host.startswith("localhost")]


@pytest.mark.parametrize(
    "url",
    [
        "{other}/file/7",
        "{other_tls}/file/7",
        "https://127.0.0.2:{port}/file/7",
        "https://10.1.2.3/x.png",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]:{port}/file/7",
        "https://[::ffff:127.0.0.1]:{port}/file/7",
        "http://example.com/x.png",
        "https://user@127.0.0.1:{port}/file/7",
        "https://2130706433:{port}/file/7",
    ],
)
async def test_private_networks_are_out_of_bounds(standin: SketchStandIn, pictures: Pictures, url: str) -> None:
    port = standin.root_url.rpartition(":")[2]
    other = standin.other_host_url
    with pytest.raises(ProviderBroken):
        await pictures.image(
            Found(url=url.format(port=port, other=other, other_tls=other.replace("http:", "https:"))), SIZE
        )
    assert standin.requests == []


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("192.168.7.7", False),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("2002:a00:1::", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


async def test_a_name_that_leads_inside_is_not_connected_to(standin: SketchStandIn) -> None:
    """The address is checked where the connection is made, so it does not matter what the name said before."""
    rules = HostRules("https://sketch.example")
    async with GuardedTransport(rules, connections=2) as guarded:
        with pytest.raises(httpcore.ConnectError, match="private network"):
            await guarded.handle_async_request(httpx.Request("GET", f"{standin.other_host_url}/file/7"))
    assert standin.requests == []


async def test_a_preview_that_is_none_is_no_error(pictures: Pictures) -> None:
    assert await pictures.preview(b"\xff\xd8\xff nothing") is None
    preview = await pictures.preview(encoded("JPEG", (32, 32)))
    assert preview is not None
    assert preview.size == (32, 32)


async def test_a_picture_to_start_from_is_cropped_to_the_size(pictures: Pictures) -> None:
    wide = Image.new("RGB", (400, 100), (0, 0, 255))
    wide.paste((255, 0, 0), (150, 0, 250, 100))
    png = Image.open(BytesIO(await pictures.fitted(wide, (64, 64))))
    assert png.format == "PNG"
    assert png.mode == "RGB"
    assert png.size == (64, 64)
    assert png.getpixel((32, 32)) == (255, 0, 0)
    assert png.getpixel((8, 32)) == (255, 0, 0)  # the blue sides are cut off
