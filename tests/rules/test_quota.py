"""The day's allowance, granted credits and how many may wait."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux_core.errors import QuotaSpent, TooManyWaiting
from flux_core.quota import GRANTED, Balance, Period, allow_waiting, payment, period_at

TODAY = Period("day:2026-11-21", 1000.0)


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("now", "zone", "purse", "renews"),
    [
        ("2026-11-21T12:00:00+00:00", "UTC", "day:2026-11-21", "2026-11-22T00:00:00+00:00"),
        ("2026-11-21T23:30:00+00:00", "Europe/Berlin", "day:2026-11-22", "2026-11-22T23:00:00+00:00"),
        ("2026-11-21T00:00:00+00:00", "UTC", "day:2026-11-21", "2026-11-22T00:00:00+00:00"),
        # The clocks go back: this day has 25 hours, and the one in spring 23.
        ("2026-10-25T00:00:00+02:00", "Europe/Berlin", "day:2026-10-25", "2026-10-26T00:00:00+01:00"),
        ("2026-03-29T00:00:00+01:00", "Europe/Berlin", "day:2026-03-29", "2026-03-30T00:00:00+02:00"),
        # In Beirut the clocks go forward at midnight: that day begins at one.
        ("2026-03-28T12:00:00+02:00", "Asia/Beirut", "day:2026-03-28", "2026-03-29T01:00:00+03:00"),
    ],
)
def test_a_day_begins_at_local_midnight(now: str, zone: str, purse: str, renews: str) -> None:
    assert period_at(at(now), ZoneInfo(zone)) == Period(purse, at(renews))


@given(
    moment=st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)),
    zone=st.sampled_from(
        ["UTC", "Europe/Berlin", "Asia/Beirut", "America/Havana", "Australia/Lord_Howe", "Asia/Tokyo"]
    ),
)
def test_days_follow_one_another_without_gap(moment: datetime, zone: str) -> None:
    now = moment.replace(tzinfo=UTC).timestamp()
    day = period_at(now, ZoneInfo(zone))
    assert now < day.renews_at <= now + timedelta(hours=25).total_seconds()
    assert period_at(day.renews_at - 0.001, ZoneInfo(zone)) == day
    following = period_at(day.renews_at, ZoneInfo(zone))
    assert following.purse > day.purse


def test_the_day_pays_first() -> None:
    assert payment(500, Balance(1000, 1000), TODAY) == {TODAY.purse: 500}
    assert payment(1500, Balance(1000, 1000), TODAY) == {TODAY.purse: 1000, GRANTED: 500}
    assert payment(1500, Balance(0, 2000), TODAY) == {GRANTED: 1500}
    assert payment(100, Balance(-300, 2000), TODAY) == {GRANTED: 100}
    assert payment(0, Balance(0, 0), TODAY) == {TODAY.purse: 0}


def test_nobody_overspends() -> None:
    with pytest.raises(QuotaSpent) as caught:
        payment(2001, Balance(1000, 1000), TODAY)
    assert caught.value.facts == {"cost": 2001, "left": 2000, "renews_at": 1000.0}
    with pytest.raises(QuotaSpent) as caught:
        payment(1, Balance(-50, 0), TODAY)
    assert caught.value.facts["left"] == 0


@given(st.integers(0, 10**6), st.integers(-(10**6), 10**6), st.integers(0, 10**6))
def test_a_payment_is_the_cost_and_no_purse_goes_below_zero(cost: int, day: int, granted: int) -> None:
    balance = Balance(day, granted)
    if cost > balance.left:
        with pytest.raises(QuotaSpent):
            payment(cost, balance, TODAY)
        return
    shares = payment(cost, balance, TODAY)
    assert sum(shares.values()) == cost
    assert shares.get(TODAY.purse, 0) <= max(day, 0)
    assert shares.get(GRANTED, 0) <= granted


def test_waiting_has_a_limit() -> None:
    allow_waiting(9, 10)
    with pytest.raises(TooManyWaiting) as caught:
        allow_waiting(10, 10)
    assert caught.value.facts == {"waiting": 10, "limit": 10}
