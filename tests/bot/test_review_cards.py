"""The moderators' messages, within Discord's limits, whatever was typed."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import get_args

import pytest
from discord import ui
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.layouts.cards import Card, Shown
from bot.reviews import cards
from bot.reviews.custom_ids import CUSTOM_ID, Choice, Press, from_match
from bot.reviews.modals import SECONDS, BanModal, RejectModal, ReportModal, is_lost
from bot.reviews.waiting import waiting
from flux_core.database.reviews import Review, Verdict
from flux_core.generation import MAX_PROMPT, InputPicture
from flux_core.jobs import JobState, Picture
from tests.bot.test_cards import job

ID = "0123456789abcdef01234567"
WORDS = st.text(min_size=1, max_size=MAX_PROMPT) | st.sampled_from(
    ["`" * MAX_PROMPT, "*" * MAX_PROMPT, "@everyone <@1>"]
)


def review(kind: str = "approval", **changes: object) -> Review:
    usual = {"by": 2**63 - 1 if kind == "report" else None, "reason": "x", "opened_at": 1_700_000_000.0}
    return Review(id=ID, kind=kind, guild_id=2**62, job_id=ID, **(usual | changes))  # type: ignore[arg-type]


def text_of(card: Card) -> str:
    return "\n".join(item.content for item in card.walk_children() if isinstance(item, ui.TextDisplay))


def check(card: Card) -> str:
    text = text_of(card)
    assert len(text) <= 4000
    assert len(list(card.walk_children())) <= 40
    return text


def shown(count: int = 4) -> list[Shown]:
    made = [
        Picture(position=position, key="k", width=1, height=1, seed=1, content_type="image/webp", size=1)
        for position in range(count)
    ]
    return [Shown(picture, f"flux-{ID}-{picture.position + 1}.webp") for picture in made]


@settings(deadline=None)
@given(WORDS, WORDS)
def test_a_card_shows_all_of_the_prompt_and_stays_within_limits(prompt: str, reason: str) -> None:
    text = check(cards.approval(review(reason=reason), job(prompt=prompt), input_name="start.png"))
    assert prompt in text.replace("``\u200b", "``")
    check(cards.report(review("report", reason=reason), job(JobState.SUCCEEDED, prompt=prompt), shown()))
    for verdict in get_args(Verdict):
        closed = review("report", reason=reason, verdict=verdict, decided_by=2**63 - 1, decided_at=1_700_000_000.0)
        check(cards.decided(closed, job(prompt=prompt)))


def test_what_cannot_be_shown_is_named() -> None:
    given = InputPicture(key="inputs/x.png", width=64, height=64)
    held = job()
    held = replace(held, request=held.request.model_copy(update={"input_picture": given, "input_mask": given}))
    text = check(cards.approval(review(), held))
    assert "starts from a picture that I can't show" in text
    assert "has a mask that I can't show" in text
    assert "can't show" not in check(cards.approval(review(), held, input_name="start.png", mask_name="mask.png"))


def test_a_prompt_cannot_break_out_of_its_block() -> None:
    text = check(cards.approval(review(), job(prompt="a ``` <@1> ```` b")))
    assert text.count("```") == 2
    assert "a ``\u200b` <@1>" in text


def test_what_was_typed_pings_nobody() -> None:
    text = check(cards.report(review("report", reason="@everyone <@1> **x**"), job(JobState.SUCCEEDED), []))
    assert "@everyone" not in text
    assert "<@1>" not in text
    assert r"\*\*x\*\*" in text


def test_pictures_are_hidden_until_they_are_clicked() -> None:
    [gallery] = [
        item
        for item in cards.report(review("report"), job(JobState.SUCCEEDED), shown()).walk_children()
        if isinstance(item, ui.MediaGallery)
    ]
    assert [item.spoiler for item in gallery.items] == [True] * 4


def test_an_input_picture_that_is_gone_is_said() -> None:
    assert "starts from a picture that I can't show" in text_of(cards.approval(review(), job()))


@pytest.mark.parametrize("verdict", get_args(Verdict))
def test_each_verdict_is_told_without_buttons(verdict: str) -> None:
    nobody = verdict in ("expired", "withdrawn", "forgotten")
    closed = review(verdict=verdict, decided_by=None if nobody else 77, decided_at=1_700_000_000.0)
    card = cards.decided(closed, job(prompt="a dragon"))
    text = check(card)
    assert ("<@77>" in text) == (not nobody)
    assert ("dragon" in text) == (verdict != "forgotten")
    assert not [item for item in card.walk_children() if isinstance(item, ui.Button)]


def test_what_is_forgotten_is_not_told() -> None:
    closed = review("report", reason="", verdict="dismissed", decided_by=77, decided_at=1_700_000_000.0)
    assert "“" not in text_of(cards.decided(closed, None))


def test_what_waits_is_told_with_where_it_stands_and_why_it_does_not() -> None:
    assert waiting([], 5) == ""
    unposted = review()
    told = waiting([unposted, review("report", by=3, channel_id=5, message_id=6)], 5)
    assert told.startswith("### Waiting for a decision: 1 prompt to approve and 1 report\n")
    assert "A prompt, <t:1700000000:R>: about to be posted." in told
    assert f"A report by <@3>, <t:1700000000:R>: [decide](https://discord.com/channels/{2**62}/5/6)" in told
    assert "there is no channel" in waiting([unposted], None)
    failed = review(problem="I may not post there", next_at=1_700_000_060.0)
    assert "not posted, because I may not post there. I try again <t:1700000060:R>." in waiting([failed], 5)
    many = waiting([failed] * 100, 5)
    assert many.endswith("- and 90 more")
    assert len(many) < 2000


@pytest.mark.parametrize("choice", list(Choice))
def test_a_button_is_read_as_it_was_written(choice: Choice) -> None:
    found = CUSTOM_ID.fullmatch(str(Press(choice, ID)))
    assert found is not None
    assert from_match(found) == Press(choice, ID)


@pytest.mark.parametrize(
    "forged",
    ["flux:review:approve:", f"flux:review:grant:{ID}", f"flux:review:approve:{ID}0", f" flux:review:ban:{ID}"],
)
def test_what_is_no_button_of_ours_is_not_read(forged: str) -> None:
    assert CUSTOM_ID.fullmatch(forged) is None


async def test_forms_are_known_to_their_process_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(*_: object) -> None: ...

    run, another = "0123456789abcdef", "f" * 16
    forms = [RejectModal(run, act), BanModal(run, act), ReportModal(run, act)]
    assert not any(is_lost(form.custom_id, run) for form in forms)
    assert all(is_lost(form.custom_id, another) for form in forms)
    assert not is_lost("somebody-elses", run)
    later = time.time() + SECONDS + 2
    monkeypatch.setattr(time, "time", lambda: later)
    assert all(is_lost(form.custom_id, run) for form in forms)
