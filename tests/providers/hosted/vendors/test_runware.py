"""Runware: tasks in an array, errors beside the data with any status, costs told."""

from __future__ import annotations

from typing import Any

import pytest

from flux_core.errors import (
    ProviderBroken,
    ProviderBusy,
    ProviderClosed,
    ProviderDown,
    Refused,
    RequestRejected,
)
from tests.providers.hosted.alone import alone, shot
from tests.providers.hosted.troubles import Status
from tests.providers.hosted.vendors.runware_standin import CASES, RunwareStandIn, errors

(CASE,) = CASES


async def test_a_task_carries_our_id_and_asks_for_its_cost() -> None:
    async with RunwareStandIn() as standin, alone(standin, CASE) as runware:
        order = shot(runware.vendor, "flux-dev", seed=42, steps=28)
        done = await runware.vendor.submit(order, runware.transport)
    (task,) = standin.submits
    assert task["taskUUID"] == order.client_id
    assert (task["model"], task["seed"], task["steps"], task["CFGScale"]) == ("runware:101@1", 42, 28, 3.5)
    assert (task["numberResults"], task["includeCost"], task["checkNSFW"]) == (1, True, True)
    assert "seedImage" not in task
    assert getattr(done, "microdollars", None) == 600


async def test_schnell_is_asked_without_guidance_in_sides_of_64() -> None:
    async with RunwareStandIn() as standin, alone(standin, CASE) as runware:
        await runware.draw("flux-schnell", size=(1360, 768))
    (task,) = standin.submits
    assert "CFGScale" not in task
    assert (task["width"], task["height"]) == (1344, 768)


async def test_a_picture_to_start_from_travels_inside_the_task() -> None:
    async with RunwareStandIn() as standin, alone(standin, CASE) as runware:
        await runware.draw("flux-dev", strength=0.3)
    (task,) = standin.submits
    assert task["strength"] == 0.3
    assert task["seedImage"].startswith("data:image/png;base64,")
    assert [picture.size for picture in standin.inputs] == [(1024, 1024)]


async def test_a_flagged_picture_is_withheld_and_its_cost_known() -> None:
    async with RunwareStandIn() as standin, alone(standin, CASE) as runware:
        standin.moderate = {0}
        done = await runware.draw()
    (found,) = done.found
    assert found.withheld
    assert found.url is None
    assert done.microdollars == 600


async def test_a_flagged_picture_that_comes_all_the_same_is_passed_on_with_its_flag() -> None:
    async with RunwareStandIn() as standin, alone(standin, CASE) as runware:
        standin.moderate, standin.gives_flagged = {0}, True
        (flagged,) = (await runware.draw()).found
        (innocent,) = (await runware.draw()).found
    assert flagged.flagged
    assert flagged.withheld is None
    assert flagged.url is not None
    assert not innocent.flagged


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": "invalidProviderContent", "message": "rejected"}, Refused),
        ({"code": "contentModerated", "message": "Content moderation stopped it"}, Refused),
        ({"code": "insufficientCredits", "message": "top up"}, ProviderClosed),
        ({"code": "concurrencyLimit", "message": "Too many concurrent tasks"}, ProviderBusy),
        ({"code": "invalidSteps", "message": "Invalid value for 'steps'.", "parameter": "steps"}, RequestRejected),
        ({"code": "invalidCheckNSFW", "message": "Invalid 'checkNSFW'", "parameter": "checkNSFW"}, RequestRejected),
        ({"code": "timeoutProvider", "message": "The provider did not answer"}, ProviderDown),
    ],
)
async def test_a_tasks_error_comes_with_status_200(error: dict[str, Any], kind: type[Exception]) -> None:
    async with RunwareStandIn() as standin, alone(standin, CASE) as runware:
        standin.shown_error = error
        with pytest.raises(kind):
            await runware.draw()
        assert len(standin.submits) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"data": []},
        {"data": [{"taskUUID": "another", "imageBase64Data": "aGFsbG8="}]},
        {"data": "none"},
        {"data": [7], "errors": {}},
        [],
    ],
)
async def test_an_answer_to_another_task_is_none(body: object) -> None:
    async with RunwareStandIn() as standin, alone(standin, CASE) as runware:
        standin.trouble("submit", Status(200, body))
        with pytest.raises(ProviderBroken):
            await runware.draw()


@pytest.mark.parametrize("cost", [0.0, -0.5, float("inf"), float("nan"), True, "0.01"])
async def test_a_cost_that_is_none_is_not_believed(cost: Any) -> None:
    async with RunwareStandIn() as standin, alone(standin, CASE) as runware:
        standin.cost = cost
        assert (await runware.draw()).microdollars is None


async def test_seed_0_is_drawn_from_another_that_the_member_reads() -> None:
    async with RunwareStandIn() as standin, alone(standin, CASE) as runware:
        assert (await runware.found(seed=0)).seed == 2**31 - 1
        assert (await runware.found(seed=1)).seed == 1


async def test_no_picture_and_no_flag_is_no_refusal() -> None:
    async with RunwareStandIn() as standin, alone(standin, CASE) as runware:
        standin.draws = False
        with pytest.raises(ProviderBroken):
            await runware.draw()


async def test_a_fault_of_theirs_is_not_taken_for_a_full_house() -> None:
    async with RunwareStandIn() as standin, alone(standin, CASE) as runware:
        standin.trouble("submit", Status(500, errors("internal", "The server is overloaded")), times=5)
        with pytest.raises(ProviderDown):
            await runware.draw()
        assert len(standin.submits) == 1


async def test_the_check_tells_the_balance_and_orders_nothing() -> None:
    async with RunwareStandIn() as standin, alone(standin, CASE) as runware:
        assert "12.5" in await runware.check()
        assert standin.submits == []
    async with RunwareStandIn() as standin, alone(standin, CASE, key="wrong") as runware:
        with pytest.raises(ProviderClosed) as caught:
            await runware.check()
        assert caught.value.facts["reason"] == "key"
