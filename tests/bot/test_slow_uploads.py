"""A delivery belongs to one process for as long as it takes, however slow the line is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa

from bot.delivery import outbox as delivery
from bot.delivery import own_token
from bot.delivery.posting import Poster, Way
from bot.sandbox.driver import Person
from bot.sandbox.reading import text_of
from flux_core.database.tables import jobs
from tests.bot.conftest import Stage
from tests.bot.scenes import ask, delivered, finished, is_private, press


async def test_an_upload_that_outlasts_its_lease_stays_with_whoever_sends_it(
    stage: Stage, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "LEASE", 3.0)
    sending, go_on = asyncio.Event(), asyncio.Event()
    send = Poster.send

    async def slowly(self: Poster, way: Any, job: Any, *card: Any) -> int | None:
        if job.state.ended:
            sending.set()
            await go_on.wait()
        return await send(self, way, job, *card)

    monkeypatch.setattr(Poster, "send", slowly)
    card = await ask(ada, prompt="a panorama", count=1)
    job = await stage.easel.take()
    await stage.easel.finish(job)
    async with asyncio.timeout(30):
        await sending.wait()
        until = sa.select(jobs.c.delivery_until).where(jobs.c.id == job.id)
        first = await stage.easel.queue._db.read(lambda connection: connection.execute(until).scalar_one())
        version = None
        while await stage.easel.queue._db.read(lambda connection: connection.execute(until).scalar_one()) == first:
            version = await stage.studio.changed(version, 5.0)
    assert not await stage.studio.claim_delivery(job.id, "another bot", 30.0)
    go_on.set()
    await finished(ada, card["id"])
    await delivered(stage, job.id)
    kept = sa.select(jobs.c.delivery_owner).where(jobs.c.id == job.id)
    assert await stage.easel.queue._db.read(lambda connection: connection.execute(kept).scalar_one()) is None


async def test_pictures_that_are_deleted_while_they_are_being_posted_do_not_stay(
    stage: Stage, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    sending, go_on = asyncio.Event(), asyncio.Event()
    send = Poster.send

    async def slowly(self: Poster, way: Any, job: Any, *card: Any) -> int | None:
        if way is Way.CHANNEL:
            sending.set()
            await go_on.wait()
        return await send(self, way, job, *card)

    monkeypatch.setattr(Poster, "send", slowly)
    card = await ask(ada, prompt="a mistake", count=1)
    job = await stage.easel.take()
    await stage.easel.step(job, 2)
    waiting = await ada.wait_for(lambda m: m["id"] == card["id"] and "step 2" in text_of(m), 30)
    stage.sandbox.inject(expire_tokens=True)
    await stage.easel.finish(job)
    await asyncio.wait_for(sending.wait(), 30)
    details = await ada.response(await ada.command("jobs"))
    shown = await press(ada, details, "Show")
    await ada.press(shown, "Delete")
    await ada.wait_gone(waiting["id"], 30)
    go_on.set()
    posted = await ada.wait_for(lambda m: f"flux-{job.id}" in str(m["attachments"]) and not is_private(m), 30)
    await ada.wait_gone(posted["id"], 30)


async def test_a_channel_that_has_much_to_catch_up_with_keeps_no_other_waiting(
    stage: Stage, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(delivery.Delivery.__init__.__kwdefaults__, "at_once", 3)
    monkeypatch.setattr(own_token, "POSTS_AT_ONCE", 2)
    go_on, underway, most = asyncio.Event(), 0, 0
    send = Poster.send

    async def slowly(self: Poster, way: Any, job: Any, *card: Any) -> int | None:
        nonlocal underway, most
        if way is not Way.CHANNEL:
            return await send(self, way, job, *card)
        underway += 1
        most = max(most, underway)
        await go_on.wait()
        try:
            return await send(self, way, job, *card)
        finally:
            underway -= 1

    monkeypatch.setattr(Poster, "send", slowly)
    late = []
    for number in range(5):
        await ask(ada, prompt=f"late {number}", count=1)
        late.append(await stage.easel.take())
    await stage.stop_bot()
    for job in late:
        await stage.easel.finish(job)
    expire = sa.update(jobs).values(token_expires_at=0.0)
    await stage.easel.queue._db.write(lambda connection: connection.execute(expire).rowcount)
    await stage.start_bot()
    async with stage.person("Linus", "general") as linus:
        card = await ask(linus, prompt="fresh", count=1)
        await stage.easel.finish(await stage.easel.take())
        await finished(linus, card["id"])
        assert most == 2
        go_on.set()
    for job in late:
        await delivered(stage, job.id)
    assert most == 2


async def test_cards_that_a_channel_takes_slowly_keep_nothing_else_waiting(
    stage: Stage, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    editing, go_on = asyncio.Event(), asyncio.Event()
    send = Poster.send

    async def slowly(self: Poster, way: Any, job: Any, *card: Any) -> int | None:
        if way is Way.EDIT:
            editing.set()
            await go_on.wait()
        return await send(self, way, job, *card)

    monkeypatch.setattr(Poster, "send", slowly)
    for number in range(8):
        await ask(ada, prompt=f"late {number}", count=1)
    await stage.stop_bot()
    expire = sa.update(jobs).values(token_expires_at=0.0)
    await stage.easel.queue._db.write(lambda connection: connection.execute(expire).rowcount)
    await stage.start_bot()
    await asyncio.wait_for(editing.wait(), 30)
    async with stage.person("Linus", "general") as linus:
        card = await ask(linus, prompt="fresh", count=1)
        taken = {job.request.prompt: job for job in [await stage.easel.take() for _ in range(5)]}
        await stage.easel.step(taken["fresh"], 2)
        await linus.wait_for(lambda m: m["id"] == card["id"] and "step 2" in text_of(m), 30)
        late = await stage.easel.finish(taken["late 2"])  # the card of the first is being edited
        await ada.wait_for(lambda m: f"flux-{late.id}" in str(m["attachments"]), 30)
    go_on.set()
