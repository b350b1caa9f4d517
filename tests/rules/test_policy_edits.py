"""The changes that moderators make: exactly what they said, and nothing where it makes no sense."""

from __future__ import annotations

import pytest

from flux_core.database.policies import checked
from flux_core.errors import AlreadySo, InvalidPolicy, NotANumber, NotThere, UnknownModel
from flux_core.policy.edits import (
    LimitsGiven,
    limits_with,
    models_named,
    time_of_day,
    with_channel,
    with_defaults,
    with_model,
    with_tier,
    without_channel,
    without_tier,
    zone_named,
    zones_like,
)
from flux_core.policy.guild import NOTHING_DECIDED, ChannelRule, Defaults, GuildPolicy, Limits, Renewal, Tier

KNOWN = ("flux-schnell", "flux-dev")
PATRON = Tier(role_id=5, name="Patron", credits=50)


def edited(before: Limits, **said: object) -> Limits:
    return before.model_copy(update=limits_with(before, LimitsGiven(**said), KNOWN))  # type: ignore[arg-type]


def test_only_what_was_said_changes() -> None:
    before = Limits(credits=5, max_waiting=3, renewal=Renewal(every="week", at="06:00"))
    after = edited(before, credits=10.0, weight=2.0, running=1, megapixels=1.5, count=2, models="flux-dev")
    assert after == Limits(
        credits=10,
        max_waiting=3,
        weight=2,
        max_running=1,
        max_megapixels=1.5,
        max_count=2,
        models=("flux-dev",),
        renewal=Renewal(every="week", at="06:00"),
    )
    assert edited(after, waiting=7, models="all") == after.model_copy(update={"max_waiting": 7, "models": None})
    assert edited(before) == before


def test_a_renewal_is_changed_part_by_part() -> None:
    weekly = edited(Limits(), renews="week", at="6:30", timezone="europe/berlin")
    assert weekly.renewal == Renewal(every="week", at="06:30", zone="Europe/Berlin")
    assert edited(weekly, renews="month").renewal == Renewal(every="month", at="06:30", zone="Europe/Berlin")
    rolling = edited(weekly, renews="rolling", hours=48)
    assert rolling.renewal == Renewal(every="rolling", hours=48)
    assert edited(rolling, hours=12).renewal == Renewal(every="rolling", hours=12)
    assert edited(rolling, renews="day").renewal == Renewal()


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"hours": 12}, "hours are for a rolling allowance alone"),
        ({"renews": "rolling", "at": "06:00"}, "at is not for a rolling allowance"),
        ({"renews": "rolling", "timezone": "UTC"}, "timezone is not for a rolling allowance"),
        ({"at": "25:00"}, "“25:00”, which is no time of the day such as 06:00"),
        ({"at": "noon"}, "no time of the day"),
        ({"timezone": "Europe/Berlinn"}, "did you mean Europe/Berlin?"),
        ({"timezone": "xyz123"}, "no time zone such as Europe/Berlin"),
    ],
)
def test_what_does_not_fit_is_refused(said: dict[str, object], sentence: str) -> None:
    with pytest.raises(InvalidPolicy) as refused:
        edited(Limits(), **said)
    assert sentence in refused.value.facts["problems"][0]


def test_times_zones_and_models_are_read_as_people_type_them() -> None:
    assert [time_of_day(text) for text in ("6:00", " 06.30 ", "23h59")] == ["06:00", "06:30", "23:59"]
    assert zone_named(" america/new york") == "America/New_York"
    assert models_named("flux-dev, FLUX-SCHNELL,flux-dev", KNOWN) == ("flux-dev", "flux-schnell")
    assert models_named(" All ", KNOWN) is None
    for wrong in ("", ",", "flux-dev all", "all, flux-dev", "sdxl"):
        with pytest.raises(UnknownModel):
            models_named(wrong, KNOWN)


def test_zones_are_found_by_their_city_first() -> None:
    assert zones_like("berlin", 25)[0] == "Europe/Berlin"
    assert len(zones_like("", 25)) == 25
    assert zones_like("new y", 3) == ["America/New_York"]
    assert zones_like("nowhere at all", 25) == []


def test_tiers_keep_their_places() -> None:
    other = Tier(role_id=6, name="Guest", max_count=1)
    policy = with_tier(with_tier(NOTHING_DECIDED, PATRON), other)
    assert policy.tiers == (PATRON, other)
    better = PATRON.model_copy(update={"credits": 99.0})
    assert with_tier(policy, better).tiers == (better, other)
    assert with_tier(policy, PATRON) == policy
    assert without_tier(policy, 5).tiers == (other,)
    with pytest.raises(NotThere):
        without_tier(policy, 7)


def test_a_channels_rule_goes_with_its_last_word() -> None:
    allowed = with_channel(NOTHING_DECIDED, 20, allowed=True)
    assert allowed.channels == (ChannelRule(channel_id=20, allowed=True),)
    assert with_channel(allowed, 20, allowed=None) == NOTHING_DECIDED
    both = with_defaults(allowed, 20, {"model": "flux-dev"}, clear=False)
    both = with_defaults(both, 20, {"count": 1}, clear=False)
    assert both.channels == (ChannelRule(channel_id=20, allowed=True, defaults=Defaults(model="flux-dev", count=1)),)
    assert with_defaults(both, 20, {"spoiler": True}, clear=True).channels[0].defaults == Defaults(spoiler=True)
    assert with_defaults(both, 20, {}, clear=True) == allowed
    assert with_channel(both, 21, allowed=False).channels[0] == both.channels[0]
    assert without_channel(both, 20, "#studio") == NOTHING_DECIDED
    with pytest.raises(NotThere):
        without_channel(both, 21, "#other")


def test_models_are_denied_but_never_all() -> None:
    policy = with_model(NOTHING_DECIDED, "flux-dev", KNOWN, allowed=False)
    assert policy.models_denied == ("flux-dev",)
    with pytest.raises(InvalidPolicy):
        with_model(policy, "flux-schnell", KNOWN, allowed=False)
    with pytest.raises(AlreadySo):
        with_model(policy, "flux-dev", KNOWN, allowed=False)
    with pytest.raises(AlreadySo):
        with_model(policy, "flux-schnell", KNOWN, allowed=True)
    with pytest.raises(UnknownModel):
        with_model(policy, "sdxl", KNOWN, allowed=False)
    assert with_model(policy, "flux-dev", KNOWN, allowed=True) == NOTHING_DECIDED
    gone = GuildPolicy(models_denied=("flux-old",))
    assert with_model(gone, "flux-old", KNOWN, allowed=True) == NOTHING_DECIDED


def test_what_is_out_of_range_is_refused_when_it_is_kept() -> None:
    for said in ({"credits": -1.0}, {"count": 11}, {"waiting": 0}, {"megapixels": 0.0}):
        with pytest.raises(InvalidPolicy):
            checked(NOTHING_DECIDED.model_copy(update={"everybody": edited(Limits(), **said)}))
    for value in (float("nan"), float("inf")):
        with pytest.raises(NotANumber):
            edited(Limits(), weight=value)
    rolling = edited(Limits(), renews="rolling", hours=0)
    with pytest.raises(InvalidPolicy):
        checked(NOTHING_DECIDED.model_copy(update={"everybody": rolling}))
