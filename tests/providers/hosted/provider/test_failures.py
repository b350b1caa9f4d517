"""What does not come of a job: what is held back, fails, or stays unknown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from flux_core.errors import (
    OutcomeUnknown,
    ProviderBroken,
    Refused,
)
from flux_core.providers.hosted.provider import HostedProvider
from flux_core.providers.hosted.receipt import Sent
from tests.providers.hosted.provider.conftest import Job, provider_of, seeds, task
from tests.providers.hosted.sketch import (
    SIDE,
    SketchAtOnce,
    SketchInPairs,
    SketchStandIn,
    SketchVendor,
)
from tests.providers.hosted.troubles import Html, ResetAfterBody, ResetAtOnce, Silence, Status, Truncated


async def test_some_held_back_the_others_delivered(standin: SketchStandIn, provider: HostedProvider) -> None:
    standin.moderate = {1}
    drawing = await provider.draw(task(3), Job())
    assert len(drawing.pictures) == 2
    assert drawing.withheld == "naughty"
    assert drawing.microdollars == 20_000


async def test_all_held_back_is_a_refusal(standin: SketchStandIn, provider: HostedProvider) -> None:
    standin.moderate = {0, 1}
    with pytest.raises(Refused) as caught:
        await provider.draw(task(2), Job())
    assert caught.value.facts["reason"] == "naughty"
    standin.trouble("submit", Status(400, {"error": "moderated", "why": "words"}))
    with pytest.raises(Refused) as caught:
        await provider.draw(task(), Job())
    assert caught.value.facts["reason"] == "words"


async def test_one_that_failed_does_not_spoil_the_others(standin: SketchStandIn, provider: HostedProvider) -> None:
    standin.trouble("submit", Status(500, {"detail": "x"}))
    drawing = await provider.draw(task(2), Job())
    assert len(drawing.pictures) == 1
    assert drawing.withheld
    assert drawing.microdollars == 10_000


async def test_one_of_unknown_outcome_does_not_spoil_the_others(
    standin: SketchStandIn, provider: HostedProvider
) -> None:
    standin.trouble("submit", ResetAfterBody())
    drawing = await provider.draw(task(3), Job())
    assert len(drawing.pictures) == 2
    assert drawing.withheld
    assert len(standin.submits) == 3


async def test_an_unknown_outcome_says_more_than_a_fault_or_a_refusal(
    standin: SketchStandIn, provider: HostedProvider
) -> None:
    standin.trouble("submit", Status(402))
    standin.trouble("submit", ResetAfterBody())
    standin.moderate = {2}
    job = Job()
    with pytest.raises(OutcomeUnknown):
        await provider.draw(task(3), job)
    assert job.receipt


async def test_too_few_pictures_are_held_back(standin: SketchStandIn) -> None:
    class Lossy(SketchInPairs):
        def _outcome(self, answer: Any) -> Any:
            outcome = super()._outcome(answer)
            return replace(outcome, found=outcome.found[:1]) if hasattr(outcome, "found") else outcome

    async with provider_of(standin, Lossy) as provider:
        drawing = await provider.draw(task(2), Job())
        assert seeds(drawing) == [7]
        assert drawing.withheld


async def test_another_aspect_is_no_answer(standin: SketchStandIn, provider: HostedProvider) -> None:
    standin.size = (SIDE, SIDE // 2)
    with pytest.raises(ProviderBroken):
        await provider.draw(task(), Job())


@pytest.mark.parametrize("state", ["failed", "nonsense", "slip"])
async def test_a_failure_told_by_a_poll_frees_the_job(
    standin: SketchStandIn, provider: HostedProvider, state: str
) -> None:
    job = Job()
    job.on_write = lambda text: setattr(standin, "state", state) if "ticket" in text else None
    with pytest.raises(OutcomeUnknown if state == "slip" else ProviderBroken):
        await provider.draw(task(2), job)
    assert len(standin.submits) == 2
    assert (job.receipt == "") is (state != "slip")


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("fault", [Html(), Truncated(), Html(502), ResetAtOnce(), Silence()], ids=str)
async def test_an_answer_that_tells_nothing_is_an_unknown_outcome(at_once: bool, fault: Any) -> None:
    kind = SketchAtOnce if at_once else SketchVendor
    async with SketchStandIn(at_once=at_once) as standin, provider_of(standin, kind) as provider:
        standin.trouble("submit", fault)
        job = Job()
        with pytest.raises(OutcomeUnknown):
            await provider.draw(task(), job)
        assert len(standin.submits) == 1
        assert [type(state) for state in job.states(1)] == [Sent]


async def test_a_slip_in_a_vendors_file_after_the_order_is_an_unknown_outcome(
    standin: SketchStandIn, provider: HostedProvider
) -> None:
    standin.state = "slip"
    with pytest.raises(OutcomeUnknown):
        await provider.draw(task(), Job())
    assert len(standin.submits) == 1


async def test_a_slip_before_the_order_costs_nothing(standin: SketchStandIn) -> None:
    class Clumsy(SketchVendor):
        async def submit(self, shot: Any, transport: Any) -> Any:
            raise ZeroDivisionError

    async with provider_of(standin, Clumsy) as provider:
        job = Job()
        with pytest.raises(ProviderBroken):
            await provider.draw(task(), job)
        assert job.receipt == ""


async def test_a_vendor_that_would_pay_twice_is_stopped(standin: SketchStandIn) -> None:
    class Greedy(SketchVendor):
        async def submit(self, shot: Any, transport: Any) -> Any:
            await super().submit(shot, transport)
            return await super().submit(shot, transport)

    async with provider_of(standin, Greedy) as provider:
        with pytest.raises(OutcomeUnknown):
            await provider.draw(task(), Job())
    assert len(standin.submits) == 1


async def test_a_poll_cannot_pay(standin: SketchStandIn) -> None:
    class Sly(SketchVendor):
        async def poll(self, ticket: str, transport: Any) -> Any:
            return self._outcome(await transport.submit("/order", json={}))

    async with provider_of(standin, Sly) as provider:
        with pytest.raises(OutcomeUnknown):
            await provider.draw(task(), Job())
    assert len(standin.submits) == 1
