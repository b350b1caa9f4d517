"""The way to one vendor: what leaves once, what is repeated, and where the key goes."""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import quote

import pytest

from flux_core.errors import (
    FluxError,
    GenerationFailed,
    OutcomeUnknown,
    ProviderBroken,
    ProviderBusy,
    ProviderClosed,
    ProviderDown,
    Refused,
    RequestRejected,
)
from flux_core.providers.hosted.http import HttpTransport
from flux_core.providers.hosted.limits import Pace
from flux_core.providers.hosted.patience import retry_after
from flux_core.providers.hosted.transport import Answer
from flux_core.providers.hosted.vendor import Access
from tests.providers.hosted.sketch import HASTY, SketchAfar, SketchStandIn, SketchVendor, sketch
from tests.providers.hosted.standin import unreachable_url
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

ORDER = {"seeds": [1], "size": [64, 64], "id": "a"}


@pytest.fixture
async def standin() -> AsyncIterator[SketchStandIn]:
    async with SketchStandIn() as standin:
        yield standin


@pytest.fixture
async def transport(standin: SketchStandIn) -> AsyncIterator[HttpTransport]:
    async with HttpTransport(sketch(standin), patience=HASTY) as transport:
        yield transport


async def order(transport: HttpTransport) -> object:
    return (await transport.submit("/order", json=ORDER)).json


async def test_a_submit_arrives_with_key_and_name(standin: SketchStandIn, transport: HttpTransport) -> None:
    answer = await transport.submit("/order", json=ORDER, headers={"X-More": "1"})
    assert answer.paid
    assert answer.status == 200
    assert standin.submits == [ORDER]
    [seen] = standin.requests
    assert seen.headers["Authorization"] == f"Bearer {standin.key}"
    assert seen.headers["User-Agent"].startswith("flux-bot/")
    assert seen.headers["X-More"] == "1"
    assert answer.headers["content-type"].startswith("application/json")


@pytest.mark.parametrize(
    "fault",
    [
        ResetAfterBody(),
        ResetAtOnce(),
        Silence(),
        Trickle(5.0),
        Truncated(clean=False),
        Huge(),
        Huge(declared=True),
        *(Html(status) for status in (408, 499, 502, 504, 520, 524)),
    ],
    ids=str,
)
async def test_what_may_have_been_ordered_is_not_ordered_again(
    standin: SketchStandIn, transport: HttpTransport, fault: Fault
) -> None:
    standin.trouble("submit", fault)
    with pytest.raises(OutcomeUnknown):
        await order(transport)
    assert len(standin.submits) == 1


@pytest.mark.parametrize("status", [408, 499, 502, 504])
async def test_a_gateways_page_is_not_the_vendors_word_whatever_its_file_says(
    standin: SketchStandIn, status: int
) -> None:
    class Sure(SketchVendor):
        def fault(self, answer: Answer) -> GenerationFailed | None:
            return ProviderBusy("Sketch is sure.", provider=self.title)

    async with HttpTransport(sketch(standin, Sure), patience=HASTY) as transport:
        standin.trouble("submit", Html(status))
        with pytest.raises(OutcomeUnknown):
            await order(transport)
        standin.trouble("submit", Status(status, {"detail": "its own words"}))
        assert await order(transport) is not None


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Status(401), ProviderClosed),
        (Status(402), ProviderClosed),
        (Status(404), ProviderClosed),
        (Status(400, {"detail": "no"}), RequestRejected),
        (Status(400, {"error": "moderated", "why": "x"}), Refused),
        (Status(403, {"error": "credit"}), ProviderClosed),
        (Status(500, "<h1>oops</h1>"), ProviderDown),
        (Status(503), ProviderBusy),
        (Status(503, {"error": "full"}), ProviderBusy),
        (Redirect(), ProviderClosed),
        (Redirect(to_other_host=False), ProviderClosed),
    ],
    ids=str,
)
async def test_a_clear_no_is_not_asked_again(
    standin: SketchStandIn, transport: HttpTransport, fault: Fault, kind: type[FluxError]
) -> None:
    standin.trouble("submit", fault)
    with pytest.raises(kind):
        await order(transport)
    assert len(standin.of_kind("submit")) == 1
    assert len(standin.requests) == 1


@pytest.mark.parametrize(
    "fault",
    [
        Status(429),
        Status(429, {"error": "full"}, {"Retry-After": "0"}),
        Status(429, None, {"retry-after-ms": "20"}),
        Status(503, None, {"Retry-After": "0"}),
    ],
    ids=str,
)
async def test_too_many_is_tried_again_a_few_times(
    standin: SketchStandIn, transport: HttpTransport, fault: Fault
) -> None:
    standin.trouble("submit", fault, times=2)
    assert await order(transport) is not None
    assert len(standin.tasks) == 1
    standin.trouble("submit", fault, times=3)
    with pytest.raises(ProviderBusy):
        await order(transport)
    assert len(standin.tasks) == 1


async def test_a_pause_as_long_as_asked_for_but_no_longer_than_we_care_to_wait(
    standin: SketchStandIn, transport: HttpTransport
) -> None:
    standin.trouble("submit", Status(429, None, {"Retry-After": "0.2"}))
    began = time.monotonic()
    await order(transport)
    assert time.monotonic() - began >= 0.2
    standin.trouble("submit", Status(429, None, {"Retry-After": "3600"}))
    began = time.monotonic()
    with pytest.raises(ProviderBusy):
        await order(transport)
    assert time.monotonic() - began < 60


def test_retry_after_is_read_in_every_form() -> None:
    now = 1_800_000_000.0
    date = format_datetime(datetime.fromtimestamp(now, UTC) + timedelta(seconds=90), usegmt=True)
    assert retry_after({"retry-after": "3"}, now) == 3
    assert retry_after({"retry-after": "1.5"}, now) == 1.5
    assert retry_after({"retry-after": date}, now) == 90
    assert retry_after({"retry-after": date}, now + 500) == 0
    assert retry_after({"retry-after-ms": "1500", "retry-after": "9"}, now) == 1.5
    for nonsense in ("", "soon", "nan", "inf", "-", "Mon, 99 Foo 2026"):
        assert retry_after({"retry-after": nonsense}, now) is None
    assert retry_after({"retry-after": "-4"}, now) == 0
    assert retry_after({}, now) is None


async def test_the_limits_hear_of_too_many(standin: SketchStandIn) -> None:
    pace = Pace(8, 60_000)
    pace.in_flight = 8
    async with HttpTransport(sketch(standin), patience=HASTY, pace=pace) as transport:
        standin.trouble("submit", Status(429))
        await order(transport)
    assert pace.width == 4


async def test_nobody_listening_is_a_clean_failure() -> None:
    vendor = SketchVendor(Access(base_url=unreachable_url(), key="key-0123456789"))
    async with HttpTransport(vendor, patience=HASTY) as transport:
        with pytest.raises(ProviderDown):
            await order(transport)
        with pytest.raises(ProviderDown):
            await transport.call("GET", "/order/a")


async def test_every_submit_has_a_connection_of_its_own(standin: SketchStandIn, transport: HttpTransport) -> None:
    for _ in range(3):
        await order(transport)
        assert not transport._submits._transport._pool.connections  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "fault",
    [
        ResetAfterBody(),
        ResetAtOnce(),
        Silence(),
        Trickle(5.0),
        Truncated(clean=False),
        Html(500),
        Html(502),
        Status(429),
        Status(503, None, {"Retry-After": "0"}),
    ],
    ids=str,
)
async def test_what_is_free_is_asked_again(standin: SketchStandIn, transport: HttpTransport, fault: Fault) -> None:
    await order(transport)
    [id] = standin.tasks
    standin.trouble("poll", fault)
    answer = await transport.call("GET", f"/order/{id}", params={"x": "1 2"})
    assert answer.json["state"] == "working"
    assert not answer.paid
    assert standin.of_kind("poll")[-1].path.endswith("?x=1%202") or standin.of_kind("poll")[-1].path.endswith("?x=1+2")


async def test_but_not_for_ever(standin: SketchStandIn, transport: HttpTransport) -> None:
    standin.trouble("poll", Html(500), times=99)
    with pytest.raises(ProviderDown):
        await transport.call("GET", "/order/a")
    assert len(standin.of_kind("poll")) == HASTY.tries


@pytest.mark.parametrize("fault", [Status(400), Status(401), Status(404), Redirect()], ids=str)
async def test_a_clear_no_ends_it(standin: SketchStandIn, transport: HttpTransport, fault: Fault) -> None:
    standin.trouble("poll", fault)
    with pytest.raises(GenerationFailed):
        await transport.call("GET", "/order/a")
    assert len(standin.requests) == 1


async def test_200_mb_are_not_read(standin: SketchStandIn, transport: HttpTransport) -> None:
    await order(transport)
    [id] = standin.tasks
    standin.trouble("poll", Huge(declared=True), times=3)
    with pytest.raises(ProviderDown):
        await transport.call("GET", f"/order/{id}")


async def test_the_content_type_is_not_believed(standin: SketchStandIn, transport: HttpTransport) -> None:
    standin.trouble("submit", WrongType("text/plain"))
    answer = await transport.submit("/order", json=ORDER)
    assert answer.json["state"] == "working"


async def test_the_key_goes_to_no_other_host(standin: SketchStandIn, caplog: pytest.LogCaptureFixture) -> None:
    other = standin.other_host_url
    async with HttpTransport(sketch(standin), patience=HASTY) as transport:
        for url in (
            f"{other}/order/a",
            f"https://127.0.0.1:{standin.base_url.rpartition(':')[2]}/order/a",
            f"http://127.0.0.1:1{standin.base_url.rpartition(':')[2][1:]}/order/a",
            f"{standin.base_url.replace('127.0.0.1', '127.0.0.1.evil.example')}/order/a",
            f"http://127.0.0.1@localhost:{standin.base_url.rpartition(':')[2]}/order/a",
            "https://evil.example/order/a",
            "file:///etc/passwd",
            "http://[bad/",
        ):
            with pytest.raises(ProviderBroken):
                await transport.call("GET", url)
            with pytest.raises(ProviderBroken):
                await transport.submit(url, json={})
    assert standin.requests == []
    assert "evil.example" in caplog.text


async def test_unless_the_vendor_is_known_to_use_it(standin: SketchStandIn) -> None:
    standin.trusts_other_host = True  # type: ignore[misc]
    async with HttpTransport(sketch(standin, SketchAfar), patience=HASTY) as transport:
        await order(transport)
        [id] = standin.tasks
        answer = await transport.call("GET", f"{standin.other_host_url}/order/{id}")
        assert answer.status == 200
        with pytest.raises(ProviderBroken):
            await transport.call("GET", "https://nonlocal.example/order/a")
    assert standin.requests[-1].headers["Authorization"]


async def test_keyless_requests_carry_no_key_and_reach_no_private_network(standin: SketchStandIn) -> None:
    async with HttpTransport(sketch(standin), patience=HASTY) as transport:
        with pytest.raises(GenerationFailed):  # our own host, but the stand-in wants the key here
            await transport.call("PUT", f"{standin.root_url}/order/a", content=b"x", keyless=True)
        for url in (standin.other_host_url, standin.other_host_url.replace("http:", "https:"), "https://10.0.0.1/x"):
            with pytest.raises(GenerationFailed):
                await transport.call("PUT", url, content=b"x", keyless=True)
    [seen] = standin.requests
    assert "Authorization" not in seen.headers


ECHOES = (
    Status(400, {"detail": "you sent {key}"}),
    Status(401, {"detail": "{key} is no key"}),
    Status(500, {"detail": "{key}"}),
    Status(429, {"detail": "{key}"}),
    Html(502),
    Silence(),
    ResetAfterBody(),
    Truncated(clean=False),
    Redirect(),
)


@pytest.mark.parametrize("echo", ECHOES, ids=str)
async def test_the_key_is_in_no_error_and_no_log(
    standin: SketchStandIn, caplog: pytest.LogCaptureFixture, echo: Fault
) -> None:
    caplog.set_level(logging.DEBUG)
    if isinstance(echo, Status):
        echo = Status(echo.code, {"detail": str(echo.body["detail"]).replace("{key}", standin.key)})
    async with HttpTransport(sketch(standin), patience=HASTY) as transport:
        for kind in ("submit", "poll"):
            standin.trouble(kind, echo, times=9)  # type: ignore[arg-type]
        raised: list[BaseException] = []
        for asking in (order(transport), transport.call("GET", "/order/a")):
            with pytest.raises(GenerationFailed) as caught:
                await asking
            raised.append(caught.value)
        assert standin.key not in repr(vars(transport)) + repr(transport)
    for error in raised:
        seen: BaseException | None = error
        while seen is not None:
            facts = repr(getattr(seen, "facts", ""))
            assert standin.key not in f"{seen!r} {seen} {facts} {vars(seen)}"
            request = getattr(seen, "_request", None)
            assert request is None, "an error drags the request along, and with it the key"
            seen = seen.__context__
    assert standin.key not in caplog.text
    assert "***" in str(raised[0]) or not isinstance(echo, Status)


async def test_a_200_that_repeats_the_key_is_cleaned_too(standin: SketchStandIn, transport: HttpTransport) -> None:
    standin.extra = {"logs": f"started with {standin.key}", "quoted": standin.key}
    answer = await transport.submit("/order", json=ORDER)
    assert standin.key.encode() not in answer.body
    assert answer.json["logs"] == "started with ***"


async def test_a_short_or_dull_key_blacks_nothing_out(standin: SketchStandIn) -> None:
    for key in ("state", "0000000000"):
        standin.key = key  # type: ignore[misc]
        async with HttpTransport(sketch(standin, key=key), patience=HASTY) as transport:
            standin.extra = {"cost": 10_000_000_000}
            answer = await transport.submit("/order", json=ORDER)
            assert answer.json["state"] == "working"
            assert answer.json["cost"] == 10_000_000_000


async def test_cookies_are_not_kept(standin: SketchStandIn, transport: HttpTransport) -> None:
    standin.trouble("poll", Status(500, None, {"Set-Cookie": "sid=1; Path=/"}))
    await transport.call("GET", "/order/a")
    assert len(standin.requests) == 2
    assert all("Cookie" not in seen.headers for seen in standin.requests)


async def test_a_plain_http_server_is_reached_without_a_proxy(
    standin: SketchStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", unreachable_url())
    monkeypatch.setenv("ALL_PROXY", unreachable_url())
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with HttpTransport(sketch(standin), patience=HASTY) as transport:
        assert await order(transport) is not None


async def test_many_at_once_share_the_pool(standin: SketchStandIn, transport: HttpTransport) -> None:
    await asyncio.gather(*(order(transport) for _ in range(40)))
    assert len(standin.submits) == 40


async def test_the_key_is_hidden_in_every_form_that_headers_and_urls_give_it(standin: SketchStandIn) -> None:
    key = "user:pä/ss+word=1"

    class Basic(SketchVendor):
        def headers(self) -> dict[str, str]:
            return {"Authorization": "Basic " + base64.b64encode(key.encode()).decode(), "X-Client": "flux-bot"}

    vendor = sketch(standin, Basic, key=key, extra={"account_token": "t0ken-77", "mode": "turbo-9"})
    async with HttpTransport(vendor, patience=HASTY) as transport:
        assert transport.hide("t0ken-77 in turbo-9") == "*** in turbo-9"
        for form in (key, quote(key, safe=""), base64.b64encode(key.encode()).decode()):
            assert transport.hide(f"flux-bot sent Basic {form}!") == "flux-bot sent Basic ***!"
