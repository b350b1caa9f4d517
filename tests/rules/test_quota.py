"""When allowances renew, which purse pays, and how many may wait."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flux_core.errors import QuotaSpent, TooManyWaiting
from flux_core.policy.guild import Renewal
from flux_core.quota import (
    BEHIND_GRANTED,
    GRANTED,
    Period,
    Purse,
    allow_waiting,
    day_at,
    expiry_of,
    granted_purse,
    payment,
    period_at,
    shares_back,
)

ZONES = [
    "UTC",
    "Europe/Berlin",  # goes forward at two, over hours in which a period may be meant to begin
    "Asia/Beirut",  # goes forward at midnight, and back over midnight
    "America/Havana",  # goes back from one to midnight, so that midnight comes twice
    "Australia/Lord_Howe",  # by half an hour
    "Pacific/Apia",  # left out the whole of 2011-12-30
    "America/St_Johns",  # used to go back at one minute past midnight, into the day before
    "Asia/Tokyo",
]
LONGEST = {"day": timedelta(hours=48), "week": timedelta(days=8), "month": timedelta(days=32)}

TODAY = Purse("day:2026-11-21", 1000, 1000.0)
GIFT = Purse(GRANTED, 1000, None)


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("now", "zone", "purse", "since", "renews"),
    [
        ("2026-11-21T12:00Z", "UTC", "day:2026-11-21", "2026-11-21T00:00Z", "2026-11-22T00:00Z"),
        ("2026-11-21T23:30Z", "Europe/Berlin", "day:2026-11-22", "2026-11-21T23:00Z", "2026-11-22T23:00Z"),
        ("2026-11-21T00:00Z", "UTC", "day:2026-11-21", "2026-11-21T00:00Z", "2026-11-22T00:00Z"),
        # The clocks go back: this day has 25 hours, and the one in spring 23.
        (
            "2026-10-25T00:00+02:00", "Europe/Berlin",
            "day:2026-10-25", "2026-10-25T00:00+02:00", "2026-10-26T00:00+01:00",
        ),
        (
            "2026-03-29T00:00+01:00", "Europe/Berlin",
            "day:2026-03-29", "2026-03-29T00:00+01:00", "2026-03-30T00:00+02:00",
        ),
        # In Beirut the clocks go forward at midnight: that day begins at one. And back over midnight: it comes once.
        (
            "2026-03-28T12:00+02:00", "Asia/Beirut",
            "day:2026-03-28", "2026-03-28T00:00+02:00", "2026-03-29T01:00+03:00",
        ),
        (
            "2026-10-24T23:30+02:00", "Asia/Beirut",
            "day:2026-10-24", "2026-10-24T00:00+03:00", "2026-10-25T00:00+02:00",
        ),
        # In Havana midnight comes twice: the first one counts, and the second belongs to the same day.
        (
            "2026-11-01T00:30-05:00", "America/Havana",
            "day:2026-11-01", "2026-11-01T00:00-04:00", "2026-11-02T00:00-05:00",
        ),
        # Samoa had no 30 December 2011.
        (
            "2011-12-29T12:00-10:00", "Pacific/Apia",
            "day:2011-12-29", "2011-12-29T00:00-10:00", "2011-12-31T00:00+14:00",
        ),
        (
            "2011-12-31T00:00+14:00", "Pacific/Apia",
            "day:2011-12-31", "2011-12-31T00:00+14:00", "2012-01-01T00:00+14:00",
        ),
    ],
)  # fmt: skip
def test_a_day_begins_at_local_midnight(now: str, zone: str, purse: str, since: str, renews: str) -> None:
    assert period_at(at(now), Renewal(), ZoneInfo(zone)) == Period(purse, at(renews), at(since))


@pytest.mark.parametrize(
    ("renewal", "now", "purse", "since", "renews"),
    [
        (
            Renewal(at="06:00"), "2026-11-21T05:59:59.999+01:00",
            "day:2026-11-20", "2026-11-20T06:00+01:00", "2026-11-21T06:00+01:00",
        ),
        (
            Renewal(at="06:00"), "2026-11-21T06:00+01:00",
            "day:2026-11-21", "2026-11-21T06:00+01:00", "2026-11-22T06:00+01:00",
        ),
        # Half past two is left out in spring: the day begins when the clocks have jumped, at three.
        (
            Renewal(at="02:30"), "2026-03-29T03:00+02:00",
            "day:2026-03-29", "2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00",
        ),
        (
            Renewal(at="02:30"), "2026-03-29T01:59:59+01:00",
            "day:2026-03-28", "2026-03-28T02:30+01:00", "2026-03-29T03:00+02:00",
        ),
        # In autumn it comes twice: the first time counts, and what comes between the two belongs to the new day.
        (
            Renewal(at="02:30"), "2026-10-25T02:15+01:00",
            "day:2026-10-25", "2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00",
        ),
        # A week begins on a Monday, a month on the first.
        (
            Renewal(every="week"), "2026-11-21T12:00+01:00",
            "week:2026-11-16", "2026-11-16T00:00+01:00", "2026-11-23T00:00+01:00",
        ),
        (
            Renewal(every="week", at="08:00"), "2026-11-23T07:59+01:00",
            "week:2026-11-16", "2026-11-16T08:00+01:00", "2026-11-23T08:00+01:00",
        ),
        (
            Renewal(every="week"), "2026-12-31T12:00+01:00",
            "week:2026-12-28", "2026-12-28T00:00+01:00", "2027-01-04T00:00+01:00",
        ),
        (
            Renewal(every="month", at="18:45"), "2026-12-01T18:44+01:00",
            "month:2026-11", "2026-11-01T18:45+01:00", "2026-12-01T18:45+01:00",
        ),
        (
            Renewal(every="month"), "2026-12-31T23:59+01:00",
            "month:2026-12", "2026-12-01T00:00+01:00", "2027-01-01T00:00+01:00",
        ),
        (
            Renewal(every="month"), "2028-02-29T12:00+01:00",
            "month:2028-02", "2028-02-01T00:00+01:00", "2028-03-01T00:00+01:00",
        ),
    ],
)  # fmt: skip
def test_a_period_begins_at_the_stated_time(renewal: Renewal, now: str, purse: str, since: str, renews: str) -> None:
    assert period_at(at(now), renewal, ZoneInfo("Europe/Berlin")) == Period(purse, at(renews), at(since))


def test_the_communitys_zone_goes_before_the_operators() -> None:
    noon = at("2026-11-21T12:00Z")
    ours = period_at(noon, Renewal(zone="Pacific/Kiritimati"), ZoneInfo("Europe/Berlin"))
    assert ours == period_at(noon, Renewal(), ZoneInfo("Pacific/Kiritimati"))
    assert ours.purse == "day:2026-11-22"


def test_a_rolling_allowance_has_a_window_and_no_renewal() -> None:
    assert period_at(1e9, Renewal(every="rolling"), ZoneInfo("UTC")) == Period("rolling", None, 1e9 - 86_400)
    assert period_at(1e9, Renewal(every="rolling", hours=6), ZoneInfo("UTC")).since == 1e9 - 6 * 3600


RENEWALS = st.builds(
    Renewal,
    every=st.sampled_from(["day", "week", "month"]),
    at=st.builds(lambda hour, minute: f"{hour:02d}:{minute:02d}", st.integers(0, 23), st.integers(0, 59)),
    zone=st.sampled_from(ZONES),
)


@given(moment=st.datetimes(datetime(2005, 1, 1), datetime(2037, 1, 1)), renewal=RENEWALS)
@example(datetime(2011, 12, 30, 10), Renewal(at="06:00", zone="Pacific/Apia"))
@example(datetime(2011, 12, 30, 10), Renewal(every="month", zone="Pacific/Apia"))
@example(datetime(2026, 11, 1, 5, 15), Renewal(at="00:30", zone="America/Havana"))
@example(datetime(2005, 10, 30, 3), Renewal(zone="America/St_Johns"))
def test_periods_follow_one_another_without_gap_or_overlap(moment: datetime, renewal: Renewal) -> None:
    now = moment.replace(tzinfo=UTC).timestamp()
    period = period_at(now, renewal, ZoneInfo("UTC"))
    assert period.renews_at is not None
    assert period.since <= now < period.renews_at <= period.since + LONGEST[renewal.every].total_seconds()
    assert period_at(period.since, renewal, ZoneInfo("UTC")) == period
    assert period_at(period.renews_at - 0.001, renewal, ZoneInfo("UTC")) == period
    following = period_at(period.renews_at, renewal, ZoneInfo("UTC"))
    assert following.since == period.renews_at
    assert following.purse > period.purse


@given(moment=st.datetimes(datetime(2005, 1, 1), datetime(2037, 1, 1)), renewal=RENEWALS)
def test_a_period_begins_when_the_clocks_show_its_time(moment: datetime, renewal: Renewal) -> None:
    since = period_at(moment.replace(tzinfo=UTC).timestamp(), renewal, ZoneInfo("UTC")).since
    zone = ZoneInfo(renewal.zone or "UTC")
    shown, just_before = (datetime.fromtimestamp(at, zone) for at in (since, since - 1))
    if shown.strftime("%H:%M:%S") != f"{renewal.at}:00":
        # Only where they jump over it.
        assert shown.utcoffset() != just_before.utcoffset()


def test_a_day_is_named_by_its_date() -> None:
    assert day_at(at("2026-11-21T23:30Z"), ZoneInfo("Europe/Berlin")) == "2026-11-22"


def test_granted_purses_sort_by_the_end_in_their_names() -> None:
    assert granted_purse(None) == GRANTED
    assert expiry_of(GRANTED) is None
    assert granted_purse(1795262400) == "granted:0001795262400"
    assert expiry_of("granted:0001795262400") == 1795262400
    # Never sooner than was said.
    assert expiry_of(granted_purse(1795262400.25)) == 1795262401
    ends = [5.0, 999_999_999.0, 1_000_000_000.0, 253_402_300_799.0]
    assert sorted(map(granted_purse, reversed(ends))) == list(map(granted_purse, ends))
    for other in ("day:2026-11-21", "rolling", "granted:soon"):
        with pytest.raises(ValueError, match=r".+"):
            expiry_of(other)


def test_what_is_worth_nothing_soonest_pays_first() -> None:
    assert payment(500, [TODAY, GIFT], 1000.0) == {TODAY.name: 500}
    assert payment(1500, [TODAY, GIFT], 1000.0) == {TODAY.name: 1000, GRANTED: 500}
    assert payment(1500, [Purse(TODAY.name, 0, 1000.0), Purse(GRANTED, 2000, None)], 1000.0) == {GRANTED: 1500}
    sooner, later = Purse(granted_purse(999), 300, 999.0), Purse(granted_purse(1001), 300, 1001.0)
    assert list(payment(2500, [TODAY, GIFT, later, sooner], 1000.0).items()) == [
        (sooner.name, 300),
        (TODAY.name, 1000),
        (later.name, 300),
        (GRANTED, 900),
    ]
    # What rolls goes before credits that never expire.
    assert payment(100, [Purse("rolling", 100, None), GIFT], None) == {"rolling": 100}


def test_a_purse_below_zero_pays_nothing() -> None:
    assert payment(100, [Purse(TODAY.name, -300, 1000.0), GIFT], 1000.0) == {GRANTED: 100}


def test_what_costs_nothing_is_taken_from_the_allowance() -> None:
    empty = [Purse(TODAY.name, 0, 1000.0), Purse(granted_purse(5), 0, 5.0), Purse(GRANTED, 0, None)]
    assert payment(0, empty, 1000.0) == {TODAY.name: 0}


def test_nobody_overspends() -> None:
    with pytest.raises(QuotaSpent) as caught:
        payment(2001, [TODAY, GIFT], 1000.0)
    assert caught.value.facts == {"cost": 2001, "left": 2000, "renews_at": 1000.0}
    with pytest.raises(QuotaSpent) as caught:
        payment(1, [Purse("rolling", -50, None)], None)
    assert caught.value.facts == {"cost": 1, "left": 0, "renews_at": None}


@given(
    cost=st.integers(0, 10**6),
    lefts=st.lists(st.tuples(st.integers(-(10**6), 10**6), st.none() | st.floats(1, 1e9)), min_size=1, max_size=5),
)
def test_a_payment_is_the_cost_and_no_purse_goes_below_zero(cost: int, lefts: list[tuple[int, float | None]]) -> None:
    purses = [Purse(f"purse:{number}", left, ends_at) for number, (left, ends_at) in enumerate(lefts)]
    if cost > sum(max(left, 0) for left, _ in lefts):
        with pytest.raises(QuotaSpent):
            payment(cost, purses, None)
        return
    shares = payment(cost, purses, None)
    assert sum(shares.values()) == cost
    assert all(0 <= shares.get(purse.name, 0) <= max(purse.left, 0) for purse in purses)
    # Nothing is left in what ends before something that paid.
    paying = [purse for purse in purses if shares.get(purse.name)]
    for purse in purses:
        if any(purse.ends_at is not None and (it.ends_at is None or purse.ends_at < it.ends_at) for it in paying):
            assert shares.get(purse.name, 0) == max(purse.left, 0)


@given(shares=st.lists(st.integers(0, 10**6), min_size=1, max_size=4), count=st.integers(1, 10), data=st.data())
def test_what_goes_back_is_exact_in_sum_and_within_each_share(
    shares: list[int], count: int, data: st.DataObject
) -> None:
    missing = data.draw(st.integers(0, count))
    back = shares_back(shares, missing, count)
    assert sum(back) == sum(shares) * missing // count
    assert all(0 <= part <= share for part, share in zip(back, shares, strict=True))


def test_waiting_has_a_limit() -> None:
    allow_waiting(9, 10)
    with pytest.raises(TooManyWaiting) as caught:
        allow_waiting(10, 10)
    assert caught.value.facts == {"waiting": 10, "limit": 10}


@settings(max_examples=60)
@given(
    moments=st.lists(st.integers(1_790_000_000, 1_798_000_000), min_size=2, max_size=12),
    kept=st.sampled_from(
        [Renewal(every=every, at="02:30", zone="Europe/Berlin") for every in ("day", "week", "month")]
    ),
)
def test_what_was_asked_before_makes_no_difference_to_a_period(moments: list[int], kept: Renewal) -> None:
    """The period found last is kept at hand, and other moments, later and earlier, are not taken for it."""
    zone = ZoneInfo("UTC")
    for moment in moments:
        period = period_at(moment, kept, zone)
        assert period.renews_at is not None
        assert period.since <= moment < period.renews_at
        # A zone object of its own: nothing is kept for that yet.
        assert period == period_at(moment, kept, ZoneInfo.no_cache("UTC"))


@given(ends_at=st.one_of(st.none(), st.floats(1, 9e11)))
def test_purses_of_granted_credits_are_found_as_a_range_in_any_collation(ends_at: float | None) -> None:
    """PostgreSQL's usual ones leave signs aside until all letters and digits are equal."""
    name = granted_purse(ends_at)
    assert GRANTED <= name < BEHIND_GRANTED
    assert GRANTED <= name.replace(":", "") < BEHIND_GRANTED
    for other in ("day:2026-11-21", "month:2026-11", "relaxed", "rolling", "settled", "week:2026-11-16"):
        assert not GRANTED <= other < BEHIND_GRANTED
        assert not GRANTED <= other.replace(":", "").replace("-", "") < BEHIND_GRANTED
