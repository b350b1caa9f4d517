"""Who draws a job."""

from __future__ import annotations

from typing import Any

import pytest

from flux_core.generation import GenerationRequest, InputPicture
from flux_core.loras import LoraUse
from flux_core.offers import ImageInput, Offer, Price
from flux_core.router import LOCAL, Choice, Errand, Nobody, RoutingPolicy, Venue, Wait, route, takes_now

REQUEST = GenerationRequest(
    prompt="x", model="flux-dev", width=1024, height=1024, steps=28, guidance=3.5, seed=1, count=2
)
PICTURE = InputPicture(key="inputs/x.png", width=1024, height=1024)


def offer(dollars: float = 0.0, *, image_input: ImageInput | None = ImageInput.INLINE) -> Offer:
    return Offer(theirs="dev", price=Price(picture=dollars), image_input=image_input)


def hosted(name: str, dollars: float = 0.025, **facts: Any) -> Venue:
    facts = {"offers": {"flux-dev": offer(dollars)}, "free": 4} | facts
    return Venue(provider=name, hosted=True, **facts)


def local(seconds: float | None = 10.0, **facts: Any) -> Venue:
    return Venue(provider=LOCAL, hosted=False, offers={"flux-dev": offer()}, seconds=seconds, **facts)


def errand(**facts: Any) -> Errand:
    request = {name: facts.pop(name) for name in list(facts) if name in GenerationRequest.model_fields}
    return Errand(request=REQUEST.model_copy(update=request), **facts)


def chosen(verdict: object) -> str:
    assert isinstance(verdict, Choice), verdict
    return verdict.provider


def test_our_own_card_comes_first() -> None:
    verdict = route(errand(), [hosted("a"), local()], RoutingPolicy())
    assert verdict == Choice(LOCAL, "our own card comes first")


@pytest.mark.parametrize(("seconds", "to"), [(119.0, LOCAL), (121.0, "a"), (None, LOCAL)])
def test_a_wait_over_the_threshold_overflows(seconds: float | None, to: str) -> None:
    assert chosen(route(errand(), [local(seconds), hosted("a")], RoutingPolicy(overflow_seconds=120))) == to


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"lora": LoraUse(name="ink")}, "no LoRAs"),
        ({"input_picture": PICTURE, "input_mask": PICTURE}, "no masks"),
    ],
)
@pytest.mark.parametrize("variation", [False, True])
def test_a_lora_or_a_mask_never_goes_where_it_would_be_ignored(
    given: dict[str, Any], why: str, variation: bool
) -> None:
    """However long our own cards take, whatever the community prefers, and also where they failed."""
    wanted = errand(**given, variation=variation)
    venues, prefers_it = [local(5000.0), hosted("a")], RoutingPolicy(first="hosted", overflow_seconds=0)
    assert chosen(route(wanted, venues, prefers_it)) == LOCAL
    assert not takes_now(wanted, hosted("a"), prefers_it)
    tried = errand(**given, variation=variation, tried=frozenset({LOCAL}))
    assert route(tried, venues, prefers_it) == Nobody({LOCAL: "it failed there", "a": why})


def test_nothing_overflows_to_a_provider_that_is_shut() -> None:
    for shut in (hosted("a", closed="no credit"), hosted("a", money_left=49_999)):
        assert chosen(route(errand(), [local(500.0), shut], RoutingPolicy())) == LOCAL


def test_what_overflows_waits_for_a_free_place_there_rather_than_blocking_the_card() -> None:
    assert isinstance(route(errand(), [local(500.0), hosted("a", free=0)], RoutingPolicy()), Wait)


def test_without_a_living_card_of_our_own_a_hosted_provider_draws_at_once() -> None:
    verdict = route(errand(), [local(None, closed="no worker is up"), hosted("a")], RoutingPolicy())
    assert verdict == Choice("a", "our own cards are away")


def test_cards_of_our_own_that_are_away_get_a_moment_to_come_back() -> None:
    venues = [local(None, closed="no worker is up"), hosted("a")]
    assert chosen(route(errand(waited=19.0), venues, RoutingPolicy())) == LOCAL
    assert chosen(route(errand(waited=20.0), venues, RoutingPolicy())) == "a"
    assert chosen(route(errand(waited=2.0), venues, RoutingPolicy(overflow_seconds=1))) == "a"
    assert chosen(route(errand(waited=0.0), venues, RoutingPolicy(return_seconds=0))) == "a"


def test_a_community_may_prefer_hosted_providers() -> None:
    assert chosen(route(errand(), [local(), hosted("a")], RoutingPolicy(first="hosted"))) == "a"
    assert chosen(route(errand(), [local(), hosted("a", closed="x")], RoutingPolicy(first="hosted"))) == LOCAL


def test_the_cheapest_or_the_fastest_is_taken() -> None:
    venues = [hosted("dear", 0.05, seconds=2.0), hosted("cheap", 0.01, seconds=9.0), hosted("new", 0.03)]
    assert chosen(route(errand(), venues, RoutingPolicy(order="cheapest"))) == "cheap"
    assert chosen(route(errand(), venues, RoutingPolicy(order="fastest"))) == "dear"


def test_the_only_one_is_not_called_the_cheapest() -> None:
    assert route(errand(), [hosted("a")], RoutingPolicy()) == Choice("a", "the only one that draws it")
    assert route(errand(), [hosted("a"), hosted("b")], RoutingPolicy()) == Choice("a", "cheapest")


def test_who_would_take_it_as_things_stand() -> None:
    policy = RoutingPolicy(providers=("a",))
    assert takes_now(errand(), hosted("a", free=0), policy)
    for venue in (hosted("b"), hosted("a", closed="no credit"), hosted("a", money_left=1)):
        assert not takes_now(errand(), venue, policy)
    assert not takes_now(errand(tried=frozenset({"a"})), hosted("a"), policy)


def test_equals_are_told_apart_by_name_whatever_their_order() -> None:
    venues = [hosted("b"), hosted("a"), hosted("c")]
    assert {chosen(route(errand(), order, RoutingPolicy())) for order in (venues, venues[::-1])} == {"a"}


def test_the_cheapest_without_a_free_place_is_passed_over() -> None:
    assert chosen(route(errand(), [hosted("a", 0.01, free=0), hosted("b", 0.05)], RoutingPolicy())) == "b"


def test_the_day_s_money_shuts_a_provider() -> None:
    venues = [hosted("a", 0.01, money_left=19_999), hosted("b", 0.05, money_left=100_000)]
    assert chosen(route(errand(), venues, RoutingPolicy())) == "b"
    assert isinstance(route(errand(), venues[:1], RoutingPolicy()), Wait)


def test_what_no_day_s_money_pays_is_drawn_elsewhere_or_by_nobody() -> None:
    venues = [hosted("a", 0.01, money_left=19_999, money_cap=19_999), hosted("b", 0.05)]
    assert chosen(route(errand(), venues, RoutingPolicy())) == "b"
    verdict = route(errand(), venues[:1], RoutingPolicy())
    assert verdict == Nobody({"a": "it costs more than may be spent there in a day"})


def test_a_member_s_wish_comes_before_policy_and_price() -> None:
    venues = [local(500.0), hosted("a", 0.01), hosted("b", 0.05)]
    assert route(errand(provider="b"), venues, RoutingPolicy()) == Choice("b", "asked for")
    assert route(errand(provider=LOCAL), venues, RoutingPolicy(first="hosted")) == Choice(LOCAL, "asked for")


def test_a_wish_that_nobody_can_grant_says_why() -> None:
    verdict = route(errand(provider="b"), [local(), hosted("a")], RoutingPolicy())
    assert verdict == Nobody({LOCAL: "another provider was asked for", "a": "another provider was asked for"})


def test_a_community_chooses_its_providers() -> None:
    venues = [hosted("a", 0.01), hosted("b", 0.05)]
    assert chosen(route(errand(), venues, RoutingPolicy(providers=("b",)))) == "b"
    verdict = route(errand(), venues, RoutingPolicy(providers=()))
    assert isinstance(verdict, Nobody)
    assert set(verdict.reasons) == {"a", "b"}
    assert chosen(route(errand(), [*venues, local()], RoutingPolicy(providers=()))) == LOCAL


def test_a_failed_job_goes_to_the_next_until_none_is_left() -> None:
    venues = [local(), hosted("a", 0.01), hosted("b", 0.05)]
    tried: frozenset[str] = frozenset()
    order = []
    while not isinstance(verdict := route(errand(tried=tried), venues, RoutingPolicy()), Nobody):
        order.append(chosen(verdict))
        tried |= {order[-1]}
    assert order == [LOCAL, "a", "b"]
    assert verdict.reasons == dict.fromkeys((LOCAL, "a", "b"), "it failed there")


def test_what_was_submitted_stays_where_it_is() -> None:
    venues = [local(), hosted("a", closed="no credit", free=0, money_left=0)]
    assert chosen(route(errand(bound_to="a", tried=frozenset({"a"})), venues, RoutingPolicy())) == "a"
    assert isinstance(route(errand(bound_to="b"), venues, RoutingPolicy()), Wait)


def test_bounds_and_sizes_decide_who_can() -> None:
    narrow = Offer(theirs="x", steps={"low": 1, "high": 4}, price=Price(picture=0.001))  # type: ignore[arg-type]
    venues = [hosted("narrow", offers={"flux-dev": narrow}), hosted("wide", 0.05)]
    assert chosen(route(errand(steps=4), venues, RoutingPolicy())) == "narrow"
    assert chosen(route(errand(steps=28), venues, RoutingPolicy())) == "wide"
    verdict = route(errand(steps=28), venues[:1], RoutingPolicy())
    assert verdict == Nobody({"narrow": "1 to 4 steps"})


def test_a_picture_to_start_from_needs_a_provider_that_takes_it() -> None:
    words = hosted("words", 0.001, offers={"flux-dev": offer(0.001, image_input=None)})
    linked = hosted("linked", 0.01, offers={"flux-dev": offer(0.01, image_input=ImageInput.LINK)})
    asked = errand(input_picture=PICTURE, strength=0.6)
    assert asked.request.input_picture is not None
    assert chosen(route(asked, [words, hosted("a", 0.05)], RoutingPolicy())) == "a"
    assert isinstance(route(asked, [words, linked], RoutingPolicy()), Nobody)
    signing = hosted("linked", 0.01, offers=linked.offers, links=True)
    assert chosen(route(asked, [words, signing], RoutingPolicy())) == "linked"


def test_a_variation_prefers_who_starts_from_pictures_and_else_is_drawn_from_words() -> None:
    words = hosted("words", 0.001, offers={"flux-dev": offer(0.001, image_input=None)})
    asked = errand(input_picture=PICTURE, strength=0.6, variation=True)
    assert chosen(route(asked, [words, hosted("a", 0.05)], RoutingPolicy())) == "a"
    assert chosen(route(asked, [words], RoutingPolicy())) == "words"
    assert isinstance(route(asked, [words, hosted("a", 0.05, free=0)], RoutingPolicy()), Wait)
    for shut in ({"closed": "no credit"}, {"money_left": 99_999}):
        assert chosen(route(asked, [words, hosted("a", 0.05, **shut)], RoutingPolicy())) == "words"


def test_a_variation_waits_for_cards_that_start_from_pictures_only_while_they_may_come_back() -> None:
    words = hosted("words", 0.001, offers={"flux-dev": offer(0.001, image_input=None)})
    venues = [words, local(None, closed="no worker is up")]
    facts = {"input_picture": PICTURE, "strength": 0.6, "variation": True}
    assert chosen(route(errand(**facts, waited=5.0), venues, RoutingPolicy())) == LOCAL
    assert chosen(route(errand(**facts, waited=30.0), venues, RoutingPolicy())) == "words"
