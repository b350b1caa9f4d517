"""A job that is stopped: what the vendor is told, and what is waited for."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from flux_core.errors import (
    Cancelled,
    LeaseLost,
)
from flux_core.providers.hosted.provider import HostedProvider
from tests.metrics.counting import until
from tests.providers.hosted.provider.conftest import BLUE, Job, provider_of, task
from tests.providers.hosted.sketch import (
    HASTY,
    SketchStandIn,
)
from tests.providers.hosted.troubles import ResetAfterBody, Silence


@pytest.mark.parametrize("wanted", [True, False])
async def test_only_what_the_member_does_not_want_is_cancelled_at_the_vendor(
    standin: SketchStandIn, provider: HostedProvider, wanted: bool
) -> None:
    standin.polls_needed = 10**6
    job = Job()
    drawing = asyncio.create_task(provider.draw(task(3), job))
    await until(lambda: (job.receipt or "").count("ticket") == 3)
    job.cancelled = not wanted
    drawing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await drawing
    assert sorted(standin.cancelled) == ([] if wanted else sorted(standin.tasks))


async def test_an_order_in_flight_is_cancelled_once_it_has_a_name(
    standin: SketchStandIn, provider: HostedProvider
) -> None:
    standin.seconds, standin.polls_needed = 0.1, 10**6
    job = Job()
    drawing = asyncio.create_task(provider.draw(task(), job))
    await until(lambda: standin.submits)
    job.cancelled = True
    drawing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await drawing
    assert standin.cancelled == list(standin.tasks)


@pytest.mark.parametrize("error", [Cancelled(), LeaseLost()], ids=["cancelled", "lost"])
async def test_it_stops_where_progress_says_so(
    standin: SketchStandIn, provider: HostedProvider, error: Cancelled | LeaseLost
) -> None:
    class Stopped(Job):
        def step(self, done: int, total: int) -> None:
            self.cancelled = done == 2 and isinstance(error, Cancelled)
            super().step(done, total)

    standin.polls_needed = 3
    job = Stopped(stop=2, error=error)
    with pytest.raises(type(error)) as caught:
        await provider.draw(task(), job)
    assert caught.value is error
    assert job.steps[-1] == (2, 4)
    assert len(standin.cancelled) == isinstance(error, Cancelled)


async def test_a_vendor_that_does_not_answer_to_cancel_holds_nobody_up(standin: SketchStandIn) -> None:
    standin.polls_needed = 10**6
    job = Job()
    async with provider_of(standin, patience=replace(HASTY, silence=60, whole=60, last_word=0.2)) as provider:
        drawing = asyncio.create_task(provider.draw(task(), job))
        await until(lambda: "ticket" in (job.receipt or ""))
        standin.trouble("free", Silence(), times=9)
        job.cancelled = True
        drawing.cancel()
        async with asyncio.timeout(20):
            with pytest.raises(asyncio.CancelledError):
                await drawing
    assert standin.of_kind("free")


async def test_nothing_is_left_running(standin: SketchStandIn) -> None:
    before = asyncio.all_tasks()
    async with provider_of(standin) as provider:
        standin.trouble("submit", ResetAfterBody())
        await provider.draw(task(3, image=BLUE), Job())
        assert provider.pace.in_flight == 0
    await asyncio.sleep(0.05)
    assert {each.get_name() for each in asyncio.all_tasks() - before if "Task-" not in each.get_name()} == set()
