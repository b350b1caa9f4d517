"""AI Horde: seeds as text, pictures held back, requests that vanish, and kudos instead of money."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from flux_core.errors import (
    GenerationFailed,
    OutcomeUnknown,
    ProviderBroken,
    ProviderBusy,
    ProviderClosed,
    ProviderDown,
    Refused,
    RequestRejected,
)
from flux_core.family import FLUX_SCHNELL
from flux_core.generation import RATIO_TOLERANCE
from flux_core.models import ASPECTS
from flux_core.providers.hosted.vendor import Access, Done, Pending
from flux_core.providers.hosted.vendors.aihorde import ANONYMOUS, AiHorde
from tests.providers.hosted.alone import Alone, alone, shot
from tests.providers.hosted.troubles import Html, Status
from tests.providers.hosted.vendors.aihorde_standin import CASES, AiHordeStandIn, error

(CASE,) = CASES


async def submitted(horde: Alone, **wishes: Any) -> str:
    outcome = await horde.vendor.submit(shot(horde.vendor, "flux-schnell", **wishes), horde.transport)
    assert isinstance(outcome, Pending)
    assert outcome.ticket is not None
    return outcome.ticket


async def test_a_request_says_who_asks_and_what_for() -> None:
    async with AiHordeStandIn() as standin, alone(standin, CASE, extra={"contact": "https://a.example"}) as horde:
        found = await horde.found(seed=42)
    (body,) = standin.submits
    assert body["params"]["seed"] == "42"
    assert (body["params"]["width"], body["params"]["height"], body["params"]["n"]) == (1024, 1024, 1)
    assert body["models"] == ["Flux.1-Schnell fp8 (Compact)"]
    assert (body["nsfw"], body["censor_nsfw"], body["shared"], body["replacement_filter"]) == (
        False,
        True,
        False,
        False,
    )
    assert found.seed == 42
    agents = {seen.headers["Client-Agent"] for seen in standin.requests}
    assert len(agents) == 1
    name, version, contact = agents.pop().split(":", 2)
    assert (name, contact) == ("flux-bot", "https://a.example")
    assert version


async def test_how_it_stands_is_asked_often_and_the_result_once() -> None:
    async with AiHordeStandIn() as standin, alone(standin, CASE) as horde:
        standin.polls_needed = 15
        done = await horde.draw()
    paths = [seen.path.split("/")[4] for seen in standin.of_kind("poll")]
    assert paths == ["check"] * 16 + ["status"]
    assert len(done.found) == 1


async def test_drawing_begins_when_a_volunteer_has_taken_it() -> None:
    async with AiHordeStandIn() as standin, alone(standin, CASE) as horde:
        ticket = await submitted(horde)
        outcomes = [await horde.vendor.poll(ticket, horde.transport) for _ in range(2)]
    assert [getattr(outcome, "progress", "?") for outcome in outcomes] == [None, 0.0]


async def test_a_picture_to_start_from_travels_as_webp() -> None:
    async with AiHordeStandIn() as standin, alone(standin, CASE) as horde:
        await horde.draw(strength=0.3, size=(768, 512))
    (body,) = standin.submits
    assert (body["source_processing"], body["params"]["denoising_strength"]) == ("img2img", 0.3)
    (picture,) = standin.inputs
    assert (picture.format, picture.size) == ("WEBP", (768, 512))


@pytest.mark.parametrize("state", ["censored", "csam"])
async def test_a_censored_picture_is_withheld(state: str) -> None:
    async with AiHordeStandIn() as standin, alone(standin, CASE) as horde:
        standin.censored_as = state
        standin.moderate = {0}
        found = await horde.found()
    assert found.withheld
    assert found.url is None


async def test_pictures_may_come_inside_the_answer() -> None:
    async with AiHordeStandIn() as standin, alone(standin, CASE) as horde:
        standin.inline = True
        found = await horde.found()
    assert found.url is not None
    assert found.url.startswith("data:image/webp;base64,")


@pytest.mark.parametrize(
    "gone",
    [Status(404, error("RequestNotFound")), Status(410, error("RequestExpired")), Status(410, {"message": "Gone"})],
)
async def test_a_request_that_vanished_was_drawn_by_nobody(gone: Status) -> None:
    async with AiHordeStandIn() as standin, alone(standin, CASE) as horde:
        ticket = await submitted(horde)
        standin.trouble("poll", gone)
        with pytest.raises(ProviderBroken):
            await horde.vendor.poll(ticket, horde.transport)
    assert len(standin.of_kind("poll")) == 1


async def test_an_impossible_request_is_taken_back() -> None:
    async with AiHordeStandIn() as standin, alone(standin, CASE) as horde:
        standin.possible = False
        with pytest.raises(ProviderBroken):
            await horde.draw()
        assert standin.cancelled == list(standin.tasks)


async def test_a_faulted_request_is_broken() -> None:
    async with AiHordeStandIn() as standin, alone(standin, CASE) as horde:
        standin.faulted = True
        with pytest.raises(ProviderBroken):
            await horde.draw()


@pytest.mark.parametrize("generations", [[], None, "x", [7], [{"img": "", "state": "ok"}]])
async def test_an_end_without_a_picture_is_broken(generations: object) -> None:
    async with AiHordeStandIn() as standin, alone(standin, CASE) as horde:
        ticket = await submitted(horde)
        standin.trouble("poll", Status(200, {"done": True, "generations": generations}), times=2)
        with pytest.raises(ProviderBroken):
            await horde.vendor.poll(ticket, horde.transport)


async def test_a_page_instead_of_an_answer_is_asked_again_later() -> None:
    async with AiHordeStandIn() as standin, alone(standin, CASE) as horde:
        ticket = await submitted(horde)
        standin.trouble("poll", Html())
        with pytest.raises(ProviderDown):
            await horde.vendor.poll(ticket, horde.transport)
        standin.trouble("submit", Html())
        with pytest.raises(OutcomeUnknown):
            await submitted(horde)


@pytest.mark.parametrize(
    ("answer", "kind", "facts"),
    [
        (Status(400, error("CorruptPrompt", "violates our terms")), Refused, {}),
        (Status(403, error("KudosUpfront", "needs kudos")), RequestRejected, {}),
        (Status(403, error("SharedKeyEmpty", "no more kudos")), ProviderClosed, {"reason": "credit"}),
        (Status(401, error("SharedKeyExpired", "expired")), ProviderClosed, {"reason": "key"}),
        (Status(403, error("TimeoutIP", "in timeout")), ProviderDown, {}),
        (Status(400, error("NoValidWorkers", "none")), ProviderDown, {}),
        (Status(429, error("TooManyPrompts", "too many")), ProviderBusy, {}),
        (Status(404, "<h1>Not Found</h1>"), ProviderClosed, {"reason": "address"}),
    ],
)
async def test_return_codes_say_more_than_statuses(
    answer: Status, kind: type[GenerationFailed], facts: dict[str, str]
) -> None:
    async with AiHordeStandIn() as standin, alone(standin, CASE) as horde:
        standin.trouble("submit", answer, times=9)
        with pytest.raises(kind) as failed:
            await submitted(horde)
    assert facts.items() <= failed.value.facts.items()


async def test_a_cancelled_request_is_deleted() -> None:
    async with AiHordeStandIn() as standin, alone(standin, CASE) as horde:
        ticket = await submitted(horde)
        await horde.vendor.cancel(ticket, horde.transport)
    assert standin.cancelled == [ticket]


async def test_without_a_key_it_draws_as_everybody() -> None:
    async with AiHordeStandIn() as standin, alone(standin, CASE, key=None) as horde:
        standin.anonymous = True
        assert isinstance(await horde.draw(), Done)
    assert {seen.headers["apikey"] for seen in standin.requests} == {ANONYMOUS}


@pytest.mark.parametrize("key", [None, "a-key"])
def test_every_aspect_has_a_size_in_64s_within_what_the_key_is_good_for(key: str | None) -> None:
    sizes = AiHorde(Access(base_url="http://h", key=key)).offers["flux-schnell"].sizes
    wished = [FLUX_SCHNELL.size_for_aspect(aspect) for aspect in ASPECTS]
    for width, height in [*wished, (2048, 1024), (256, 256)]:
        size = sizes.nearest(width, height)
        assert size is not None, (width, height)
        assert all(side % 64 == 0 and 64 <= side <= 3072 for side in size)
        assert abs(size[0] / size[1] / (width / height) - 1) <= RATIO_TOLERANCE
        assert key is not None or size[0] * size[1] <= 1024 * 1024


def test_a_contact_cannot_break_a_header() -> None:
    vendor = AiHorde(Access(base_url="http://h", key=None, extra={"contact": "mäil\r\nX-Evil: 1"}))
    httpx.Request("GET", "http://h", headers=vendor.headers())
    assert "\n" not in vendor.headers()["Client-Agent"]
    assert vendor.headers()["Client-Agent"].isascii()


async def test_the_check_tells_the_kudos() -> None:
    async with AiHordeStandIn() as standin:
        async with alone(standin, CASE) as horde:
            line = await horde.check()
        async with alone(standin, CASE, key="wrong") as stranger:
            with pytest.raises(ProviderClosed) as closed:
                await stranger.check()
    assert "studio#12345" in line
    assert "1,234" in line
    assert closed.value.facts["reason"] == "key"
