"""What a member stops, and what a worker's end stops, at every hosted provider."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from flux_core.errors import (
    OutcomeUnknown,
)
from flux_core.providers.base import Drawing
from flux_core.providers.hosted.vendor import Vendor
from tests.providers.hosted.conftest import (
    PATIENT,
    Desk,
    Watcher,
    desk_for,
    looks_like,
)
from tests.providers.hosted.contract import POLLED, ended, resumed, until
from tests.providers.hosted.standin import Case
from tests.providers.hosted.troubles import Silence


@pytest.mark.parametrize("case", POLLED)
@pytest.mark.parametrize("by_member", [True, False], ids=["member", "worker's end"])
async def test_the_vendor_is_told_when_the_member_cancels_and_only_then(desk: Desk, by_member: bool) -> None:
    desk.standin.polls_needed = 100_000
    watcher = Watcher()
    drawing = asyncio.create_task(desk.draw(desk.task(count=1), watcher))
    await until(lambda: len(watcher.receipts) >= 2 and any(task.polls for task in desk.standin.tasks.values()))
    watcher.cancelled = by_member
    await ended(drawing)
    assert len(desk.standin.submits) == 1
    told = by_member and desk.case.vendor.cancel is not Vendor.cancel
    assert desk.standin.cancelled == (list(desk.standin.tasks) if told else [])


@pytest.mark.parametrize("case", POLLED)
async def test_a_killed_worker_s_order_is_finished_by_another(desk: Desk) -> None:
    desk.standin.polls_needed = 100_000
    kept = asyncio.Event()
    watcher = Watcher(on_receipt=lambda count: kept.set() if count == 2 else None)
    task = desk.task(count=1)
    drawing = asyncio.create_task(desk.draw(task, watcher))
    await asyncio.wait_for(kept.wait(), 30)
    await ended(drawing)
    desk.standin.polls_needed = 1
    async with desk.next_worker() as other:
        found = await other.draw(resumed(task, watcher))
    assert len(found.pictures) == 1
    assert looks_like(found.pictures[0].image, 7) or not desk.case.honours_seeds
    assert len(desk.standin.submits) == 1
    assert desk.standin.cancelled == []


async def test_a_worker_killed_while_it_orders_never_orders_again(case: Case) -> None:
    async with desk_for(case, replace(PATIENT, last_word=0.05)) as desk:
        desk.standin.trouble("submit", Silence())
        watcher, task = Watcher(), desk.task(count=1)
        drawing = asyncio.create_task(desk.draw(task, watcher))
        await until(lambda: len(desk.standin.submits) == 1)
        await asyncio.sleep(0.01)
        await ended(drawing)
        async with desk.next_worker() as other:
            outcome = await other.outcome(resumed(task, watcher))
        assert isinstance(outcome, Drawing if case.vendor.names_tasks else OutcomeUnknown)
        assert len(desk.standin.submits) == 1


async def test_a_worker_killed_before_it_orders_orders_once_at_most(desk: Desk) -> None:
    watcher, task = Watcher(hold=1), desk.task(count=1)
    drawing = asyncio.create_task(desk.draw(task, watcher))
    await until(lambda: len(watcher.receipts) == 1)
    await ended(drawing)
    assert desk.standin.submits == []
    async with desk.next_worker() as other:
        outcome = await other.outcome(resumed(task, watcher))
    assert isinstance(outcome, Drawing if desk.case.vendor.names_tasks else OutcomeUnknown)
    assert len(desk.standin.submits) == int(desk.case.vendor.names_tasks)


@pytest.mark.parametrize("hold", range(1, 5))
async def test_a_worker_killed_at_any_moment_orders_each_picture_once(desk: Desk, hold: int) -> None:
    watcher, task = Watcher(hold=hold), desk.task(count=2)
    drawing = asyncio.create_task(desk.draw(task, watcher))
    await until(lambda: drawing.done() or len(watcher.receipts) == hold)
    if drawing.done():
        assert len(drawing.result().pictures) == 2, "it keeps fewer receipts than that"
        return
    await ended(drawing)
    async with desk.next_worker() as other:
        outcome = await other.outcome(resumed(task, watcher))
    if isinstance(outcome, Drawing):
        assert 1 <= len(outcome.pictures) <= 2
        assert (outcome.withheld is None) == (len(outcome.pictures) == 2)
    else:
        assert isinstance(outcome, OutcomeUnknown)
    assert len(desk.standin.submits) <= 2
    prompts = [json.dumps(submit, sort_keys=True, default=repr) for submit in desk.standin.submits]
    assert len(set(prompts)) == len(prompts), "the same picture was ordered twice"
