"""The direct message for members who want to be told."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from bot.delivery import outbox as delivery
from bot.delivery.notices import nonce, notice
from bot.sandbox.driver import DM, Person
from bot.sandbox.reading import RawMessage, text_of
from flux_core.errors import OutOfMemory
from flux_core.jobs import JobState
from tests.bot.conftest import Stage
from tests.bot.scenes import account_of, ask, delivered, draw, order, press
from tests.bot.test_cards import DONE, HOSTILE, REPLY, check_limits, job, texts


async def notices(person: Person) -> list[RawMessage]:
    return [message for message in await person.messages(channel=DM) if "You asked to be told" in text_of(message)]


async def wants_to_know(person: Person, **more: object) -> None:
    await person.response(await person.command("settings set", notify=True, **more))


async def test_whoever_wants_to_is_told_once_with_a_link(stage: Stage, ada: Person, linus: Person) -> None:
    await wants_to_know(ada)
    done = await draw(stage, ada, prompt="a fox", count=1)
    job_id = (await stage.studio.personal.history(account_of(ada))).jobs[0].id
    await delivered(stage, job_id)
    [told] = await notices(ada)
    assert "Your picture is there:** a fox" in text_of(told)
    assert f"/{done['channel_id']}/{done['id']})" in text_of(told)
    # What comes of a button on it as well; what others do is not told.
    again = await press(ada, done, "Reroll")
    job = await stage.easel.take()
    assert job.notify
    await stage.easel.finish(job)
    await delivered(stage, job.id)
    assert any(again["id"] in text_of(message) for message in await notices(ada))
    await draw(stage, linus, prompt="an owl", count=1)
    assert len(await notices(ada)) == 2
    assert await notices(linus) == []


async def test_a_failure_is_told_and_a_cancellation_is_not(stage: Stage, ada: Person) -> None:
    await wants_to_know(ada)
    await order(stage, ada, prompt="too large")
    job = await stage.easel.take()
    await stage.easel.fail(job, OutOfMemory())
    await delivered(stage, job.id)
    [told] = await notices(ada)
    assert "Nothing came of this:** too large" in text_of(told)
    assert "memory" in text_of(told)
    first = await order(stage, ada, prompt="never mind")
    cancelled = (await stage.studio.jobs_of(account_of(ada)))[0]
    await ada.press(first, "Cancel")
    await delivered(stage, cancelled.id)
    assert len(await notices(ada)) == 1


async def test_closed_direct_messages_are_in_nobodys_way(stage: Stage, ada: Person) -> None:
    await wants_to_know(ada)
    await ask(ada, prompt="a fox", count=1)
    stage.sandbox.inject(closed_dms=True)
    job = await stage.easel.take()
    await stage.easel.finish(job)
    await delivered(stage, job.id)
    stage.sandbox.inject(closed_dms=False)
    assert await notices(ada) == []


async def test_an_answer_by_direct_message_needs_no_notice(stage: Stage, ada: Person) -> None:
    await wants_to_know(ada, private=True)
    await ask(ada, prompt="a secret", count=1)
    job = await stage.easel.take()
    stage.sandbox.inject(expire_tokens=True)
    await stage.easel.finish(job)
    await delivered(stage, job.id)
    assert await notices(ada) == []
    assert any("a secret" in text_of(message) for message in await ada.messages(channel=DM))


async def test_a_crash_after_the_notice_does_not_send_it_twice(
    stage: Stage, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    await wants_to_know(ada)
    await ask(ada, prompt="late", count=1)
    job = await stage.easel.take()
    sent = asyncio.Event()

    async def never(_: str) -> None:
        sent.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(delivery, "LEASE", 0.2)
    with monkeypatch.context() as crash:
        crash.setattr(stage.studio, "delivered", never)
        await stage.easel.finish(job)
        await asyncio.wait_for(sent.wait(), 30)
        await stage.kill_bot()
    assert (await stage.studio.job(job.id)).delivered_at is None
    await stage.start_bot()
    await delivered(stage, job.id)
    assert len(await notices(ada)) == 1


@pytest.mark.parametrize("prompt", HOSTILE, ids=range(len(HOSTILE)))
def test_a_notice_keeps_the_limits(prompt: str) -> None:
    for state in (JobState.SUCCEEDED, JobState.FAILED, JobState.REFUSED):
        ended = job(state, prompt=prompt, **DONE)
        check_limits(notice(ended))
        check_limits(notice(replace(ended, reply_to=replace(REPLY, private=True))))
    assert len(nonce(ended)) <= 25


def test_a_private_answer_is_not_linked() -> None:
    private = job(JobState.SUCCEEDED, **DONE, reply_to=replace(REPLY, private=True))
    assert "https://" not in texts(notice(private))
    assert "`/jobs`" in texts(notice(private))
