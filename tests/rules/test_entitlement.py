"""What a member may do: who decides it, and that tiers only give."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux_core.policy.entitlement import Entitlement, credits_a_day, entitled, tiers_of
from flux_core.policy.guild import GuildPolicy, Limits, Renewal, Tier
from flux_core.quota import QuotaRules

OPERATOR = QuotaRules(allowance=20_000, zone=ZoneInfo("Europe/Berlin"), max_waiting=10)
NOTHING = Limits()
SUPPORTER, ARTIST, STRANGER = 1, 2, 3
WEEKLY, MONTHLY, ROLLING = Renewal(every="week"), Renewal(every="month"), Renewal(every="rolling", hours=12)
AT_SIX = Renewal(at="06:00", zone="Asia/Tokyo")


def tier(role_id: int, **limits: object) -> Tier:
    return Tier.model_validate({"role_id": role_id, "name": f"role {role_id}", **limits})


def test_what_nobody_decided_is_as_the_operator_has_it() -> None:
    assert entitled(GuildPolicy(), {STRANGER}, NOTHING, OPERATOR) == Entitlement(
        allowance=20_000,
        renewal=Renewal(),
        zone=ZoneInfo("Europe/Berlin"),
        weight=1.0,
        max_waiting=10,
        max_running=None,
        max_megapixels=None,
        max_count=None,
        models=None,
    )


ALL: dict[str, list[Any]] = {
    "weight": [0.5, 2.0, 3.0, 4.0, 9.0],
    "max_waiting": [4, 5, 20, 30, 40],
    "max_running": [1, 2, 3, 4, 5],
    "max_megapixels": [0.25, 1.0, 2.0, 4.0, 8.0],
    "max_count": [1, 2, 4, 6, 10],
}


@pytest.mark.parametrize("limit", ALL)
def test_each_limit_is_resolved_by_itself(limit: str) -> None:
    def decided(policy: GuildPolicy, own: Limits = NOTHING, roles: frozenset[int] = frozenset({1, 2})) -> Entitlement:
        return entitled(policy, roles, own, OPERATOR)

    less, value, more, most, too_much = ALL[limit]
    operators = decided(GuildPolicy())
    everybody = GuildPolicy(everybody=Limits.model_validate({limit: value}))
    assert decided(everybody) == replace(operators, **{limit: value})
    tiers = everybody.model_copy(
        update={"tiers": (tier(1, **{limit: most}), tier(2, **{limit: more}), tier(3, **{limit: too_much}))}
    )
    assert decided(tiers) == replace(operators, **{limit: most})
    assert decided(tiers, roles=frozenset({2})) == replace(operators, **{limit: more})
    assert decided(tiers, roles=frozenset()) == replace(operators, **{limit: value})
    # A tier takes nothing away, and a member's own limits go before everything, also when they are less.
    poor = everybody.model_copy(update={"tiers": (tier(1, **{limit: less}),)})
    assert decided(poor) == replace(operators, **{limit: value})
    assert decided(tiers, Limits.model_validate({limit: less})) == replace(operators, **{limit: less})


def test_a_tier_cannot_limit_what_nobody_limits() -> None:
    policy = GuildPolicy(tiers=(tier(1, max_running=1, max_megapixels=0.5, max_count=1, models=("flux-dev",)),))
    assert entitled(policy, {1}, NOTHING, OPERATOR) == entitled(policy, (), NOTHING, OPERATOR)


@pytest.mark.parametrize(
    ("everybody", "tiers", "own", "allowance", "renewal"),
    [
        (Limits(credits=5.5), (), NOTHING, 5_500, Renewal()),
        (Limits(credits=0), (), NOTHING, 0, Renewal()),
        # Whoever says no renewal has that of the next wider circle.
        (Limits(credits=5, renewal=WEEKLY), (), NOTHING, 5_000, WEEKLY),
        (Limits(renewal=AT_SIX), (), NOTHING, 20_000, AT_SIX),
        (Limits(credits=5, renewal=WEEKLY), (tier(1, credits=9),), NOTHING, 9_000, WEEKLY),
        (NOTHING, (tier(1, credits=29),), NOTHING, 29_000, Renewal()),
        (Limits(renewal=AT_SIX), (tier(1, credits=29),), Limits(credits=1), 1_000, AT_SIX),
        (NOTHING, (tier(1, credits=300, renewal=WEEKLY),), Limits(credits=1), 1_000, WEEKLY),
        (NOTHING, (tier(1, credits=300, renewal=WEEKLY),), Limits(credits=1, renewal=ROLLING), 1_000, ROLLING),
        # The best is the one with most credits a day, and it brings its renewal along.
        (NOTHING, (tier(1, credits=30, renewal=WEEKLY), tier(2, credits=21)), NOTHING, 21_000, Renewal()),
        (NOTHING, (tier(1, credits=150, renewal=WEEKLY), tier(2, credits=21)), NOTHING, 150_000, WEEKLY),
        (NOTHING, (tier(1, credits=640, renewal=MONTHLY), tier(2, credits=21)), NOTHING, 640_000, MONTHLY),
        (NOTHING, (tier(1, credits=639, renewal=MONTHLY), tier(2, credits=21)), NOTHING, 21_000, Renewal()),
        (NOTHING, (tier(1, credits=11, renewal=ROLLING), tier(2, credits=21)), NOTHING, 11_000, ROLLING),
        # A tier gives, and takes nothing away; as much at another time is what it is there for.
        (Limits(credits=5), (tier(1, credits=3),), NOTHING, 5_000, Renewal()),
        (NOTHING, (tier(1, renewal=AT_SIX),), NOTHING, 20_000, AT_SIX),
        # But a member's own allowance holds, whatever it is.
        (Limits(credits=5), (tier(1, credits=300),), Limits(credits=0), 0, Renewal()),
    ],
)
def test_an_allowance_and_its_renewal(
    everybody: Limits, tiers: tuple[Tier, ...], own: Limits, allowance: int, renewal: Renewal
) -> None:
    decided = entitled(GuildPolicy(everybody=everybody, tiers=tiers), {SUPPORTER, ARTIST}, own, OPERATOR)
    assert (decided.allowance, decided.renewal) == (allowance, renewal)
    assert decided.zone == ZoneInfo(renewal.zone or "Europe/Berlin")


@pytest.mark.parametrize(
    ("everybody", "tiers", "own", "models"),
    [
        (None, (), None, None),
        (("schnell",), (), None, {"schnell"}),
        ((), (), None, set()),
        (("schnell",), (("dev",), ("fill",)), None, {"schnell", "dev", "fill"}),
        (("schnell",), (None, ("dev",)), None, {"schnell", "dev"}),
        # A tier that says nothing of models does not widen them, and one that does, does not narrow them.
        (("schnell",), (None,), None, {"schnell"}),
        (None, (("dev",),), None, None),
        (("schnell",), (("dev",),), ("tiny",), {"tiny"}),
        (None, (), (), set()),
    ],
)
def test_models_are_everybodys_and_those_of_all_tiers(
    everybody: tuple[str, ...] | None,
    tiers: tuple[tuple[str, ...] | None, ...],
    own: tuple[str, ...] | None,
    models: set[str] | None,
) -> None:
    policy = GuildPolicy(
        everybody=Limits(models=everybody),
        tiers=tuple(tier(number, models=said) for number, said in enumerate(tiers, 1)),
    )
    assert entitled(policy, {1, 2}, Limits(models=own), OPERATOR).models == models


def test_tiers_are_those_of_the_members_roles() -> None:
    policy = GuildPolicy(tiers=(tier(ARTIST), tier(SUPPORTER), tier(9)))
    assert [found.role_id for found in tiers_of(policy, {SUPPORTER, ARTIST, STRANGER})] == [ARTIST, SUPPORTER]


RENEWALS = st.builds(
    Renewal,
    every=st.sampled_from(["day", "week", "month", "rolling"]),
    at=st.sampled_from(["00:00", "06:30"]),
    zone=st.sampled_from([None, "Asia/Tokyo"]),
    hours=st.integers(1, 31 * 24),
)
SAID: dict[str, Any] = {
    "credits": st.none() | st.floats(0, 1000),
    "renewal": st.none() | RENEWALS,
    "weight": st.none() | st.floats(0.01, 100),
    "max_waiting": st.none() | st.integers(1, 50),
    "max_running": st.none() | st.integers(1, 50),
    "max_megapixels": st.none() | st.floats(0.1, 64),
    "max_count": st.none() | st.integers(1, 10),
    "models": st.none() | st.lists(st.sampled_from(["schnell", "dev", "fill", "tiny"]), unique=True).map(tuple),
}
LIMITS = st.builds(Limits, **SAID)
TIERS = st.lists(
    st.builds(Tier, role_id=st.integers(1, 9), name=st.just("tier"), **SAID),
    max_size=5,
    unique_by=lambda it: it.role_id,
).map(tuple)


@given(everybody=LIMITS, tiers=TIERS, own=LIMITS, data=st.data())
def test_a_tier_never_takes_anything_away(
    everybody: Limits, tiers: tuple[Tier, ...], own: Limits, data: st.DataObject
) -> None:
    policy = GuildPolicy(everybody=everybody, tiers=tiers)
    fewer = data.draw(st.frozensets(st.integers(1, 9)))
    more = fewer | data.draw(st.frozensets(st.integers(1, 9)))
    before, after = (entitled(policy, roles, own, OPERATOR) for roles in (fewer, more))
    rates = [credits_a_day(it.allowance, it.renewal) for it in (before, after)]
    if own.renewal is None and own.credits is None:
        # Thousandths are whole, so that two allowances may compare otherwise by less than one.
        assert rates[1] >= rates[0] - 24
    assert after.weight >= before.weight
    assert after.max_waiting >= before.max_waiting
    for old, new in (
        (before.max_running, after.max_running),
        (before.max_megapixels, after.max_megapixels),
        (before.max_count, after.max_count),
    ):
        assert (new is None) if old is None else (new is not None and new >= old)
    assert (after.models is None) if before.models is None else (after.models or set()) >= before.models


@given(everybody=LIMITS, tiers=TIERS, own=LIMITS, roles=st.frozensets(st.integers(1, 9)))
def test_what_is_set_for_a_member_holds(
    everybody: Limits, tiers: tuple[Tier, ...], own: Limits, roles: frozenset[int]
) -> None:
    decided = entitled(GuildPolicy(everybody=everybody, tiers=tiers), roles, own, OPERATOR)
    for limit in ("weight", "max_waiting", "max_running", "max_megapixels", "max_count", "renewal"):
        if (said := getattr(own, limit)) is not None:
            assert getattr(decided, limit) == said
    assert own.credits is None or decided.allowance == round(own.credits * 1000)
    assert own.models is None or decided.models == frozenset(own.models)
