"""The commands beside /imagine, and the bot under load and in odd moments."""

from __future__ import annotations

import asyncio

import pytest

from bot.delivery import outbox as delivery
from bot.sandbox import driver
from bot.sandbox.driver import Person
from bot.sandbox.reading import labels_of, pictures_of, text_of
from bot.sandbox.world import Limits
from flux_core.errors import OutOfMemory
from flux_core.jobs import JobState
from flux_core.providers.scripted import ScriptedProvider
from flux_core.worker.worker import Worker
from tests.bot.conftest import Stage
from tests.bot.scenes import account_of, ask, delivered, draw, finished, is_private, order, outbox_empty, press


async def test_quota_tells_what_is_left(stage: Stage, ada: Person) -> None:
    told = await ada.response(await ada.command("quota"))
    assert is_private(told)
    assert "100 credits left" in text_of(told)
    await draw(stage, ada, prompt="a", model="flux-schnell", count=2)
    told = await ada.response(await ada.command("quota"))
    assert "98 credits left" in text_of(told)
    assert "Renews <t:" in text_of(told)


async def test_jobs_lists_and_cancels_ones_own(stage: Stage, ada: Person, linus: Person) -> None:
    empty = await linus.response(await linus.command("jobs"))
    assert "no pictures yet" in text_of(empty)
    done = await draw(stage, ada, prompt="finished one", count=1)
    await order(stage, ada, prompt="waiting one")
    listed = await ada.response(await ada.command("jobs"))
    text = text_of(listed)
    assert text.index("waiting one") < text.index("finished one")
    assert f"/{done['id']})" in text
    assert labels_of(listed) == ["Cancel", "Details", "Show", "Details"]
    await ada.press(listed, "Cancel")
    relisted = await ada.wait_for(lambda m: m["id"] == listed["id"] and "Cancel" not in labels_of(m))
    assert "Cancelled" in text_of(relisted)
    shown = await press(ada, relisted, "Show")
    assert len(pictures_of(shown)) == 1


async def test_deleting_from_a_shown_card_takes_the_public_message_too(stage: Stage, ada: Person) -> None:
    done = await draw(stage, ada, prompt="a", count=1)
    listed = await ada.response(await ada.command("jobs"))
    shown = await press(ada, listed, "Show")
    await ada.press(shown, "Delete")
    await ada.wait_gone(shown["id"])
    await ada.wait_gone(done["id"])
    answer = await press(ada, listed, "Show")
    assert "was deleted" in text_of(answer)


async def test_help_shows_models_with_their_licence(ada: Person) -> None:
    told = await ada.response(await ada.command("help"))
    assert is_private(told)
    assert "Non-commercial licence" in text_of(told)
    assert "--ar 16:9" in text_of(told)


async def test_autocomplete_offers_models_and_ones_own_prompts(stage: Stage, ada: Person, linus: Person) -> None:
    models = await ada.autocomplete("imagine", "model", "dev")
    assert [choice["value"] for choice in models] == ["flux-dev"]
    assert "Non-commercial" in models[0]["name"]
    await order(stage, ada, prompt="a lighthouse at dusk")
    await order(stage, ada, prompt="a lion")
    assert [c["value"] for c in await ada.autocomplete("imagine", "prompt", "a li")] == [
        "a lion",
        "a lighthouse at dusk",
    ]
    assert await linus.autocomplete("imagine", "prompt", "a li") == []


async def test_admin_is_checked_on_the_server(stage: Stage, ada: Person) -> None:
    with pytest.raises(driver.Refused, match="permission"):
        await ada.command("admin queue pause")
    # A server's owner can let anybody see the command; that alone must not be enough.
    group = stage.sandbox.world.commands.named("admin", 1)
    assert group is not None
    group["default_member_permissions"] = None
    for command, options in (
        ("admin quota grant", {"member": ada.id, "credits": 5.0}),
        ("admin queue pause", {}),
        ("admin queue resume", {}),
        ("admin queue pause", {"everywhere": True}),
    ):
        answer = await ada.response(await ada.command(command, **options))
        assert "Manage Server" in text_of(answer) or "bot's owner" in text_of(answer), command
        assert is_private(answer)
    assert await stage.studio.line.stops(None) == []
    assert (await stage.studio.quota(account_of(ada))).granted == 0


async def test_the_owner_grants_pauses_and_resumes(stage: Stage, ada: Person, grace: Person) -> None:
    told = await grace.response(await grace.command("admin quota grant", member=ada.id, credits=5.5, reason="a prize"))
    assert "5.5 credits" in text_of(told)
    assert (await stage.studio.quota(account_of(ada))).granted == 5500
    waiting = await order(stage, ada, prompt="early bird")
    await grace.response(await grace.command("admin queue pause", reason="Cleaning up"))
    await ada.wait_for(lambda m: m["id"] == waiting["id"] and "paused drawing" in text_of(m))
    refusal = await ask(ada, prompt="a")
    assert "paused new pictures" in text_of(refusal)
    assert "Cleaning up" in text_of(refusal)
    assert is_private(refusal)
    await grace.response(await grace.command("admin queue resume"))
    await ask(ada, prompt="a")
    assert (await stage.easel.take()).state is JobState.RUNNING


async def test_a_crowd_is_served(stage: Stage, ada: Person, linus: Person) -> None:
    async with stage.easel.painting():
        people = [ada, linus] * 5
        firsts = await asyncio.gather(*(ask(p, prompt=f"number {n}", count=1) for n, p in enumerate(people)))
        await asyncio.gather(*(finished(p, f["id"]) for p, f in zip(people, firsts, strict=True)))
    await outbox_empty(stage)


async def test_a_crash_after_posting_does_not_post_twice(
    stage: Stage, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask(ada, prompt="late", count=1)
    job = await stage.easel.take()
    stage.sandbox.inject(expire_tokens=True)
    posted = asyncio.Event()

    async def never(_: str) -> None:
        posted.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(delivery, "LEASE", 0.2)
    with monkeypatch.context() as crash:
        crash.setattr(stage.studio, "delivered", never)
        await stage.easel.finish(job)
        await asyncio.wait_for(posted.wait(), 30)
        await stage.kill_bot()
    assert (await stage.studio.job(job.id)).delivered_at is None
    await stage.start_bot()
    await delivered(stage, job.id)
    assert sum("this took a while" in text_of(message) for message in await ada.messages()) == 1


@pytest.mark.parametrize("kind", ["resume", "reconnect", "invalid"])
async def test_a_dropped_gateway_costs_nothing(stage: Stage, ada: Person, kind: str) -> None:
    first = await ask(ada, prompt="a", count=1)
    stage.sandbox.inject(drop_gateway=kind)
    await stage.easel.finish(await stage.easel.take())
    done = await finished(ada, first["id"])
    async with asyncio.timeout(90):
        while True:
            try:
                answer = await ada.response(await ada.command("quota"), within=4)
            except (AssertionError, TimeoutError, driver.Refused):
                await asyncio.sleep(0.2)
            else:
                break
    assert "credits left" in text_of(answer)
    await press(ada, done, "Details")


@pytest.mark.parametrize("limits", [Limits(attachment_bytes=60_000)])
async def test_pictures_are_made_to_fit_the_upload_limit(stage: Stage, ada: Person, limits: Limits) -> None:
    first = await ask(ada, prompt="noise", count=2, format="png")
    job = await stage.easel.take()
    await stage.easel.finish(job, noisy=True)
    assert all(picture.size > limits.attachment_bytes for picture in await stage.studio.pictures(job.id))
    done = await finished(ada, first["id"])
    assert len(pictures_of(done)) == 2
    assert all(one["size"] <= limits.attachment_bytes for one in done["attachments"])
    assert all(one["filename"].endswith(".webp") for one in done["attachments"])


async def test_a_real_worker_draws(stage: Stage, ada: Person) -> None:
    easel = stage.easel
    await easel.queue.retire("easel")
    provider = ScriptedProvider(stage.settings.catalogue, step_seconds=0.3, script=[None, OutOfMemory()])
    worker = Worker(
        easel.queue,
        easel.store,
        provider,
        worker_id="w",
        changed=stage.studio.changed,
        lease_seconds=30,
        preview_every=1,
    )
    stop = asyncio.Event()
    working = asyncio.create_task(worker.run(stop))
    first = await ask(ada, prompt="a", steps=8, count=1, seed=5)
    drawing = await ada.wait_for(lambda m: m["id"] == first["id"] and "of 8" in text_of(m) and pictures_of(m))
    assert labels_of(drawing) == ["Cancel"]
    done = await finished(ada, first["id"])
    assert len(pictures_of(done)) == 1
    second = await ask(ada, prompt="b", steps=2, count=1)
    await ada.wait_for(lambda m: m["id"] == second["id"] and "memory" in text_of(m))
    third = await ask(ada, prompt="c", steps=40, count=1, model="flux-dev")
    third = await ada.wait_for(lambda m: m["id"] == third["id"] and "of 40" in text_of(m))
    await ada.press(third, "Cancel")
    await ada.wait_for(lambda m: m["id"] == third["id"] and "Cancelled." in text_of(m))
    stop.set()
    await asyncio.wait_for(working, 30)
