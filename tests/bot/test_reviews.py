"""What moderators are asked: prompts to approve, and what they decide, over restarts and with everything in the way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bot.reviews import posting
from bot.sandbox.community import GUILD_ID, LINUS_ID, MODERATOR_ROLE_ID
from bot.sandbox.driver import Person
from bot.sandbox.reading import RawMessage, controls_of, labels_of, text_of
from flux_core.database.audit import Wanted
from flux_core.database.reviews import Review
from flux_core.jobs import Job, JobState
from flux_core.policy.guild import GuildPolicy, PromptRule
from tests.bot.conftest import Stage
from tests.bot.scenes import draw, finished, is_private, order, press, spent

GUILD = int(GUILD_ID)
DRAGONS = PromptRule(kind="word", pattern="dragon", action="approve")


async def channel_of(person: Person, name: str) -> int:
    return next(int(channel["id"]) for channel in (await person.world())["channels"] if channel["name"] == name)


async def moderate(stage: Stage, grace: Person, channel: str = "moderators", *rules: PromptRule) -> int:
    """Let the guild's moderators work in a channel, and have them asked about dragons."""
    channel_id = await channel_of(grace, channel)

    def change(policy: GuildPolicy) -> GuildPolicy:
        return policy.model_copy(update={"moderators_channel": channel_id, "prompt_rules": rules or (DRAGONS,)})

    await stage.studio.policies.change(GUILD, change, by=int(grace.id), action="test")
    return channel_id


async def held(stage: Stage, person: Person, prompt: str = "a dragon") -> tuple[RawMessage, Job]:
    """Ask for something that has to be approved; return the member's card and the job."""
    card = await order(stage, person, prompt=prompt, count=1)
    card = await person.wait_for(lambda m: m["id"] == card["id"] and "moderator's approval" in text_of(m))
    [job] = [one.job for one in await stage.studio.live_jobs() if str(one.job.reply_to.message_id) == card["id"]]  # type: ignore[union-attr]
    return card, job


async def asked(person: Person, button: str = "Approve") -> RawMessage:
    """Wait for the moderators' message with this button."""
    return await person.wait_for(lambda m: button in labels_of(m))


async def told(person: Person, message: RawMessage, words: str) -> RawMessage:
    """Wait until a moderators' message tells a verdict."""
    return await person.wait_for(lambda m: m["id"] == message["id"] and words in text_of(m) and not labels_of(m))


async def open_reviews(stage: Stage, *, when: Any = lambda review: True) -> list[Review]:
    """Wait until an open review fits ``when``; return all that are open."""
    version = None
    async with asyncio.timeout(30):
        while not any(when(review) for review in await stage.studio.reviews.waiting(GUILD)):
            version = await stage.studio.changed(version, 1)
    return await stage.studio.reviews.waiting(GUILD)


async def test_an_approved_prompt_is_drawn(stage: Stage, ada: Person, linus: Person, grace: Person) -> None:
    channel_id = await moderate(stage, grace)
    card, _ = await held(stage, ada, "a *dragon* ``` over <@1>")
    message = await asked(grace)
    text = text_of(message)
    assert message["channel_id"] == str(channel_id)
    assert "a *dragon* ``" in text
    assert "“dragon”" in text
    assert f"<@{ada.id}>" in text
    assert message["id"] not in [m["id"] for m in linus._known.values()]
    assert await stage.easel.queue.claim("easel", stage.easel.skills) is None
    await grace.press(message, "Approve")
    await stage.easel.finish(await stage.easel.take())
    await finished(ada, card["id"])
    closed = await told(grace, message, f"**Approved** by <@{grace.id}>")
    assert "dragon" in text_of(closed)
    assert await stage.studio.reviews.waiting(GUILD) == []


async def test_a_rejected_prompt_ends_with_the_moderators_reason(stage: Stage, ada: Person, grace: Person) -> None:
    await moderate(stage, grace)
    card, job = await held(stage, ada)
    message = await asked(grace)
    modal = await grace.press(message, "Reject")
    await grace.submit_modal(modal, {"Reason": "no *dragons* on Sundays"})
    ended = await ada.wait_for(lambda m: m["id"] == card["id"] and "did not approve" in text_of(m))
    assert "dragons" in text_of(ended)
    assert labels_of(ended) == ["Details", "Delete"]
    assert (await stage.studio.job(job.id)).state is JobState.REFUSED
    assert await spent(stage, ada) == 0
    await told(grace, message, f"**Rejected** by <@{grace.id}>")


async def test_a_reason_may_be_left_out(stage: Stage, ada: Person, grace: Person) -> None:
    await moderate(stage, grace)
    card, _ = await held(stage, ada)
    modal = await grace.press(await asked(grace), "Reject")
    await grace.submit_modal(modal, {})
    await ada.wait_for(lambda m: m["id"] == card["id"] and "did not approve this. Your credits" in text_of(m))


async def test_the_picture_that_a_held_job_starts_from_is_shown(stage: Stage, ada: Person, grace: Person) -> None:
    await moderate(stage, grace)
    done = await draw(stage, ada, prompt="a dra-", count=1)
    await moderate(stage, grace, "moderators", PromptRule(kind="phrase", pattern="dra", action="approve"))
    await press(ada, done, "V1")
    message = await asked(grace)
    [start] = message["attachments"]
    assert start["filename"] == "start.webp"
    assert "mask" not in text_of(message)


async def test_buttons_work_after_a_restart(stage: Stage, ada: Person, grace: Person) -> None:
    await moderate(stage, grace)
    card, _ = await held(stage, ada)
    message = await asked(grace)
    await stage.kill_bot()
    await stage.start_bot()
    await grace.press(message, "Approve")
    await stage.easel.finish(await stage.easel.take())
    await finished(ada, card["id"])
    await told(grace, message, "**Approved**")


async def test_a_crash_after_the_post_does_not_post_it_twice(
    stage: Stage, ada: Person, grace: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = asyncio.Event()

    async def never(*_: object) -> None:
        reached.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(posting, "LEASE", 1.0)  # nobody waits longer for the one that is gone
    await moderate(stage, grace)
    with monkeypatch.context() as patched:
        patched.setattr(stage.studio.reviews, "posted", never)
        await held(stage, ada)
        message = await asked(grace)
        await reached.wait()
        await stage.kill_bot()
    assert [review.message_id for review in await stage.studio.reviews.waiting(GUILD)] == [None]
    await stage.start_bot()
    await open_reviews(stage, when=lambda review: review.message_id == int(message["id"]))
    assert [m["id"] for m in await grace.messages(channel="moderators")] == [message["id"]]


async def test_a_button_pressed_before_its_post_was_noted_decides(
    stage: Stage, ada: Person, grace: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, posted = asyncio.Event(), stage.studio.reviews.posted

    async def late(*noted: Any) -> None:
        if reached.is_set():
            await posted(*noted)  # from the button
            return
        reached.set()
        await asyncio.Event().wait()

    await moderate(stage, grace)
    monkeypatch.setattr(stage.studio.reviews, "posted", late)
    await held(stage, ada)
    message = await asked(grace)
    await reached.wait()
    await grace.press(message, "Approve")
    await stage.easel.take()
    await stage.kill_bot()
    await stage.start_bot()
    await told(grace, message, "**Approved**")


async def test_of_two_moderators_one_decides(stage: Stage, ada: Person, linus: Person, grace: Person) -> None:
    stage.sandbox.world.community.people[LINUS_ID].role_ids = (MODERATOR_ROLE_ID,)
    await moderate(stage, grace)
    _, job = await held(stage, ada)
    message = await asked(grace)
    await asked(linus)
    pressed = await asyncio.gather(grace.press(message, "Approve"), linus.press(message, "Approve"))
    both = list(zip((grace, linus), pressed, strict=True))
    answers = [(one, (await one.outcome(id)).response_message_id) for one, id in both]
    [(late, answered)] = [(one, answered) for one, answered in answers if answered is not None]
    answer = await late.wait_for(lambda m: m["id"] == answered)
    assert "decided already" in text_of(answer)
    assert is_private(answer)
    assert (await stage.easel.take()).id == job.id


async def test_a_reason_written_too_late_says_so(stage: Stage, ada: Person, linus: Person, grace: Person) -> None:
    stage.sandbox.world.community.people[LINUS_ID].role_ids = (MODERATOR_ROLE_ID,)
    await moderate(stage, grace)
    await held(stage, ada)
    message = await asked(grace)
    modal = await grace.press(message, "Reject")
    await grace.modal(modal)
    await linus.press(message, "Approve")
    await stage.easel.take()
    answer = await grace.response(await grace.submit_modal(modal, {"Reason": "no"}))
    assert f"decided already by <@{linus.id}>" in text_of(answer)


async def test_only_moderators_decide(stage: Stage, ada: Person, linus: Person, grace: Person) -> None:
    await moderate(stage, grace, "general")
    await held(stage, ada)
    message = await asked(linus)
    for button in ("Approve", "Reject"):
        refusal = await press(linus, message, button)
        assert is_private(refusal)
        assert "Only moderators" in text_of(refusal)
    assert len(await stage.studio.reviews.waiting(GUILD)) == 1
    assert await stage.easel.queue.claim("easel", stage.easel.skills) is None


async def test_a_moderator_who_lost_the_right_meanwhile_does_not_reject(
    stage: Stage, ada: Person, grace: Person
) -> None:
    await moderate(stage, grace, "general")
    await held(stage, ada)
    modal = await grace.press(await asked(grace), "Reject")
    await grace.modal(modal)
    stage.sandbox.world.community.people[grace.id].role_ids = ()
    answer = await grace.response(await grace.submit_modal(modal, {}))
    assert "Only moderators" in text_of(answer)
    assert len(await stage.studio.reviews.waiting(GUILD)) == 1


async def test_a_forged_review_is_refused(stage: Stage, ada: Person, grace: Person) -> None:
    await moderate(stage, grace)
    await held(stage, ada)
    message = await asked(grace)
    own = next(control["custom_id"] for control in controls_of(message) if control["label"] == "Approve")
    forged = own[:-4] + ("0000" if own[-4:] != "0000" else "1111")
    answer = await grace.response(await grace.forge(message, forged))
    assert "not one of mine" in text_of(answer)
    assert len(await stage.studio.reviews.waiting(GUILD)) == 1


async def test_a_job_taken_back_needs_no_approval(stage: Stage, ada: Person, grace: Person) -> None:
    await moderate(stage, grace)
    card, _ = await held(stage, ada)
    message = await asked(grace)
    await ada.press(card, "Cancel")
    await told(grace, message, "It ended before anybody decided")
    late = await grace.response(await grace.forge(message, _custom_id(message, "Approve")))
    assert "not one of mine" in text_of(late)  # the button has gone
    assert await spent(stage, ada) == 0


def _custom_id(message: RawMessage, label: str) -> str:
    return str(next(control["custom_id"] for control in controls_of(message) if control["label"] == label))


async def test_a_channel_that_the_bot_may_not_use_is_tried_again(stage: Stage, ada: Person, grace: Person) -> None:
    await moderate(stage, grace, "read-only")
    await held(stage, ada)
    [review] = await open_reviews(stage, when=lambda review: review.problem)
    assert review.problem == "I may not post in the moderators' channel"
    assert review.message_id is None
    assert review.attempts >= 1
    # Another channel is taken at the next attempt, two seconds later.
    channel_id = await moderate(stage, grace)
    message = await asked(grace)
    assert message["channel_id"] == str(channel_id)
    reviews = await open_reviews(stage, when=lambda review: review.message_id)
    assert reviews[0].problem is None


@pytest.mark.parametrize("place", ["nowhere", "dm"])
async def test_a_channel_that_is_not_the_servers_is_not_used(
    stage: Stage, ada: Person, grace: Person, place: str
) -> None:
    direct = stage.sandbox.world.community.direct_channel(ada.id)
    elsewhere = int(direct.id) if place == "dm" else 1234

    def change(policy: GuildPolicy) -> GuildPolicy:
        return policy.model_copy(update={"moderators_channel": elsewhere, "prompt_rules": (DRAGONS,)})

    await stage.studio.policies.change(GUILD, change, by=1, action="test")
    await held(stage, ada)
    [review] = await open_reviews(stage, when=lambda review: review.problem)
    assert review.problem == "the moderators' channel is gone"
    assert await ada.messages(channel="dm") == []


async def test_discords_bad_moments_pass(stage: Stage, ada: Person, grace: Person) -> None:
    await moderate(stage, grace)
    await held(stage, ada)
    message = await asked(grace)
    stage.sandbox.inject(rest_500=1, rest_429=1, retry_after=0.1)
    await grace.press(message, "Approve")
    await told(grace, message, "**Approved**")


async def test_open_reviews_move_with_the_moderators(stage: Stage, ada: Person, grace: Person) -> None:
    await moderate(stage, grace)
    await held(stage, ada)
    before = await asked(grace)
    channel_id = await moderate(stage, grace, "general")
    after = await grace.wait_for(lambda m: "Approve" in labels_of(m) and m["id"] != before["id"])
    assert after["channel_id"] == str(channel_id)
    await grace.wait_gone(before["id"])
    await grace.press(after, "Approve")
    await stage.easel.take()
    await told(grace, after, "**Approved**")


@pytest.mark.parametrize("end", ["approve", "reject", "cancel"])
async def test_only_moderators_read_a_prompt_that_was_not_approved(
    stage: Stage, ada: Person, linus: Person, grace: Person, end: str
) -> None:
    await moderate(stage, grace)
    card, _ = await held(stage, ada, "a dragon of secrets")
    message = await asked(grace)
    assert "secrets" in text_of(message)
    seen = await linus.wait_for(lambda m: m["id"] == card["id"])
    assert "secrets" not in text_of(seen)
    assert "I don't know this picture" in text_of(
        await linus.response(await linus.message_menu("Picture details", seen))
    )
    assert "secrets" in text_of(await ada.response(await ada.message_menu("Picture details", card)))
    assert "secrets" in text_of(await ada.response(await ada.command("jobs")))
    if end == "approve":
        await grace.press(message, "Approve")
        await stage.easel.finish(await stage.easel.take())
        assert "secrets" in text_of(await finished(linus, card["id"]))
        return
    if end == "reject":
        await grace.submit_modal(await grace.press(message, "Reject"), {})
    else:
        await ada.press(card, "Cancel")
    gone = await linus.wait_for(lambda m: m["id"] == card["id"] and "Details" in labels_of(m))
    assert "secrets" not in text_of(gone)
    assert "I don't know this picture" in text_of(await press(linus, gone, "Details"))
    assert "secrets" in text_of(await press(grace, gone, "Details"))
    assert "secrets" in text_of(await press(ada, gone, "Details"))


async def test_a_moderator_cancels_what_waits_for_approval_from_its_card(
    stage: Stage, ada: Person, grace: Person
) -> None:
    await moderate(stage, grace)
    card, job = await held(stage, ada)
    await grace.press(await grace.wait_for(lambda m: m["id"] == card["id"]), "Cancel")
    await ada.wait_for(lambda m: m["id"] == card["id"] and "Cancelled." in text_of(m))
    [entry] = (await stage.studio.audit.page(Wanted(guild_id=GUILD, action="job cancel"))).entries
    assert (entry.by, entry.target, entry.facts) == (int(grace.id), int(ada.id), {"job": job.id})
