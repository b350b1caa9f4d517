"""What a member and a moderator read about hosted providers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bot.layouts import cards, panels, remarks
from flux_core.errors import ProviderFault, walk
from flux_core.family import FAMILY
from flux_core.jobs import Job, JobState, Origin, Remark
from flux_core.offers import Offer, Price, Sizes
from flux_core.router import RoutingPolicy
from flux_core.service import WorkerInfo
from tests import vendors
from tests.bot.test_cards import DONE, check_limits, job, labels, picture, shown, texts


@pytest.fixture(autouse=True)
def only_test_vendors(monkeypatch: pytest.MonkeyPatch) -> None:
    vendors.only_these(monkeypatch)


ROUTED = Remark("routed", {"provider": "cloud", "why": "our own cards would take *long*"})


def hosted(state: JobState = JobState.SUCCEEDED, **changes: Any) -> Job:
    return job(state, **{"provider": "cloud", "remarks": (ROUTED,), **DONE, **changes})


def test_the_card_names_the_hosted_provider() -> None:
    assert "drawn by Cloud Nine" in texts(cards.result(hosted(), shown()))
    assert "drawn by Cloud Nine" in texts(cards.running(hosted(JobState.RUNNING), None, None))
    assert "drawn by" not in texts(cards.result(job(JobState.SUCCEEDED, provider="local", **DONE), shown()))


def test_a_hosted_drawing_counts_no_steps() -> None:
    line = cards.progress(hosted(JobState.RUNNING, steps_done=14, steps_total=28))
    assert "50%" in line
    assert "step" not in line
    assert "step 14 of 28" in cards.progress(job(JobState.RUNNING, provider="local", steps_done=14, steps_total=28))


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        (
            {"missing": 1, "reason": "the safety filter held it back.", "refunded": 250},
            "1 of 4 was held back: the safety filter held it back. 0.25 credits went back.",
        ),
        (
            {"missing": 3, "reason": "nudity", "refunded": 1000},
            "3 of 4 were held back: nudity. 1 credit went back.",
        ),
        ({"missing": 2, "reason": None, "refunded": 0}, "2 of 4 were held back."),
    ],
)
def test_what_was_held_back_is_told_with_its_refund(facts: dict[str, Any], line: str) -> None:
    some = hosted(remarks=(ROUTED, Remark("partly_withheld", facts)))
    assert f"-# {line}" in texts(cards.result(some, shown(1)))
    assert line in texts(panels.details(some, [], parent=None))


def test_a_reason_is_shown_and_does_nothing_else() -> None:
    facts = {"missing": 1, "reason": "@everyone **x** " * 50, "refunded": 1}
    card = cards.result(hosted(remarks=(Remark("partly_withheld", facts),) * 9), shown())
    check_limits(card)
    assert "@everyone" not in texts(card)


def test_a_provider_without_image_to_image_is_named() -> None:
    anew = hosted(origin=Origin.VARIATION, remarks=(ROUTED, Remark("from_words", {"provider": "cloud"})))
    line = "Cloud Nine draws from words only, so this starts anew: same words, new seed."
    assert texts(cards.result(anew, shown())).count(line) == 1
    for card in (cards.result(anew, shown()), panels.details(anew, [], parent=None)):
        assert "strength" not in texts(card).lower(), "nothing was started from"
    assert remarks.notes(anew, quote=str) == [line]


def test_the_size_is_the_one_that_the_provider_drew() -> None:
    near = replace(picture(), width=1440, height=640)
    asked = hosted()
    asked = asked.evolve(request=asked.request.model_copy(update={"width": 1552, "height": 672}))
    assert "1552×672" in texts(cards.running(asked.evolve(state=JobState.SUCCEEDED), None, None))
    for card in (cards.result(asked, [cards.Shown(near, "a.webp")]), panels.details(asked, [near], parent=None)):
        assert "1440×640" in texts(card)
        assert "1552" not in texts(card)


def test_a_model_without_image_to_image_is_named() -> None:
    before = job(JobState.SUCCEEDED, model="flux-pro-1.1", origin=Origin.VARIATION, **DONE)
    request = before.request.model_copy(update={"input_picture": None, "strength": None})
    anew = job(JobState.SUCCEEDED, origin=Origin.VARIATION, **DONE).evolve(request=request)
    text = texts(cards.result(anew, shown()))
    assert r"FLUX1.1 \[pro\] draws from words only, so this starts anew: same words, new seed." in text
    assert "step" not in text.split("\n")[1]
    assert labels(cards.result(anew, shown(2)))[:2] == ["V1", "V2"]
    plain = anew.evolve(origin=Origin.IMAGINE)
    assert "starts anew" not in texts(cards.result(plain, shown()))


def test_details_tell_who_drew_why_and_who_did_not() -> None:
    passed = [Remark("passed_on", {"provider": "garage", "code": kind.code}) for kind in walk(ProviderFault)]
    card = panels.details(hosted(remarks=(*passed, ROUTED), microdollars=123_456), [], parent=None)
    check_limits(card)
    text = texts(card)
    assert r"**Drawn by:** Cloud Nine (our own cards would take \*long\*)" in text
    assert text.count("**Passed on:** Garage") == len(passed)
    assert "_" not in text.split("```")[2]
    assert "0.12" not in text, "what it cost in dollars is not for everybody"


def test_a_provider_that_failed_again_and_again_has_one_row() -> None:
    down, busy = (Remark("passed_on", {"provider": "garage", "code": f"provider_{why}"}) for why in ("down", "busy"))
    text = texts(panels.details(hosted(remarks=(down, busy, down, down)), [], parent=None))
    assert text.count("**Passed on:**") == 2
    assert "Garage did not answer (3 times)" in text


def test_a_job_that_waits_after_a_failure_says_so() -> None:
    down = Remark("passed_on", {"provider": "garage", "code": "provider_down"})
    waits = job(remarks=(down,))
    text = texts(cards.waiting(waits, cards.Turn(1, None, 1)))
    assert "Garage did not answer. This is tried again, or drawn by somebody else." in text
    assert "tried again" not in texts(cards.waiting(job(), cards.Turn(1, None, 1)))


def test_details_tell_the_cost_without_what_went_back() -> None:
    held_back = Remark("partly_withheld", {"missing": 2, "reason": "nudity", "refunded": 14_000})
    text = texts(panels.details(hosted(cost=28_000, remarks=(held_back,)), [], parent=None))
    assert "**Cost:** 14 credits, after 14 credits went back" in text


def test_a_job_of_our_own_cards_needs_no_row() -> None:
    assert "Drawn by" not in texts(panels.details(job(JobState.SUCCEEDED, provider="local", **DONE), [], parent=None))
    chosen = job(
        JobState.SUCCEEDED, provider="local", remarks=(Remark("routed", {"provider": "local", "why": "asked for"}),)
    )
    assert "this studio's own machines (asked for)" in texts(panels.details(chosen, [], parent=None))


def test_a_usual_picture_has_the_price_of_the_size_it_would_get() -> None:
    dev = next(spec for spec in FAMILY if spec.id == "flux-dev")
    by_size = Offer(theirs="x", price=Price(megapixel=0.025), sizes=Sizes(listed=((512, 512),)))
    assert remarks.usual_price(by_size, dev) == 6250
    assert remarks.usual_price(Offer(theirs="x", price=Price(megapixel_step=0.001)), dev) == 28_000
    assert remarks.usual_price(Offer(theirs="x"), dev) == 0


def test_a_day_s_money_is_spent_when_it_pays_no_picture_any_more() -> None:
    offers = {"flux-dev": Offer(theirs="x", price=Price(picture=0.025)), "gone": Offer(theirs="y")}
    assert remarks.is_spent(offers, 24_999)
    assert not remarks.is_spent(offers, 25_000)
    assert not remarks.is_spent({}, 0)
    crew = [worker("cloud", money_cap=30_000, offers=offers)]
    text = texts(panels.providers(RoutingPolicy(), ["cloud"], crew, {"cloud": 25_000}))
    assert "waits for tomorrow: the day's money is spent" in text


def worker(provider: str, **changes: Any) -> WorkerInfo:
    facts: dict[str, Any] = {"id": provider, "host": "h", "pid": 1, "device": "d", "offers": {}, "started_at": 0.0}
    return WorkerInfo(**{**facts, "provider": provider, "hosted": True, **changes})


def test_moderators_read_policy_health_and_spending() -> None:
    crew = [worker("cloud", money_cap=5_000_000), worker("garage", closed="no_answer @everyone")]
    card = panels.providers(RoutingPolicy(overflow_seconds=90), ["cloud", "garage", "commons"], crew, {"cloud": 25_000})
    check_limits(card)
    text = texts(card)
    assert "wait longer than 1 min 30 s" in text
    assert "**all** of them may draw; the **cheapest** comes first" in text
    assert "**Cloud Nine** (`cloud`): running · $0.025 of $5.00 spent today" in text
    assert "**Garage** (`garage`): takes no jobs: no\\_answer" in text
    assert "**Commons** (`commons`): no worker is up · $0.00 spent" in text
    assert "@everyone" not in text


@pytest.mark.parametrize(
    ("policy", "part"),
    [
        (
            RoutingPolicy(first="hosted", order="fastest"),
            "First: **hosted providers**, then this studio's own machines.",
        ),
        (RoutingPolicy(overflow_seconds=0), "takes a job that would have to wait."),
        (RoutingPolicy(providers=()), "**none** may draw"),
        (RoutingPolicy(providers=("cloud", "gone")), "**Cloud Nine**, **gone** may draw"),
    ],
)
def test_every_policy_is_told(policy: RoutingPolicy, part: str) -> None:
    assert part in texts(panels.providers(policy, [], [], {}))


def test_many_providers_keep_the_limits() -> None:
    names = [f"provider-{i}" for i in range(60)]
    check_limits(panels.providers(RoutingPolicy(), names, [worker(n, closed="*" * 300) for n in names], {}))
