"""Black Forest Labs: polling URLs on clusters, six statuses, signed results that die, costs that may be missing."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from flux_core.errors import Cancelled, GenerationFailed, ProviderBroken, ProviderClosed, ProviderDown, Refused
from flux_core.models import ASPECTS
from tests.providers.hosted.alone import alone, shot
from tests.providers.hosted.conftest import Desk, Watcher, desk_for, looks_like
from tests.providers.hosted.standin import Case
from tests.providers.hosted.troubles import Status
from tests.providers.hosted.vendors.bfl_standin import CASES, CLUSTERED, BflStandIn

(CASE,) = CASES


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with desk_for(CASE) as found:
        yield found


def standin_of(desk: Desk) -> BflStandIn:
    assert isinstance(desk.standin, BflStandIn)
    return desk.standin


async def test_flux_dev_is_asked_for_what_it_takes(desk: Desk) -> None:
    await desk.draw(desk.task("flux-dev", aspect="16:9", steps=20, guidance=2.5, seed=42))
    (order,) = desk.standin.submits
    assert (order["width"], order["height"]) == (1376, 768)
    assert (order["steps"], order["guidance"], order["seed"]) == (20, 2.5, 42)
    assert all(seen.headers["x-key"] == desk.standin.key for seen in desk.standin.of_kind("submit"))


@pytest.mark.parametrize("model", ["flux-pro-1.1", "flux-2-pro"])
async def test_the_pro_models_choose_steps_themselves(desk: Desk, model: str) -> None:
    await desk.draw(desk.task(model))
    (order,) = desk.standin.submits
    assert not {"steps", "guidance", "aspect_ratio"} & order.keys()


@pytest.mark.parametrize("aspect", [aspect for aspect in ASPECTS if aspect not in ("4:5", "5:4")])
async def test_kontext_is_asked_for_an_aspect(desk: Desk, aspect: str) -> None:
    drawing = await desk.draw(desk.task("flux-kontext-pro", aspect=aspect))
    (picture,) = drawing.pictures
    assert abs(picture.image.width / picture.image.height / ASPECTS[aspect] - 1) < 0.06
    assert "width" not in desk.standin.submits[0]


@pytest.mark.parametrize("model", ["flux-kontext-pro", "flux-2-pro"])
async def test_a_picture_to_edit_travels_inside_the_order(desk: Desk, model: str) -> None:
    picture = Image.new("RGB", (1600, 1000), "red")
    drawing = await desk.draw(desk.task(model, picture=picture))
    (seen,) = desk.standin.inputs
    assert abs(seen.width / seen.height / 1.6 - 1) < 0.06
    assert seen.getpixel((5, 5)) == (255, 0, 0)
    assert not drawing.from_words


async def test_the_polling_url_is_asked_as_it_was_given() -> None:
    async with desk_for(CLUSTERED) as desk:
        drawing = await desk.draw(desk.task("flux-dev", count=2))
    assert len(drawing.pictures) == 2
    polls = desk.standin.of_kind("poll")
    assert polls
    assert all(seen.host.startswith("localhost") and seen.headers["x-key"] == desk.standin.key for seen in polls)


async def test_a_polling_url_on_a_strangers_host_is_not_asked(desk: Desk) -> None:
    standin_of(desk).clusters = True
    error = await desk.outcome(desk.task("flux-dev"))
    assert isinstance(error, GenerationFailed)
    assert not desk.standin.of_kind("poll")
    assert len(desk.standin.submits) == 1


async def test_an_older_server_names_the_task_alone(desk: Desk) -> None:
    standin_of(desk).old = True
    drawing = await desk.draw(desk.task("flux-dev"))
    assert looks_like(drawing.pictures[0].image, 7)


@pytest.mark.parametrize(
    ("status", "details", "reason"),
    [
        ("Request Moderated", {"Moderation Reasons": ["Sexual Content", "Violence"]}, "Sexual Content, Violence"),
        ("Content Moderated", {"Moderation Reasons": ["Derivative Works Filter"]}, "Derivative Works Filter"),
        ("Content Moderated", None, "safety filter"),
        ("Request Moderated", "blocked", "safety filter"),
        ("Request Moderated", {"Moderation Reasons": []}, "safety filter"),
    ],
)
async def test_moderation_is_refused_with_the_vendors_reasons(
    desk: Desk, status: str, details: Any, reason: str
) -> None:
    standin_of(desk).endings[0] = {"status": status, "details": details}
    error = await desk.outcome(desk.task("flux-dev"))
    assert isinstance(error, Refused)
    assert reason in error.facts["reason"]
    assert "[" not in error.facts["reason"]


@pytest.mark.parametrize("details", ["CUDA error", {"error": "CUDA error"}, None])
async def test_a_failed_task_is_the_vendors_fault(desk: Desk, details: Any) -> None:
    standin_of(desk).endings[0] = {"status": "Error", "details": details}
    error = await desk.outcome(desk.task("flux-dev"))
    assert isinstance(error, ProviderDown)
    assert ("CUDA error" in str(error)) == (details is not None)


async def test_a_task_is_gone_only_when_that_is_said_again(desk: Desk) -> None:
    watcher = Watcher()
    desk.standin.trouble("poll", Status(200, {"id": "x", "status": "Task not found", "result": None}))
    assert (await desk.draw(desk.task("flux-dev"), watcher)).pictures
    desk.standin.trouble("poll", Status(200, {"id": "x", "status": "Task not found", "result": None}), times=50)
    error = await desk.outcome(desk.task("flux-dev"), watcher)
    assert isinstance(error, ProviderBroken)
    assert watcher.receipt is None
    assert len(desk.standin.submits) == 2


async def test_a_status_nobody_knows_yet_is_waited_out(desk: Desk) -> None:
    desk.standin.trouble("poll", Status(200, {"id": "x", "status": "Reasoning", "result": None}), times=3)
    assert (await desk.draw(desk.task("flux-dev"))).pictures


async def test_a_result_that_died_is_no_picture(desk: Desk) -> None:
    standin_of(desk).expired = 50
    error = await desk.outcome(desk.task("flux-dev"))
    assert isinstance(error, ProviderBroken)
    assert "403" in str(error)
    assert len(desk.standin.submits) == 1


@pytest.mark.parametrize(("cents", "microdollars"), [(2.5, 50_000), (None, 50_000), (3, 60_000), (-2.5, 50_000)])
async def test_what_the_vendor_charged_counts_before_the_price_list(
    desk: Desk, cents: float | None, microdollars: int
) -> None:
    standin_of(desk).cents = cents
    drawing = await desk.draw(desk.task("flux-dev", count=2))
    assert drawing.microdollars == microdollars


async def test_a_resumed_job_knows_its_cost_and_its_polling_url(desk: Desk) -> None:
    standin_of(desk).cents = 4.0
    watcher = Watcher()
    desk.standin.polls_needed = 10**6
    watcher.on_receipt = lambda count: setattr(watcher, "cancelled", count == 2)
    with pytest.raises(Cancelled):
        await desk.draw(desk.task("flux-dev"), watcher)
    desk.standin.polls_needed = 0
    async with desk.next_worker() as other:
        drawing = await other.draw(replace(desk.task("flux-dev"), provider_job_id=watcher.receipt))
    assert drawing.microdollars == 40_000
    assert len(desk.standin.submits) == 1


async def test_editing_with_flux_2_costs_what_the_input_costs_too(desk: Desk) -> None:
    standin_of(desk).cents = None
    words = await desk.draw(desk.task("flux-2-pro"))
    edited = await desk.draw(desk.task("flux-2-pro", picture=Image.new("RGB", (512, 512))))
    assert (words.microdollars, edited.microdollars) == (30_000, 45_000)


async def test_the_balance_is_told_and_an_empty_one_closes() -> None:
    async with BflStandIn() as standin, alone(standin, CASE) as bfl:
        assert "1250.5 credits" in await bfl.check()
        standin.credits = 0
        with pytest.raises(ProviderClosed) as caught:
            await bfl.check()
        assert caught.value.facts["reason"] == "credit"


async def test_a_model_that_was_retired_does_not_close_the_others(desk: Desk) -> None:
    case: Case = replace(CASE, access_models={"flux-dev": "flux-dev-of-old"})
    async with BflStandIn() as standin, alone(standin, case) as bfl:
        with pytest.raises(GenerationFailed) as caught:
            await bfl.draw("flux-dev")
        assert not isinstance(caught.value, ProviderClosed)
        assert await bfl.found("flux-pro-1.1")


async def test_a_ticket_is_text_that_fits_the_databases_json() -> None:
    async with BflStandIn() as standin, alone(standin, CASE) as bfl:
        outcome = await bfl.vendor.submit(shot(bfl.vendor, "flux-dev"), bfl.transport)
        ticket = json.loads(getattr(outcome, "ticket", ""))
        assert ticket == {"url": f"{standin.base_url}/v1/get_result?id=task-0-0", "cents": 2.5}
