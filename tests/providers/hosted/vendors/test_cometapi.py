"""What is particular to CometAPI: two formats, addresses of others in its answers, a web site in place of an API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from PIL import Image

from flux_core.errors import (
    ConfigurationError,
    GenerationFailed,
    OutcomeUnknown,
    ProviderBroken,
    ProviderClosed,
    ProviderDown,
    Refused,
    RequestRejected,
)
from flux_core.providers.hosted.vendor import CENSORED, Access
from flux_core.providers.hosted.vendors.cometapi import CometApi
from tests.providers.hosted.alone import alone
from tests.providers.hosted.conftest import WAITING, Desk, Watcher, desk_for
from tests.providers.hosted.standin import Case
from tests.providers.hosted.troubles import Html, Silence, Status, Truncated
from tests.providers.hosted.vendors.cometapi_standin import CASES, CometApiStandIn, told

CASE = {case.id: case for case in CASES}
BOTH = pytest.mark.parametrize("case", [CASE["cometapi"], CASE["cometapi-bfl"]], ids=["replicate", "bfl"])


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with desk_for(CASE["cometapi"]) as found:
        yield found


@pytest.fixture
async def bfl() -> AsyncIterator[Desk]:
    async with desk_for(CASE["cometapi-bfl"]) as found:
        yield found


@BOTH
async def test_the_addresses_inside_answers_are_never_called(case: Case) -> None:
    async with desk_for(case) as desk:
        desk.standin.polls_needed = 4
        await desk.draw(desk.task())
        assert {seen.host for seen in desk.standin.requests} == {desk.standin.root_url.removeprefix("http://")}


async def test_the_models_are_those_of_the_chosen_format(desk: Desk, bfl: Desk) -> None:
    assert set(desk.provider.offers) == {"flux-dev", "flux-schnell", "flux-pro-1.1", "flux-kontext-pro"}
    assert set(bfl.provider.offers) == {"flux-dev", "flux-pro-1.1", "flux-2-pro"}


def test_another_format_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigurationError, match="COMETAPI_FORMAT"):
        CometApi(Access(base_url="https://c.example", key="k", extra={"format": "openai"}))


@BOTH
async def test_a_poll_that_hangs_is_asked_again(case: Case) -> None:
    async with desk_for(case, WAITING) as desk:
        desk.standin.trouble("poll", Silence())
        assert len((await desk.draw(desk.task())).pictures) == 1
        assert len(desk.standin.submits) == 1


@BOTH
async def test_a_page_instead_of_an_order_s_answer_means_that_nothing_was_ordered(case: Case) -> None:
    async with desk_for(case) as desk:
        desk.standin.trouble("submit", Html())
        watcher = Watcher()
        error = await desk.outcome(desk.task(), watcher)
        assert isinstance(error, ProviderClosed)
        assert error.facts["reason"] == "address"
        assert watcher.receipt is None


async def test_a_model_that_it_does_not_know_closes_the_provider() -> None:
    case = replace(CASE["cometapi-bfl"], access_models={"flux-dev": "flux-gone"})
    async with desk_for(case) as desk:
        error = await desk.outcome(desk.task("flux-dev"))
        assert isinstance(error, ProviderClosed)
        assert error.facts["reason"] == "address"
        assert desk.standin.tasks == {}


@BOTH
async def test_a_page_instead_of_a_poll_s_answer_loses_nothing(case: Case) -> None:
    async with desk_for(case) as desk:
        desk.standin.trouble("poll", Html(), times=3)
        assert len((await desk.draw(desk.task())).pictures) == 1


async def test_json_without_an_id_is_an_unknown_outcome(desk: Desk) -> None:
    desk.standin.trouble("submit", Status(200, {"status": "starting"}))
    assert isinstance(await desk.outcome(desk.task()), OutcomeUnknown)


async def test_an_internal_error_that_says_invalid_request_is_not_sent_again(desk: Desk) -> None:
    desk.standin.trouble("submit", Status(500, told("seed is invalid", "invalid_request")))
    assert isinstance(await desk.outcome(desk.task()), RequestRejected)
    assert len(desk.standin.of_kind("submit")) == 1


@pytest.mark.parametrize(
    ("error", "expected"),
    [("NSFW content detected. Try running it again.", Refused), ("CUDA out of memory", ProviderDown)],
)
async def test_a_failed_prediction_tells_why(desk: Desk, error: str, expected: type[GenerationFailed]) -> None:
    assert isinstance(desk.standin, CometApiStandIn)
    desk.standin.error = error
    desk.standin.moderate = {0}
    assert type(await desk.outcome(desk.task())) is expected


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        ({"status": "Content Moderated", "details": None}, CENSORED),
        ({"status": "Request Moderated", "details": {"Moderation Reasons": ["Violence", "Gore"]}}, "Violence, Gore"),
    ],
)
async def test_a_moderated_task_tells_the_vendor_s_reasons(bfl: Desk, ending: dict[str, object], reason: str) -> None:
    assert isinstance(bfl.standin, CometApiStandIn)
    bfl.standin.moderation = ending
    bfl.standin.moderate = {0}
    error = await bfl.outcome(bfl.task())
    assert isinstance(error, Refused)
    assert error.facts["reason"] == reason


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        ({"status": "Error", "details": "worker lost"}, ProviderDown),
        ({"status": "Ready", "result": {}}, ProviderBroken),
    ],
)
async def test_each_other_ending_becomes_its_error(
    bfl: Desk, ending: dict[str, object], expected: type[GenerationFailed]
) -> None:
    assert isinstance(bfl.standin, CometApiStandIn)
    bfl.standin.moderation = ending
    bfl.standin.moderate = {0}
    assert type(await bfl.outcome(bfl.task())) is expected


@BOTH
async def test_half_an_answer_may_have_been_an_order(case: Case) -> None:
    async with desk_for(case) as desk:
        desk.standin.trouble("submit", Truncated())
        watcher = Watcher()
        assert isinstance(await desk.outcome(desk.task(), watcher), OutcomeUnknown)
        assert watcher.receipt is not None
        assert desk.provider.closed is None
        assert len(desk.standin.submits) == 1


async def test_flux_dev_s_visual_prompt_is_not_a_picture_to_start_from(bfl: Desk) -> None:
    drawing = await bfl.draw(bfl.task("flux-dev", picture=Image.new("RGB", (512, 512)), strength=0.3))
    assert drawing.from_words
    assert bfl.standin.inputs == []


async def test_kontext_draws_its_own_sizes_only() -> None:
    async with desk_for(CASE["cometapi-kontext"]) as desk:
        await desk.draw(desk.task(aspect="21:9"))
        assert isinstance(await desk.outcome(desk.task(aspect="4:5")), RequestRejected)
        await desk.draw(desk.task(picture=Image.new("RGB", (800, 600))))
        assert [submit["input"]["aspect_ratio"] for submit in desk.standin.submits] == ["21:9", "match_input_image"]


async def test_flux_2_costs_what_its_makers_ask_for_each_megapixel(bfl: Desk) -> None:
    offer = bfl.provider.offers["flux-2-pro"]
    assert offer.cost(bfl.task("flux-2-pro", size="2048x1024").request) == 45_000
    assert offer.cost(bfl.task("flux-2-pro", picture=Image.new("RGB", (512, 512))).request) == 45_000


async def test_a_seed_is_read_from_the_log() -> None:
    async with CometApiStandIn() as standin, alone(standin, CASE["cometapi"]) as comet:
        assert (await comet.found(seed=42)).seed == 42


async def test_a_picture_without_a_link_is_not_left_aside_in_silence() -> None:
    async with CometApiStandIn() as standin, alone(standin, CASE["cometapi"]) as comet:
        with pytest.raises(RequestRejected):
            await comet.draw("flux-dev", strength=0.5)
    assert standin.submits == []


async def test_a_link_is_published_once_for_all_pictures(desk: Desk) -> None:
    picture = Image.new("RGB", (800, 600), (10, 200, 90))
    drawing = await desk.draw(desk.task("flux-dev", picture=picture, count=2))
    assert len(drawing.pictures) == 2
    assert len(desk.standin.stored) == 1
    assert {submit["input"]["image"] for submit in desk.standin.submits} == set(desk.standin.stored)
