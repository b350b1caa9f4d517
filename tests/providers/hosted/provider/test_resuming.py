"""What is on disk before anything leaves, and how another worker goes on from it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flux_core.errors import (
    LeaseLost,
    OutcomeUnknown,
    ProviderBroken,
    ProviderClosed,
    ProviderDown,
    Refused,
    StorageUnavailable,
)
from flux_core.providers.hosted.provider import HostedProvider
from flux_core.providers.hosted.receipt import Ended, Sent, Ticket, parse, text_of
from tests.metrics.counting import until
from tests.providers.hosted.provider.conftest import Job, provider_of, seeds, task
from tests.providers.hosted.sketch import (
    HASTY,
    SketchNamed,
    SketchStandIn,
    SketchVendor,
)
from tests.providers.hosted.troubles import Html, ResetAfterBody, ResetAtOnce, Status


async def test_nothing_leaves_before_it_is_on_disk(standin: SketchStandIn, provider: HostedProvider) -> None:
    job = Job()
    arrived: list[int] = []
    job.on_write = lambda text: arrived.append(len(standin.submits))
    await provider.draw(task(4), job)
    assert arrived[0] == 0
    assert [type(state) for state in parse(job.receipts[0], 4)] == [Sent] * 4
    assert [type(state) for state in job.states(4)] == [Ticket] * 4
    assert len(job.receipts) <= 5


@pytest.mark.parametrize("error", [StorageUnavailable("away"), LeaseLost()], ids=["away", "lost"])
async def test_what_cannot_be_written_down_is_not_ordered(
    standin: SketchStandIn, provider: HostedProvider, error: Exception
) -> None:
    with pytest.raises(type(error)):
        await provider.draw(task(3), Job(failures=[error, error, error]))
    assert standin.submits == []


async def test_a_ticket_that_cannot_be_written_down_is_used_all_the_same(
    standin: SketchStandIn, provider: HostedProvider
) -> None:
    job = Job(failures=[None, StorageUnavailable("away")])
    assert len((await provider.draw(task(), job)).pictures) == 1
    assert [type(state) for state in job.states(1)] == [Sent]


async def test_a_job_that_surely_was_not_taken_on_is_free(standin: SketchStandIn, provider: HostedProvider) -> None:
    standin.trouble("submit", Status(402), times=2)
    job = Job()
    with pytest.raises(ProviderClosed):
        await provider.draw(task(2), job)
    assert job.receipts[0]
    assert job.receipt == ""


async def test_a_killed_job_is_resumed_and_paid_once(standin: SketchStandIn) -> None:
    standin.polls_needed = 10**6
    job = Job()
    async with provider_of(standin) as first:
        drawing = asyncio.create_task(first.draw(task(2), job))
        await until(lambda: job.receipt is not None and job.receipt.count("ticket") == 2)
        drawing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await drawing
    assert standin.cancelled == []
    standin.polls_needed = 0
    async with provider_of(standin) as second:
        assert seeds(await second.draw(task(2, receipt=job.receipt), Job())) == [7, 8]
    assert len(standin.submits) == 2


async def test_an_order_in_flight_gets_a_moment_when_the_worker_stops(standin: SketchStandIn) -> None:
    standin.seconds = 0.1
    job = Job()
    async with provider_of(standin) as provider:
        drawing = asyncio.create_task(provider.draw(task(2), job))
        await until(lambda: len(standin.submits) == 2)
        drawing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await drawing
    assert [type(state) for state in job.states(2)] == [Ticket, Ticket]
    assert standin.cancelled == []


async def test_a_stop_before_the_order_leaves_the_job_free(standin: SketchStandIn) -> None:
    begun = asyncio.Event()

    class Slow(SketchVendor):
        async def submit(self, shot: Any, transport: Any) -> Any:
            begun.set()
            await asyncio.sleep(30)

    job = Job()
    async with provider_of(standin, Slow) as provider:
        drawing = asyncio.create_task(provider.draw(task(), job))
        await begun.wait()
        drawing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await drawing
    assert job.receipt == ""


async def test_every_state_is_resumed_as_it_has_to_be(standin: SketchStandIn, provider: HostedProvider) -> None:
    await provider.draw(task(), Job())
    [known] = standin.tasks
    receipt = text_of([Ticket(known), None, Sent("lost-id"), Ended("nudity")])
    drawing = await provider.draw(task(4, receipt=receipt), Job())
    assert seeds(drawing) == [7, 8]
    assert len(standin.submits) == 2
    assert drawing.withheld is not None
    assert "nudity" in drawing.withheld


async def test_an_order_that_nobody_knows_of_is_not_sent_again(
    standin: SketchStandIn, provider: HostedProvider
) -> None:
    for _ in range(4):  # more than it takes to leave a vendor alone: but it was the worker that died, not the vendor
        with pytest.raises(OutcomeUnknown):
            await provider.draw(task(receipt=text_of([Sent("x")])), Job())
    with pytest.raises(OutcomeUnknown):
        await provider.draw(task(receipt="some older note"), Job())
    with pytest.raises(OutcomeUnknown):
        await provider.draw(task(2, receipt=text_of([None])), Job())
    with pytest.raises(OutcomeUnknown):
        await provider.draw(task(receipt=text_of([Ticket("a")]), model="flux-pro-1.1"), Job())
    assert standin.requests == []
    assert provider.closed is None


async def test_an_ended_job_stays_ended(standin: SketchStandIn, provider: HostedProvider) -> None:
    with pytest.raises(Refused):
        await provider.draw(task(receipt=text_of([Ended("nudity")])), Job())
    assert standin.requests == []


async def test_a_named_task_is_looked_up() -> None:
    async with SketchStandIn(named=True) as standin, provider_of(standin, SketchNamed) as provider:
        standin.trouble("submit", ResetAfterBody())
        assert seeds(await provider.draw(task(), Job())) == [7]
        assert len(standin.submits) == 1
        [known] = standin.tasks
        assert seeds(await provider.draw(task(receipt=text_of([Sent(known)])), Job())) == [7]
        assert len(standin.submits) == 1


async def test_a_named_task_that_never_arrived_is_sent_when_resumed() -> None:
    async with SketchStandIn(named=True) as standin, provider_of(standin, SketchNamed) as provider:
        job = Job()
        assert seeds(await provider.draw(task(receipt=text_of([Sent("never")])), job)) == [7]
        assert len(standin.submits) == 1
        assert standin.submits[0]["id"] != "never"
        standin.trouble("submit", ResetAtOnce())
        fresh = Job()
        with pytest.raises(ProviderDown):
            await provider.draw(task(), fresh)
        assert fresh.receipt == ""


async def test_a_slip_is_not_taken_for_never_heard_of(standin: SketchStandIn) -> None:
    class Clumsy(SketchNamed):
        async def poll(self, ticket: str, transport: Any) -> Any:
            raise KeyError("status")

    async with provider_of(standin, Clumsy) as provider:
        with pytest.raises(OutcomeUnknown):
            await provider.draw(task(receipt=text_of([Sent("x")])), Job())
    assert standin.submits == []


async def test_a_vendor_that_forgot_what_it_took_on_is_broken(standin: SketchStandIn, provider: HostedProvider) -> None:
    job = Job()
    with pytest.raises(ProviderBroken):
        await provider.draw(task(receipt=text_of([Ticket("gone")])), job)
    assert job.receipt == ""
    assert len(standin.of_kind("poll")) == HASTY.unheard


async def test_polls_are_repeated_through_trouble_until_it_lasts(
    standin: SketchStandIn, provider: HostedProvider
) -> None:
    standin.trouble("poll", Html(), times=3)
    standin.trouble("poll", Status(500), times=4)
    standin.trouble("poll", ResetAfterBody(), times=3)
    assert len((await provider.draw(task(), Job())).pictures) == 1
    standin.trouble("poll", Html(), times=10**5)
    job = Job()
    with pytest.raises(OutcomeUnknown):
        await provider.draw(task(), job)
    assert [type(state) for state in job.states(1)] == [Ticket]
