"""How fast a vendor is given work."""

from __future__ import annotations

import asyncio
import time

import pytest

from flux_core.providers.hosted.limits import Pace


async def hold(pace: Pace, seconds: float = 0.01) -> int:
    async with pace.slot():
        seen = pace.in_flight
        await asyncio.sleep(seconds)
    return seen


async def test_no_more_than_the_limit_are_in_flight_and_all_get_their_turn() -> None:
    pace = Pace(3, 60_000)
    seen = await asyncio.gather(*(hold(pace, 0.002) for _ in range(20)))
    assert max(seen) == 3
    assert pace.in_flight == 0


async def test_places_are_given_in_order_of_arrival() -> None:
    pace = Pace(1, 60_000)
    order: list[int] = []

    async def one(number: int) -> None:
        async with pace.slot():
            order.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*(one(number) for number in range(6)))
    assert order == list(range(6))


async def test_what_the_vendor_already_has_takes_a_place_without_waiting() -> None:
    pace = Pace(1, 60_000)
    async with pace.slot(), pace.slot(waiting=False):
        assert pace.in_flight == 2
        waiting = asyncio.create_task(hold(pace))
        await asyncio.sleep(0.005)
        assert not waiting.done()
    assert await waiting == 1


@pytest.mark.parametrize("after_it_was_given", [False, True])
async def test_a_waiter_that_is_cancelled_takes_no_place_with_it(after_it_was_given: bool) -> None:
    pace = Pace(1, 60_000)
    async with pace.slot():
        first = asyncio.create_task(hold(pace))
        second = asyncio.create_task(hold(pace))
        await asyncio.sleep(0)
        if not after_it_was_given:
            first.cancel()
            await asyncio.sleep(0)
    first.cancel()  # in the second case: its place was given to it a moment ago, and it has not run since
    assert await asyncio.wait_for(second, 1.0) == 1
    with pytest.raises(asyncio.CancelledError):
        await first
    assert pace.in_flight == 0


async def test_too_many_halves_once_a_burst_and_never_ends_at_none() -> None:
    now = [0.0]
    pace = Pace(16, 60_000, clock=lambda: now[0])
    pace.in_flight = 16
    pace.too_many()
    pace.too_many()
    assert pace.width == 8
    for _ in range(6):
        now[0] += 10
        pace.too_many()
    assert pace.width == 1


async def test_halving_starts_from_what_is_in_flight_not_from_what_is_allowed() -> None:
    pace = Pace(100, 60_000)
    pace.in_flight = 10
    pace.too_many()
    assert pace.width == 5


async def test_it_grows_again_by_one_a_round_but_not_beyond_the_limit() -> None:
    pace = Pace(3, 60_000)
    pace.in_flight = 3
    pace.too_many()
    assert pace.width == 1
    pace.in_flight = 0
    widths = []
    for _ in range(8):
        pace.went_well()
        widths.append(pace.width)
    assert widths == [2, 2, 3, 3, 3, 3, 3, 3]


async def test_growth_lets_a_waiter_in() -> None:
    pace = Pace(2, 60_000)
    pace.too_many()
    async with pace.slot():
        waiting = asyncio.create_task(hold(pace))
        await asyncio.sleep(0)
        pace.went_well()
        assert await asyncio.wait_for(waiting, 20) == 2


async def test_submits_are_spread_over_the_minute() -> None:
    pace = Pace(100, 3000)  # 50 a second, 300 of them at once
    began = time.monotonic()
    for _ in range(300):
        await pace.turn()
    assert time.monotonic() - began < 3, "one after the other they would take six seconds"
    for _ in range(10):
        await pace.turn()
    assert 0.1 < time.monotonic() - began < 5


async def test_a_slow_vendor_is_sent_one_at_a_time() -> None:
    pace = Pace(1, 600)  # ten a second; 1.2 would fit into six seconds' worth of 12 a minute
    assert Pace(1, 6)._bucket.max_rate == 1.0
    cancelled = asyncio.create_task(pace.turn())
    cancelled.cancel()
    await asyncio.wait({cancelled})
    await asyncio.wait_for(pace.turn(), 1.0)


async def test_a_vendor_that_asks_for_quiet_gets_it() -> None:
    pace = Pace(4, 60_000)
    pace.too_many(0.1)
    began = time.monotonic()
    await pace.turn()
    assert time.monotonic() - began >= 0.09
