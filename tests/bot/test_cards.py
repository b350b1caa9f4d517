"""Cards and panels: every state, within Discord's limits, whatever was typed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from discord import ui
from hypothesis import given
from hypothesis import strategies as st

from bot.interactions.choices import CHOICE_LIMIT
from bot.interactions.paging import PAGED, page_buttons
from bot.layouts import cards, listings, panels
from bot.layouts.cards import Card, Shown, Turn
from bot.layouts.custom_ids import parse
from bot.layouts.listings import PAGE, Entry
from bot.words.phrasing import shorten
from flux_core.errors import GenerationFailed, walk
from flux_core.family import FAMILY
from flux_core.generation import MAX_PROMPT, GenerationRequest, InputPicture, OutputFormat
from flux_core.jobs import Account, Job, JobState, Lane, Origin, Picture, ReplyTo
from flux_core.policy.guild import Renewal
from flux_core.service import Quota

JOB_ID = "0123456789abcdef01234567"
REPLY = ReplyTo(
    application_id=1,
    channel_id=2**63,
    interaction_token="secret-token",
    token_expires_at=900.0,
    message_id=2**63,
    spoiler=True,
)


def job(state: JobState = JobState.QUEUED, *, prompt: str = "a fox", model: str = "flux-dev", **changes: Any) -> Job:
    request = GenerationRequest(
        prompt=prompt,
        model=model,
        width=1024,
        height=1024,
        steps=28,
        guidance=3.5,
        seed=2**32 - 4,
        count=4,
        input_picture=InputPicture(key="k", width=64, height=64),
        strength=0.6,
        output_format=OutputFormat.WEBP,
    )
    made = Job(
        id=JOB_ID,
        account=Account(2**63, 2**63 - 1),
        request=request,
        origin=Origin.IMAGINE,
        cost=28_000,
        created_at=1_700_000_000.0,
        state=state,
        reply_to=REPLY,
    )
    return replace(made, **changes)


def picture(position: int = 0, key: str | None = "pictures/x.webp") -> Picture:
    return Picture(
        position=position,
        key=key,
        width=1024,
        height=1024,
        seed=2**32 - 4 + position,
        content_type="image/webp",
        size=345_678,
    )


def shown(number: int = 4) -> list[Shown]:
    return [Shown(picture(i), f"flux-{JOB_ID}-{i + 1}.webp") for i in range(number)]


FAR_TURN = Turn(10_000, 1_800_000_000.0, 3)
FULL_QUOTA = Quota(
    allowance=50_000,
    renewal=Renewal(every="rolling", hours=36),
    spent=20_000,
    granted=12_000,
    expiring=tuple((1_000, 1_800_000_000.0 + day) for day in range(7)),
    left=42_000,
    renews_at=1_800_000_000.0,
    pool_left=-5,
    relaxed=True,
    ready_at=1_800_000_010.0,
    waiting=1,
    max_waiting=10,
    running=1,
    max_running=2,
    weight=2.5,
    tiers=tuple("*" * 100 for _ in range(50)),
)
DONE: dict[str, Any] = {"started_at": 1_700_000_100.0, "ended_at": 1_700_000_200.5}


def every_card(prompt: str = "a fox", model: str = "flux-dev") -> Iterator[Card]:
    queued = job(prompt=prompt, model=model)
    for turn in (None, Turn(1, None, 1), FAR_TURN, Turn(3, None, 0)):
        yield cards.waiting(queued, turn)
    for done in (0, 13, 28, 99):
        running = job(JobState.RUNNING, prompt=prompt, model=model, steps_done=done, steps_total=28)
        yield cards.running(running, FAR_TURN, "preview-3.webp")
        yield cards.running(replace(running, cancel_requested=True), None, None)
        yield panels.details(running, [], parent=None)
    ended = job(JobState.SUCCEEDED, prompt=prompt, model=model, parent_id=JOB_ID, parent_position=3, **DONE)
    for number in range(5):
        yield cards.result(ended, shown(number), lead="<@123456789012345678>, this took a while:")
    yield panels.details(ended, [picture(i) for i in range(4)], parent=queued)
    yield panels.details(ended, [picture(0, None)], parent=None)
    yield cards.ended_without(job(JobState.CANCELLED, prompt=prompt, model=model))
    for kind in walk(GenerationFailed):
        failed = job(JobState.FAILED, prompt=prompt, model=model, error_code=kind.code, error_facts={}, **DONE)
        yield cards.ended_without(failed, lead="late")
        yield panels.details(failed, [], parent=None)
    everything = [queued, job(JobState.RUNNING, prompt=prompt, steps_done=3, steps_total=9), ended]
    paging = page_buttons("jobs", back="0", on="12")
    yield listings.jobs([])
    for one in (*everything, failed):
        yield listings.jobs([Entry(one, FAR_TURN, can_move=True)] * PAGE, paging)
        yield listings.history([one] * PAGE, about=f" with {prompt[:40]!r}", rows=paging, cut=True)
    yield listings.history([], about="")
    yield panels.quota(FULL_QUOTA, whose=2**63 - 1)


def check_limits(card: Card) -> None:
    """Hold a card against what Discord accepts."""
    items = list(card.walk_children())
    assert len(items) <= 40
    assert card.content_length() <= 4000
    assert card.has_components_v2()
    custom_ids = [item.custom_id for item in items if isinstance(item, ui.Button)]
    assert len(custom_ids) == len(set(custom_ids)) or JOB_ID in custom_ids[0]
    assert all(len(id or "") <= 100 and (parse(id or "") or PAGED.fullmatch(id or "")) for id in custom_ids)
    for item in items:
        if isinstance(item, ui.TextDisplay):
            assert item.content.strip()
        if isinstance(item, ui.ActionRow):
            assert 1 <= len(item.children) <= 5
        if isinstance(item, ui.MediaGallery):
            assert 1 <= len(item.items) <= 10
            assert all(len(one.description or "") <= 256 for one in item.items)
        if isinstance(item, ui.Button):
            assert 1 <= len(item.label or "") <= 80
    assert card.to_components()


def texts(card: Card) -> str:
    return "\n".join(item.content for item in card.walk_children() if isinstance(item, ui.TextDisplay))


def labels(card: Card) -> list[str]:
    return [str(item.label) for item in card.walk_children() if isinstance(item, ui.Button) and not item.disabled]


HOSTILE = [
    "x" * MAX_PROMPT,
    "`" * MAX_PROMPT,
    "*" * MAX_PROMPT,
    "@everyone <@123456789012345678> <@&123456789012345678> <#123456789012345678>",
    "[click](https://example.com) # heading\n> quote\n- list\n```py\ncode\n```",
    "𓀀" * MAX_PROMPT,
    "||spoiler|| \\",
    "a\n" * 900,
]


@pytest.mark.parametrize("prompt", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("model", ["flux-dev", "flux-tiny", "a-model-of-tomorrow"])
def test_every_card_keeps_the_limits(prompt: str, model: str) -> None:
    for card in every_card(prompt, model):
        check_limits(card)


@given(st.text(min_size=1, max_size=MAX_PROMPT))
def test_any_prompt_keeps_the_limits(prompt: str) -> None:
    check_limits(cards.result(job(JobState.SUCCEEDED, prompt=prompt, **DONE), shown()))
    check_limits(panels.details(job(prompt=prompt), [picture(i) for i in range(4)], parent=None))


def test_a_list_of_long_refusals_keeps_the_limits() -> None:
    refused = job(
        JobState.REFUSED, prompt="*" * 100, **DONE | {"error_code": "refused", "error_facts": {"reason": "_" * 300}}
    )
    check_limits(listings.jobs([Entry(refused)] * PAGE))
    check_limits(listings.history([refused] * PAGE, about=" with “" + "\\*" * 60 + "”", cut=True))


def test_a_list_offers_what_can_be_done() -> None:
    def offered(state: JobState, **changes: Any) -> list[str]:
        entry = Entry(job(state, **changes), Turn(2, None, 1), can_move=changes.pop("can_move", False))
        return labels(listings.jobs([entry]))

    assert offered(JobState.QUEUED) == ["Cancel", "Details"]
    assert labels(listings.jobs([Entry(job(), Turn(2, None, 1), can_move=True)])) == ["Cancel", "Move up", "Details"]
    assert offered(JobState.RUNNING, cancel_requested=True) == ["Details"]
    assert offered(JobState.SUCCEEDED, **DONE) == ["Show", "Details"]
    assert offered(JobState.FAILED, **DONE) == ["Details"]


def test_a_relaxed_job_costs_nothing_and_gives_nothing_back() -> None:
    relaxed = job(JobState.CANCELLED, lane=Lane.RELAXED, cost=0)
    assert "It had cost nothing." in texts(cards.ended_without(relaxed))
    assert "**Cost:** nothing (relaxed" in texts(panels.details(relaxed, [], parent=None))


def test_only_what_was_drawn_tells_how_long_it_took() -> None:
    assert "**Drawn in:** 1 min 40 s" in texts(panels.details(job(JobState.SUCCEEDED, **DONE), [], parent=None))
    for state in (JobState.FAILED, JobState.REFUSED, JobState.CANCELLED):
        assert "Drawn in" not in texts(panels.details(job(state, **DONE), [], parent=None))


def test_what_holds_a_waiting_job_is_told() -> None:
    def told(turn: Turn | None = FAR_TURN, **changes: Any) -> str:
        return texts(cards.waiting(job(**changes), turn))

    assert "paused drawing" in told(Turn(3, None, 1, paused=True))
    assert "what waits is still drawn" in told(Turn(3, None, 1, draining=True))
    assert "nobody with credits is waiting" in told(lane=Lane.RELAXED, cost=0)
    assert "moderator's approval" in told(held="approval")
    assert "in the queue" not in told(held="approval")
    assert "moderator's approval" in texts(listings.history([job(held="approval")], about=""))


def test_a_prompt_that_nobody_approved_is_for_its_member_alone() -> None:
    reply = job().reply_to
    assert reply is not None
    secret = job(held="approval", prompt="a secret", reply_to=replace(reply, private=False))
    own = job(held="approval", prompt="a secret", reply_to=replace(reply, private=True))
    for card in (cards.waiting, lambda held, _: cards.ended_without(held)):
        assert "secret" not in texts(card(secret, None))
        assert "secret" in texts(card(own, None))


def test_no_card_shows_the_token() -> None:
    for card in every_card():
        assert "secret-token" not in str(card.to_components())


def test_a_prompt_cannot_ping_or_break_out() -> None:
    card = cards.result(job(JobState.SUCCEEDED, prompt="**@everyone** <@1> [x](http://y)\n# big", **DONE), shown(1))
    text = texts(card).split("\n")[0]
    assert "@everyone" not in text
    assert r"\<@" in text
    assert r"\[x\]\(http\://y\) \# big" in text


def test_the_waiting_card_tells_turn_and_time() -> None:
    assert "10000th in the queue" in texts(cards.waiting(job(), FAR_TURN))
    assert "ready <t:1800000000:R>" in texts(cards.waiting(job(), FAR_TURN))
    assert "Next in the queue" in texts(cards.waiting(job(), Turn(1, None, 1)))
    assert "Nobody is drawing" in texts(cards.waiting(job(), Turn(1, None, 0)))
    assert labels(cards.waiting(job(), FAR_TURN)) == ["Cancel"]


def test_the_running_card_fills_its_bar() -> None:
    def bar(done: int) -> str:
        return cards.progress(job(JobState.RUNNING, steps_done=done, steps_total=28))

    assert bar(0).count("▰") == 0
    assert bar(14).count("▰") == bar(14).count("▱") == cards.BAR / 2
    assert bar(28).count("▱") == 0
    assert "50%" in bar(14)
    assert "step 14 of 28" in bar(14)


def test_a_cancelled_run_cannot_be_cancelled_again() -> None:
    card = cards.running(job(JobState.RUNNING, cancel_requested=True), None, None)
    assert labels(card) == []
    assert "Cancelling" in texts(card)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_the_result_has_a_variation_for_each_picture(number: int) -> None:
    card = cards.result(job(JobState.SUCCEEDED, **DONE), shown(number))
    expected = [f"V{i + 1}" for i in range(number)]
    assert labels(card) == [*expected, "Reroll", "Details", "Delete"]
    gallery = next(item for item in card.walk_children() if isinstance(item, ui.MediaGallery))
    assert [item.media.url for item in gallery.items] == [f"attachment://{one.filename}" for one in shown(number)]
    assert all(item.spoiler for item in gallery.items)


def test_the_result_tells_what_it_is_made_of() -> None:
    text = texts(cards.result(job(JobState.SUCCEEDED, **DONE), shown()))
    for part in ("1024×1024", "28 steps", "strength 0.6", f"seed {2**32 - 4}", "1 min 40 s", "<@9223372036854775807>"):
        assert part in text


def test_details_hold_the_whole_prompt() -> None:
    prompt = "word " * 399 + "end"
    assert prompt in texts(panels.details(job(prompt=prompt), [], parent=None))


@pytest.mark.parametrize("count", [3, 4, 5, 6, 11, MAX_PROMPT])
def test_no_prompt_leaves_the_code_block_of_details(count: int) -> None:
    text = texts(panels.details(job(prompt="a " + "`" * (count - 2) + "`"), [], parent=None))
    assert [line for line in text.split("\n") if "```" in line] == ["```", "```"]


def test_details_tell_the_licence_of_every_model() -> None:
    for spec in FAMILY:
        text = texts(panels.details(job(model=spec.id), [], parent=None))
        assert ("non-commercial use only" in text) is not spec.commercial


def test_help_keeps_the_limits_and_names_every_model() -> None:
    card = panels.help_page(FAMILY)
    check_limits(card)
    assert all(f"`{spec.id}`" in texts(card) for spec in FAMILY)


@pytest.mark.parametrize(
    ("spent", "granted", "left"), [(0, 0, 100_000), (40_000, 0, 60_000), (100_000, 5_500, 5_500), (120_000, 0, 0)]
)
def test_the_quota_panel_adds_up(spent: int, granted: int, left: int) -> None:
    held = Quota(
        allowance=100_000,
        renewal=Renewal(),
        spent=spent,
        granted=granted,
        left=left,
        renews_at=1_800_000_000.0,
        waiting=1,
        max_waiting=10,
    )
    card = panels.quota(held)
    check_limits(card)
    assert f"{left / 1000:g} credits left" in texts(card)
    assert f"{max(0, 100_000 - spent) / 1000:g} credits of today's 100 credits" in texts(card)
    assert ("5.5 credits granted, which do not expire" in texts(card)) is (granted > 0)
    assert "Renews <t:1800000000:R>" in texts(card)


def test_the_quota_panel_tells_all_that_holds() -> None:
    text = texts(panels.quota(FULL_QUOTA))
    for part in (
        "30 credits of the 50 credits in any 36 hours",
        "12 credits granted: 1 credit until <t:1800000000:f>",
        "3 credits until later, 5 credits that do not expire",
        "The next part comes back <t:1800000000:R>",
        "pool of all members has 0 credits left",
        "relaxed, when nobody with credits is waiting",
        "next order is possible <t:1800000010:R>",
        "1 of at most 10 jobs waiting, 1 of at most 2 being drawn",
        "2.5 times as often",
    ):
        assert part in text, part
    weekly = replace(FULL_QUOTA, renewal=Renewal(every="week"), tiers=("Patron",), weight=1.0)
    assert "of this week's 50 credits" in texts(panels.quota(weekly))
    assert "Tiers: **Patron**" in texts(panels.quota(weekly))
    assert "times as often" not in texts(panels.quota(weekly))


def test_no_allowance_is_no_division_by_zero() -> None:
    once = replace(FULL_QUOTA, granted=1_000, expiring=((1_000, 1_800_000_000.0),))
    assert "plus 1 credit granted, until <t:1800000000:f>\n" in texts(panels.quota(once))
    empty = replace(FULL_QUOTA, allowance=0, spent=0, granted=0, expiring=(), left=0, renews_at=None)
    check_limits(panels.quota(empty))


def test_a_private_message_is_not_linked() -> None:
    private = job(JobState.SUCCEEDED, delivered_at=1.0, reply_to=replace(REPLY, private=True), **DONE)
    assert panels.message_link(private) is None
    assert "https://" not in texts(listings.jobs([Entry(private)]))
    public = job(JobState.SUCCEEDED, delivered_at=1.0, **DONE)
    assert str(panels.message_link(public)) in texts(listings.jobs([Entry(public)]))


def test_the_licence_is_seen_where_a_model_is_chosen() -> None:
    for spec in FAMILY:
        choice = shorten(f"{spec.title}: {spec.summary}", CHOICE_LIMIT)
        assert len(choice) <= 100
        assert ("Non-commercial" in choice) is not spec.commercial, spec.id
