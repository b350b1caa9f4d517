"""What is counted of a vendor's doings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from flux_core.errors import OutcomeUnknown, ProviderClosed, ProviderFault, Refused
from flux_core.metrics.definitions import PROVIDER_OPEN
from flux_core.providers.base import Measured
from flux_core.providers.hosted.provider import HostedProvider
from flux_core.providers.hosted.receipt import Sent, text_of
from tests.metrics.counting import growth, until
from tests.providers.hosted.provider.conftest import Job, provider_of, task
from tests.providers.hosted.sketch import SketchNamed, SketchStandIn
from tests.providers.hosted.troubles import ResetAfterBody, Status


@pytest.fixture
def orders() -> Callable[[str], float]:
    """Return what tells how many orders ended so since the test began."""
    grown = growth()
    return lambda outcome: grown("flux_provider_orders_total", provider="sketch", outcome=outcome)


@pytest.fixture
def polls() -> Callable[[str], float]:
    grown = growth()
    return lambda outcome: grown("flux_provider_polls_total", provider="sketch", outcome=outcome)


Count = Callable[[str], float]


async def test_orders_and_polls_that_went_well(
    standin: SketchStandIn, provider: HostedProvider, orders: Count, polls: Count
) -> None:
    await provider.draw(task(3), Job())
    assert (orders("taken"), orders("failed"), orders("unknown")) == (3, 0, 0)
    assert polls("answered") == len(standin.of_kind("poll")) >= 3
    assert polls("failed") == 0


async def test_a_refusal(standin: SketchStandIn, provider: HostedProvider, orders: Count) -> None:
    standin.trouble("submit", Status(400, {"error": "moderated", "why": "words"}))
    with pytest.raises(Refused):
        await provider.draw(task(), Job())
    assert (orders("refused"), orders("taken"), orders("failed")) == (1, 0, 0)


async def test_a_fault(standin: SketchStandIn, provider: HostedProvider, orders: Count) -> None:
    standin.trouble("submit", Status(402))
    with pytest.raises(ProviderFault):
        await provider.draw(task(), Job())
    assert (orders("failed"), orders("taken")) == (1, 0)


async def test_an_order_of_which_nobody_knows(standin: SketchStandIn, provider: HostedProvider, orders: Count) -> None:
    standin.trouble("submit", ResetAfterBody())
    with pytest.raises(OutcomeUnknown):
        await provider.draw(task(), Job())
    assert (orders("unknown"), orders("taken"), orders("failed")) == (1, 0, 0)


async def test_an_order_that_is_given_up_once_it_was_taken(
    standin: SketchStandIn, provider: HostedProvider, orders: Count
) -> None:
    standin.polls_needed = 1_000
    job = Job()
    drawing = asyncio.create_task(provider.draw(task(), job))
    await until(lambda: orders("taken"))
    drawing.cancel()
    await asyncio.gather(drawing, return_exceptions=True)
    assert (orders("taken"), orders("unknown")) == (1, 0)


async def test_polls_without_an_answer(standin: SketchStandIn, provider: HostedProvider, polls: Count) -> None:
    for _ in range(3):  # as often as one poll is tried
        standin.trouble("poll", Status(500))
    await provider.draw(task(), Job())
    assert (polls("failed"), polls("missing")) == (1, 0)
    assert polls("answered") >= 1


async def test_an_order_that_can_be_looked_up_is_unknown_for_a_moment(orders: Count) -> None:
    async with SketchStandIn(named=True) as standin, provider_of(standin, SketchNamed) as provider:
        standin.trouble("submit", ResetAfterBody())
        await provider.draw(task(), Job())
    assert (orders("unknown"), orders("taken")) == (1, 0)


async def test_an_order_that_the_vendor_never_heard_of(orders: Count, polls: Count) -> None:
    async with SketchStandIn(named=True) as standin, provider_of(standin, SketchNamed) as provider:
        await provider.draw(task(receipt=text_of([Sent("never")])), Job())
    assert polls("missing") >= 1
    assert orders("taken") == 1


async def test_whether_it_gets_orders(standin: SketchStandIn, provider: HostedProvider) -> None:
    def told() -> tuple[str, dict[str, str], float]:
        assert isinstance(provider, Measured)
        ((sample,),) = [family.samples for family in provider.gauges.collect()]
        return sample.name, dict(sample.labels), sample.value

    assert told() == (PROVIDER_OPEN.name, {"provider": "sketch"}, 1.0)
    standin.trouble("submit", Status(402))
    with pytest.raises(ProviderClosed):
        await provider.draw(task(), Job())
    assert told()[2] == 0.0
