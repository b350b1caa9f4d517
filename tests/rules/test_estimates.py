"""Speeds learnt from finished jobs, and waiting times from speeds."""

from __future__ import annotations

import heapq
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux_core.estimates import Speed, wait


def learnt(samples: list[tuple[float, float]]) -> Speed:
    speed = Speed()
    for units, seconds in samples:
        speed = speed.observed(units, seconds)
    return speed


@given(st.floats(0.1, 5.0), st.floats(0.01, 3.0))
def test_fixed_time_and_slope_are_told_apart(fixed: float, slope: float) -> None:
    speed = learnt([(units, fixed + slope * units) for units in (4, 28, 1, 16, 8, 56)])
    assert speed.line == pytest.approx((fixed, slope), rel=1e-3)
    assert speed.seconds_for(100, jobs=3) == pytest.approx(3 * fixed + 100 * slope, rel=1e-3)


def test_jobs_of_one_size_are_all_drawing() -> None:
    speed = learnt([(4.0, 2.0)] * 50)
    assert speed.line == pytest.approx((0.0, 0.5))
    assert speed.samples == 50


@pytest.mark.parametrize("samples", [[(4, 10), (8, 5)], [(4, 1), (8, 10)]])
def test_a_line_that_makes_no_sense_is_not_believed(samples: list[tuple[float, float]]) -> None:
    speed = learnt(samples)
    assert speed.line == (0.0, speed.seconds / speed.units)


def test_a_new_card_is_noticed_and_noise_is_averaged() -> None:
    chance = random.Random(7)
    slow = learnt([(4.0, 20.0 * chance.uniform(0.8, 1.2)) for _ in range(40)])
    assert slow.seconds_for(4.0) == pytest.approx(20.0, rel=0.1)
    fast = slow
    for _ in range(60):
        fast = fast.observed(4.0, 2.0)
    assert fast.seconds_for(4.0) == pytest.approx(2.0, rel=0.5)


def test_waiting_without_anything_ahead_is_until_somebody_is_free() -> None:
    assert wait(0.0, [5.0, 3.0]) == 3.0
    assert wait(0.0, [5.0, 0.0]) == 0.0
    assert wait(10.0, []) == 0.0


def test_work_is_poured_over_those_who_are_free() -> None:
    assert wait(4.0, [1.0]) == 5.0
    assert wait(4.0, [0.0, 10.0]) == 4.0
    assert wait(14.0, [0.0, 10.0]) == 12.0
    assert wait(10.0, [0.0, 0.0]) == 5.0


@given(st.lists(st.floats(0, 50), min_size=1, max_size=4), st.lists(st.floats(0.1, 20), max_size=30))
def test_waiting_is_within_one_job_of_what_really_happens(busy: list[float], ahead: list[float]) -> None:
    free = list(busy)
    heapq.heapify(free)
    for seconds in ahead:
        heapq.heapreplace(free, free[0] + seconds)
    assert abs(wait(sum(ahead), busy) - free[0]) <= max(ahead, default=0.0) + 1e-6
