"""Fireworks: JSON or a picture at once, Kontext by polling in the words of Black Forest Labs."""

from __future__ import annotations

import pytest

from flux_core.errors import OutcomeUnknown, ProviderBroken, ProviderClosed, ProviderDown, Refused
from flux_core.generation import RATIO_TOLERANCE
from flux_core.providers.hosted.vendor import Pending
from flux_core.providers.hosted.vendors.aspects import SIZES
from tests.providers.hosted.alone import alone, shot
from tests.providers.hosted.conftest import desk_for
from tests.providers.hosted.troubles import Status
from tests.providers.hosted.vendors.fireworks_standin import CASES, FireworksStandIn

FLUX, KONTEXT = CASES


async def test_an_aspect_is_asked_for_not_pixels() -> None:
    async with FireworksStandIn() as standin, alone(standin, FLUX) as fireworks:
        for size in SIZES.values():
            await fireworks.draw("flux-dev", size=size, steps=28)
    assert [body["aspect_ratio"] for body in standin.submits] == list(SIZES)
    assert {body["num_inference_steps"] for body in standin.submits} == {28}
    assert {body["guidance_scale"] for body in standin.submits} == {3.5}
    assert not any("width" in body for body in standin.submits)


async def test_schnell_has_no_guidance_and_a_step_costs_the_same_in_every_aspect() -> None:
    async with FireworksStandIn() as standin, alone(standin, FLUX) as fireworks:
        await fireworks.draw("flux-schnell")
        offer = fireworks.vendor.offers["flux-schnell"]
        costs = {offer.cost(shot(fireworks.vendor, "flux-schnell", size=size).request) for size in offer.sizes.listed}
    assert "guidance_scale" not in standin.submits[0]
    assert costs == {4 * 350}


async def test_the_seed_it_chose_is_kept() -> None:
    async with FireworksStandIn() as standin, alone(standin, FLUX) as fireworks:
        assert (await fireworks.found(seed=0)).seed == 77
        assert (await fireworks.found(seed=9)).seed == 9


@pytest.mark.parametrize("answers_pictures", [False, True])
async def test_json_or_a_picture_both_tell_what_was_filtered(answers_pictures: bool) -> None:
    async with FireworksStandIn() as standin, alone(standin, FLUX) as fireworks:
        standin.answers_pictures = answers_pictures
        standin.moderate = {1}
        drawn, filtered = await fireworks.found(), await fireworks.found()
    assert drawn.withheld is None
    assert (drawn.data is not None) == answers_pictures
    assert drawn.seed == 7
    assert filtered.withheld
    assert filtered.data is None
    assert standin.requests[0].headers["Accept"] == "application/json"


@pytest.mark.parametrize("base64", [["data:image/png;base64,aGFsbG8="], ["aGFsbG8="], "aGFsbG8="])
async def test_base64_comes_bare_or_as_a_data_uri(base64: object) -> None:
    async with FireworksStandIn() as standin, alone(standin, FLUX) as fireworks:
        standin.trouble("submit", Status(200, {"base64": base64, "finishReason": "SUCCESS", "seed": 7}))
        assert (await fireworks.found()).url == "data:image/png;base64,aGFsbG8="


@pytest.mark.parametrize("body", [{}, [], {"base64": []}, {"base64": [None]}, "<html></html>"])
async def test_no_picture_is_no_success(body: object) -> None:
    async with FireworksStandIn() as standin, alone(standin, FLUX) as fireworks:
        standin.trouble("submit", Status(200, body))
        with pytest.raises(ProviderBroken):
            await fireworks.draw()


async def test_kontext_is_ordered_once_and_found_again_by_its_ticket_alone() -> None:
    async with FireworksStandIn() as standin:
        async with alone(standin, KONTEXT) as fireworks:
            order = shot(fireworks.vendor, "flux-kontext-pro", size=(1312, 832), strength=0.5)
            outcome = await fireworks.vendor.submit(order, fireworks.transport)
        assert isinstance(outcome, Pending)
        assert outcome.ticket
        standin.polls_needed = 0
        async with alone(standin, KONTEXT) as restarted:
            done = await restarted.vendor.poll(outcome.ticket, restarted.transport)
    assert not isinstance(done, Pending)
    assert [found.seed for found in done.found] == [7]
    (body,) = standin.submits
    width, height = map(int, body["aspect_ratio"].split(":"))
    assert width / height == pytest.approx(1312 / 832, rel=RATIO_TOLERANCE)
    assert len(standin.inputs) == 1


async def test_a_task_that_is_not_known_yet_is_asked_for_again() -> None:
    async with desk_for(KONTEXT) as desk:
        assert isinstance(desk.standin, FireworksStandIn)
        desk.standin.forgotten_polls = 1
        assert len((await desk.draw(desk.task(count=1))).pictures) == 1
        desk.standin.forgotten_polls = 1000
        assert isinstance(await desk.outcome(desk.task(count=1)), ProviderBroken)
        assert len(desk.standin.submits) == 2


async def test_moderation_is_told_with_its_reason() -> None:
    async with FireworksStandIn() as standin, alone(standin, KONTEXT) as fireworks:
        standin.moderate = {0}
        with pytest.raises(Refused) as caught:
            await fireworks.draw("flux-kontext-pro")
    assert "Violence" in caught.value.facts["reason"]


async def test_an_order_without_an_id_is_not_taken_for_none() -> None:
    async with FireworksStandIn() as standin, alone(standin, KONTEXT) as fireworks:
        standin.trouble("submit", Status(200, {"status": "ok"}))
        with pytest.raises(OutcomeUnknown):
            await fireworks.draw("flux-kontext-pro")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"status": "Error", "details": "worker died"}, ProviderDown),
        ({"status": "Ready", "result": None}, ProviderBroken),
        ({"status": "Ready", "result": {"sample": None}}, ProviderBroken),
        ([], ProviderBroken),
    ],
)
async def test_a_failed_task_is_told_apart(body: object, error: type[Exception]) -> None:
    async with FireworksStandIn() as standin, alone(standin, KONTEXT) as fireworks:
        standin.trouble("poll", Status(200, body))
        with pytest.raises(error):
            await fireworks.draw("flux-kontext-pro")


async def test_the_check_lists_models_and_knows_a_wrong_key() -> None:
    async with FireworksStandIn() as standin, alone(standin, FLUX) as fireworks:
        assert await fireworks.check()
        assert standin.submits == []
    async with FireworksStandIn() as standin, alone(standin, FLUX, key="wrong") as fireworks:
        with pytest.raises(ProviderClosed):
            await fireworks.check()
