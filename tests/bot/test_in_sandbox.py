"""Members use the bot: over real sockets, through discord.py, down to the database."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import pytest
from PIL import Image

from bot import delivery
from bot.sandbox import driver
from bot.sandbox.community import GUILD_ID
from bot.sandbox.driver import Person
from bot.sandbox.reading import RawMessage, labels_of, pictures_of, text_of
from bot.sandbox.world import Limits
from flux_core.errors import OutOfMemory, Refused
from flux_core.jobs import Account, Job, JobState
from flux_core.providers.scripted import ScriptedProvider
from flux_core.worker import Worker
from tests.bot.conftest import Stage

FORGED_JOB = "0123456789abcdef01234567"


def account_of(person: Person) -> Account:
    return Account(int(GUILD_ID), int(person.id))


async def spent(stage: Stage, person: Person) -> int:
    return (await stage.studio.quota(account_of(person))).spent_today


def is_private(message: RawMessage) -> bool:
    return bool(message["flags"] & 64)


async def ask(person: Person, **options: Any) -> RawMessage:
    return await person.response(await person.command("imagine", **options))


async def draw(stage: Stage, person: Person, **options: Any) -> RawMessage:
    """Ask for pictures and wait until they are there."""
    first = await ask(person, **options)
    await stage.easel.finish(await stage.easel.take())
    return await finished(person, first["id"])


async def finished(person: Person, message_id: str) -> RawMessage:
    return await person.wait_for(lambda m: m["id"] == message_id and "Details" in labels_of(m))


async def order(stage: Stage, person: Person, **options: Any) -> RawMessage:
    """Ask, and wait until the job is in the queue, which is a moment after the acknowledgement."""
    first = await ask(person, **options)
    version = None
    async with asyncio.timeout(5):
        while first["id"] not in [str(one.job.reply_to.message_id) for one in await stage.studio.live_jobs()]:  # type: ignore[union-attr]
            version = await stage.studio.changed(version, 1)
    return first


async def delivered(stage: Stage, job_id: str) -> Job:
    """Wait until the database knows that Discord has the answer, which is a moment after members see it."""
    version = None
    async with asyncio.timeout(5):
        while (job := await stage.studio.job(job_id)).delivered_at is None:
            version = await stage.studio.changed(version, 1)
    return job


async def outbox_empty(stage: Stage) -> None:
    version = None
    async with asyncio.timeout(5):
        while await stage.studio.live_jobs():
            version = await stage.studio.changed(version, 1)


async def press(person: Person, message: RawMessage, button: str) -> RawMessage:
    return await person.response(await person.press(message, button))


def png(width: int = 96, height: int = 64, colour: str = "red") -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(data, "PNG")
    return data.getvalue()


# Drawing


async def test_imagine_posts_pictures(stage: Stage, ada: Person) -> None:
    first = await ask(ada, prompt="a red circle", seed=7, count=2)
    assert "Getting ready" in text_of(first)
    job = await stage.easel.take()
    assert job.request.seeds == range(7, 9)
    await stage.easel.finish(job)
    done = await finished(ada, first["id"])
    assert "a red circle" in text_of(done)
    assert "seed 7" in text_of(done)
    assert f"<@{ada.id}>" in text_of(done)
    assert labels_of(done) == ["V1", "V2", "Reroll", "Details", "Delete"]
    pictures = [Image.open(io.BytesIO(await ada.download(url))) for url in pictures_of(done)]
    assert [picture.size for picture in pictures] == [(512, 512)] * 2
    job = await delivered(stage, job.id)
    assert job.reply_to is not None
    assert job.reply_to.interaction_token == ""


async def test_the_message_tells_turn_then_progress_with_a_preview(stage: Stage, ada: Person) -> None:
    first = await order(stage, ada, prompt="one")
    second = await order(stage, ada, prompt="two")
    await ada.wait_for(lambda m: m["id"] == second["id"] and "2nd in the queue" in text_of(m))
    job = await stage.easel.take()
    await stage.easel.step(job, 3, preview=True)
    drawing = await ada.wait_for(lambda m: m["id"] == first["id"] and "step 3 of 8" in text_of(m))
    assert len(pictures_of(drawing)) == 1
    assert labels_of(drawing) == ["Cancel"]
    await stage.easel.step(job, 6, preview=True)
    later = await ada.wait_for(lambda m: m["id"] == first["id"] and "step 6 of 8" in text_of(m))
    assert pictures_of(later) != pictures_of(drawing)
    assert len(later["attachments"]) == 1
    await ada.wait_for(lambda m: m["id"] == second["id"] and "Next in the queue" in text_of(m))
    await stage.easel.finish(job)
    done = await finished(ada, first["id"])
    assert len(done["attachments"]) == len(pictures_of(done)) == 4


async def test_every_option_reaches_the_job(stage: Stage, ada: Person) -> None:
    await ask(
        ada,
        prompt="a boat",
        model="flux-dev",
        aspect="16:9",
        steps=5,
        guidance=2.5,
        seed=11,
        count=1,
        format="png",
        spoiler=True,
    )
    job = await stage.easel.take()
    request = job.request
    assert (request.model, request.steps, request.guidance, request.seed) == ("flux-dev", 5, 2.5, 11)
    assert (request.width, request.height, request.count, request.output_format) == (1360, 768, 1, "png")
    assert job.reply_to is not None
    assert job.reply_to.spoiler
    await stage.easel.finish(job)
    done = await ada.wait_for(lambda m: "Details" in labels_of(m))
    gallery = next(c for c in done["components"][0]["components"] if c["type"] == 12)
    assert [item["spoiler"] for item in gallery["items"]] == [True]


async def test_flags_in_the_prompt_reach_the_job(stage: Stage, ada: Person) -> None:
    await ask(ada, prompt="a boat —ar 2:3 --seed 5 –n 1 --steps 20 --model “flux-schnell” --steps 20 at sea", steps=20)
    refusal = await ada.wait_for(is_private)
    assert "`steps` can be 1 to 12" in text_of(refusal)
    await ask(ada, prompt="a boat —ar 2:3 --seed 5 –n 1 --steps 4 --model “flux-schnell” at sea", steps=4)
    request = (await stage.easel.take()).request
    assert request.prompt == "a boat at sea"
    assert (request.model, request.seed, request.count, request.steps) == ("flux-schnell", 5, 1, 4)
    assert request.width < request.height


async def test_an_uploaded_picture_is_the_start(stage: Stage, ada: Person) -> None:
    image = await ada.upload(png(200, 100), "shot.png")
    await ask(ada, prompt="a flag", image=image, strength=0.3, count=1)
    request = (await stage.easel.take()).request
    assert request.strength == 0.3
    assert request.input_picture is not None
    assert (request.input_picture.width, request.input_picture.height) == (200, 100)
    assert request.width == 2 * request.height
    kept = await stage.studio.picture_bytes(request.input_picture.key)
    assert Image.open(io.BytesIO(kept)).getpixel((0, 0)) == (255, 0, 0)


# Refusals: private, and nothing is charged

REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"prompt": "\u200b"}, "nothing to draw yet"),
    ({"prompt": "--seed 4"}, "nothing to draw yet"),
    ({"prompt": "x" * 2001}, "2,001 characters; I can read up to 2,000"),
    ({"prompt": "a", "model": "flux-ultra"}, "There is no model “flux-ultra” here"),
    ({"prompt": "a", "model": "flux-dev", "steps": 51}, "`steps` can be 1 to 50 here, not 51"),
    ({"prompt": "a", "model": "flux-dev", "steps": 0}, "`steps` can be 1 to 50 here, not 0"),
    ({"prompt": "a", "count": 5}, "`count` can be 1 to 4 here, not 5"),
    ({"prompt": "a", "seed": -1}, "`seed` can be 0 to 4294967295 here, not -1"),
    ({"prompt": "a", "model": "flux-dev", "guidance": 0.5}, "`guidance` can be 1 to 10 here, not 0.5"),
    ({"prompt": "a", "strength": 0.5}, "there is none"),
    ({"prompt": "a", "size": "big"}, "I can't read the size “big”"),
    ({"prompt": "a", "size": "1000x1000", "model": "flux-dev"}, "must be multiples of 16"),
    ({"prompt": "a", "size": "64x64", "model": "flux-dev"}, "each side needs at least 256 pixels"),
    ({"prompt": "a", "size": "2048x2048", "model": "flux-dev"}, "at most 2 megapixels in all"),
    ({"prompt": "a", "size": "1024x1024", "aspect": "16:9", "model": "flux-dev"}, "don't fit together"),
    ({"prompt": "a --style raw"}, "I don't know the flag `--style`"),
    ({"prompt": "a --sed 3"}, "Did you mean `--seed`?"),
    ({"prompt": "a --steps many"}, "`--steps` needs a whole number, but it says “many”"),
    ({"prompt": "a --ar"}, "`--ar` needs a value behind it, for example `--ar 16:9`"),
    ({"prompt": "a --ar 5:7"}, r"I don't know the aspect “5\:7”"),
    ({"prompt": "a --seed 3", "seed": 4}, "The option `seed` says “4”, but the flag in your prompt says “3”"),
    ({"prompt": "a --format bmp"}, "I can't save pictures as “bmp”"),
]


async def test_impossible_requests_are_refused_privately(stage: Stage, ada: Person) -> None:
    for options, sentence in REFUSALS:
        answer = await ask(ada, **options)
        assert sentence in text_of(answer), options
        assert is_private(answer), options
    assert await spent(stage, ada) == 0
    assert await stage.studio.live_jobs() == []


BAD_FILES: list[tuple[bytes, str, str]] = [
    (b"", "empty.png", "empty"),
    (b"hello, this is text", "renamed.png", "no picture I can read"),
    (png(800, 800)[:900], "truncated.png", "damaged or cut off"),
    (b"%PDF-1.7", "paper.pdf", "no picture I can read"),
]


@pytest.mark.parametrize(("data", "name", "sentence"), BAD_FILES, ids=[name for _, name, _ in BAD_FILES])
async def test_bad_pictures_are_refused_privately(
    stage: Stage, ada: Person, data: bytes, name: str, sentence: str
) -> None:
    image = await ada.upload(data, name)
    asked = await ada.command("imagine", prompt="a", image=image)
    refusal = await ada.wait_for(is_private)
    assert sentence in text_of(refusal)
    placeholder = (await ada.outcome(asked)).response_message_id
    if placeholder != refusal["id"]:
        assert placeholder is not None
        await ada.wait_gone(placeholder)
    assert await spent(stage, ada) == 0
    assert await stage.studio.live_jobs() == []


@pytest.mark.parametrize("overrides", [{"max_upload_bytes": 2000, "max_upload_pixels": 10_000}])
async def test_too_large_pictures_are_refused_privately(stage: Stage, ada: Person, overrides: dict[str, Any]) -> None:
    heavy = await ada.upload(png(96, 64) + bytes(3000), "heavy.png")
    assert "file of" in text_of(await ask(ada, prompt="a", image=heavy))
    bomb = await ada.upload(png(200, 100), "bomb.png")
    await ada.command("imagine", prompt="a", image=bomb)
    await ada.wait_for(lambda m: is_private(m) and "200×100 pixels" in text_of(m))
    assert await spent(stage, ada) == 0


@pytest.mark.parametrize("overrides", [{"daily_allowance": 1.0, "max_waiting": 2}])
async def test_spent_quota_and_full_queue_are_refused_privately(
    stage: Stage, ada: Person, overrides: dict[str, Any]
) -> None:
    refusal = await ask(ada, prompt="a", model="flux-dev", count=1)
    assert "This costs 7 credits and you have 1 credit left" in text_of(refusal)
    assert "<t:" in text_of(refusal)
    assert is_private(refusal)
    for _ in range(2):
        await order(stage, ada, prompt="a", steps=1, count=1)
    refusal = await ask(ada, prompt="a", steps=1, count=1)
    assert "2 jobs waiting" in text_of(refusal)
    assert is_private(refusal)


async def test_a_channel_without_permission_is_named_before_anything_happens(stage: Stage, ada: Person) -> None:
    refusal = await ada.response(await ada.command("imagine", prompt="a", channel="read-only"))
    assert "**Send Messages**" in text_of(refusal)
    assert is_private(refusal)
    stage.sandbox.inject(deny=["ATTACH_FILES"])
    refusal = await ask(ada, prompt="a", private=True)
    assert "**Attach Files**" in text_of(refusal)
    assert await spent(stage, ada) == 0


# Buttons


async def test_reroll_draws_anew_on_the_account_of_whoever_presses(stage: Stage, ada: Person, linus: Person) -> None:
    done = await draw(stage, ada, prompt="a tree", seed=3, count=1)
    before = await spent(stage, ada)
    answer = await press(linus, await linus.wait_for(lambda m: m["id"] == done["id"]), "Reroll")
    job = await stage.easel.take()
    assert job.account.user_id == int(linus.id)
    assert job.parent_id is not None
    assert job.request.seed != 3
    assert job.request.model_copy(update={"seed": 3}) == (await stage.studio.job(job.parent_id)).request
    await stage.easel.finish(job)
    again = await finished(ada, answer["id"])
    assert again["id"] != done["id"]
    assert (await spent(stage, ada), await spent(stage, linus)) == (before, job.cost)


async def test_a_variation_starts_from_its_picture_and_remembers_it(stage: Stage, ada: Person) -> None:
    done = await draw(stage, ada, prompt="a tree", count=2)
    answer = await press(ada, done, "V2")
    job = await stage.easel.take()
    assert job.parent_id is not None
    parent = await stage.studio.pictures(job.parent_id)
    assert job.parent_position == 1
    assert job.request.input_picture is not None
    assert job.request.input_picture.key == parent[1].key
    assert job.request.strength == 0.6
    await stage.easel.finish(job)
    varied = await finished(ada, answer["id"])
    told = text_of(await press(ada, varied, "Details"))
    assert f"picture 2 of [this job](https://discord.com/channels/{done['guild_id']}" in told
    assert done["id"] in told


async def test_details_tell_everything_privately(stage: Stage, ada: Person) -> None:
    done = await draw(stage, ada, prompt="a `tree` *with* ```fence", seed=41, count=2, model="flux-dev")
    details = await press(ada, done, "Details")
    text = text_of(details)
    assert is_private(details)
    for part in (
        "41, 42",
        "FLUX.1",
        "non-commercial use only",
        "14 credits",
        "28 steps",
        "Guidance",
        "a `tree` *with*",
    ):
        assert part in text


async def test_cancel_gives_the_credits_back(stage: Stage, ada: Person, linus: Person) -> None:
    waiting = await ask(ada, prompt="a")
    waiting = await ada.wait_for(lambda m: m["id"] == waiting["id"] and "Cancel" in labels_of(m))
    seen = await linus.wait_for(lambda m: m["id"] == waiting["id"])
    refusal = await press(linus, seen, "Cancel")
    assert "Only the member who asked" in text_of(refusal)
    assert is_private(refusal)
    await ada.press(waiting, "Cancel")
    await ada.wait_for(lambda m: m["id"] == waiting["id"] and "Cancelled." in text_of(m))
    assert await spent(stage, ada) == 0


async def test_cancel_of_a_running_job_ends_it_when_the_worker_hears(stage: Stage, ada: Person, grace: Person) -> None:
    first = await ask(ada, prompt="a")
    job = await stage.easel.take()
    await stage.easel.step(job, 1)
    drawing = await grace.wait_for(lambda m: m["id"] == first["id"] and "Cancel" in labels_of(m))
    await grace.press(drawing, "Cancel")
    await ada.wait_for(lambda m: m["id"] == first["id"] and "Cancelling…" in text_of(m))
    assert await stage.easel.queue.heartbeat("easel", [job.id]) == {job.id: True}
    await stage.easel.queue.cancelled("easel", job.id)
    await ada.wait_for(lambda m: m["id"] == first["id"] and "Cancelled." in text_of(m))


async def test_delete_belongs_to_the_owner_and_moderators(
    stage: Stage, ada: Person, linus: Person, grace: Person
) -> None:
    done = await draw(stage, ada, prompt="a", count=1)
    refusal = await press(linus, await linus.wait_for(lambda m: m["id"] == done["id"]), "Delete")
    assert "Only the member who asked" in text_of(refusal)
    assert is_private(refusal)
    await grace.press(await grace.wait_for(lambda m: m["id"] == done["id"]), "Delete")
    await ada.wait_gone(done["id"])
    job = (await stage.studio.jobs_of(account_of(ada), active_only=False))[0]
    assert [picture.key for picture in await stage.studio.pictures(job.id)] == [None]


async def test_forged_buttons_get_a_sentence_and_nothing_else(stage: Stage, ada: Person) -> None:
    done = await draw(stage, ada, prompt="a", count=1)
    before = await spent(stage, ada)
    known = (await stage.studio.jobs_of(account_of(ada), active_only=False))[0].id
    for custom_id in (
        "flux:reroll:",
        f"flux:reroll:{FORGED_JOB}",
        f"flux:reroll:{known.upper()}",
        f"flux:vary:{known}:9",
        f"flux:vary:{known}",
        f"flux:admin:{known}",
        f"flux:reroll:{known}\n",
        f"flux:show:{known}",
        "'; DROP TABLE jobs; --",
    ):
        answer = await ada.response(await ada.forge(done, custom_id))
        assert "not one of mine" in text_of(answer), custom_id
        assert is_private(answer)
    assert await spent(stage, ada) == before
    assert await stage.studio.live_jobs() == []


# Whatever goes wrong


async def test_a_failed_job_says_why_and_can_be_tried_again(stage: Stage, ada: Person) -> None:
    first = await ask(ada, prompt="a")
    await stage.easel.fail(await stage.easel.take(), OutOfMemory())
    failed = await ada.wait_for(lambda m: m["id"] == first["id"] and "memory" in text_of(m))
    assert labels_of(failed) == ["Try again", "Details", "Delete"]
    assert await spent(stage, ada) == 0
    await press(ada, failed, "Try again")
    assert (await stage.easel.take()).parent_id is not None
    await ada.press(failed, "Delete")
    await ada.wait_gone(failed["id"])


async def test_a_refused_job_says_so(stage: Stage, ada: Person) -> None:
    first = await ask(ada, prompt="a")
    await stage.easel.fail(await stage.easel.take(), Refused(reason="house rules"))
    refused = await ada.wait_for(lambda m: m["id"] == first["id"] and "house rules" in text_of(m))
    assert labels_of(refused) == ["Details", "Delete"]


async def test_an_expired_token_leads_to_a_channel_message(stage: Stage, ada: Person, linus: Person) -> None:
    first = await ask(ada, prompt="late", count=1)
    job = await stage.easel.take()
    stage.sandbox.inject(expire_tokens=True)
    await stage.easel.finish(job)
    late = await ada.wait_for(lambda m: "this took a while" in text_of(m))
    assert late["id"] != first["id"]
    assert [user["id"] for user in late["mentions"]] == [ada.id]
    assert len(pictures_of(late)) == 1
    await ada.wait_gone(first["id"])
    await delivered(stage, job.id)
    await press(ada, late, "Details")


async def test_a_private_result_with_an_expired_token_goes_by_direct_message(stage: Stage, ada: Person) -> None:
    await ask(ada, prompt="late", count=1, private=True)
    job = await stage.easel.take()
    stage.sandbox.inject(expire_tokens=True)
    await stage.easel.finish(job)
    direct = await ada.wait_for(lambda m: "where I could not answer" in text_of(m))
    assert "guild_id" not in direct
    details = await press(ada, direct, "Details")
    assert "late" in text_of(details)
    await ada.press(direct, "Reroll")
    again = await stage.easel.take()
    assert again.account == job.account


async def test_what_cannot_be_delivered_waits_in_jobs(stage: Stage, ada: Person) -> None:
    await ask(ada, prompt="stranded", count=1, private=True)
    job = await stage.easel.take()
    stage.sandbox.inject(expire_tokens=True, closed_dms=True)
    await stage.easel.finish(job)
    await outbox_empty(stage)
    listed = await ada.response(await ada.command("jobs"))
    assert "not posted yet" in text_of(listed)
    shown = await press(ada, listed, "Show")
    assert is_private(shown)
    assert len(pictures_of(shown)) == 1
    await delivered(stage, job.id)


async def test_a_failure_that_cannot_be_told_is_read_in_jobs(stage: Stage, ada: Person) -> None:
    await ask(ada, prompt="stranded", private=True)
    job = await stage.easel.take()
    stage.sandbox.inject(expire_tokens=True, closed_dms=True)
    await stage.easel.fail(job, OutOfMemory())
    await outbox_empty(stage)
    assert (await stage.studio.job(job.id)).delivered_at is None
    listed = await ada.response(await ada.command("jobs"))
    assert "memory" in text_of(listed)
    await delivered(stage, job.id)


async def test_a_lost_private_message_is_not_posted_in_public(stage: Stage, ada: Person, linus: Person) -> None:
    await ask(ada, prompt="secret", count=1, private=True)
    job = await stage.easel.take()
    stage.sandbox.inject(expire_tokens=True, closed_dms=True)
    await stage.easel.finish(job)
    await outbox_empty(stage)
    assert all("secret" not in text_of(message) for message in await linus.messages())


async def test_a_restarted_bot_finishes_what_it_began(stage: Stage, ada: Person) -> None:
    first = await ask(ada, prompt="a", count=1)
    job = await stage.easel.take()
    await stage.easel.step(job, 2)
    await ada.wait_for(lambda m: m["id"] == first["id"] and "step 2 of 8" in text_of(m))
    await stage.kill_bot()
    await stage.easel.finish(job)
    await stage.start_bot()
    done = await finished(ada, first["id"])
    assert len(pictures_of(done)) == 1
    await press(ada, done, "Reroll")
    assert (await stage.easel.take()).parent_id == job.id
    assert sum(f"flux-{job.id}" in str(m["attachments"]) for m in await ada.messages()) == 1


async def test_the_bot_does_not_upload_its_commands_twice(stage: Stage) -> None:
    def uploads() -> int:
        return sum(one.method == "PUT" and one.path.endswith("/commands") for one in stage.sandbox.records)

    assert uploads() == 1
    await stage.stop_bot()
    await stage.start_bot()
    assert uploads() == 1


async def test_delivery_outlasts_faults_at_discord(stage: Stage, ada: Person) -> None:
    first = await ask(ada, prompt="a", count=1)
    job = await stage.easel.take()
    stage.sandbox.inject(rest_500=2, rest_429=1, retry_after=0.1)
    await stage.easel.finish(job)
    done = await ada.wait_for(lambda m: m["id"] == first["id"] and "Details" in labels_of(m), within=30)
    assert len(pictures_of(done)) == 1


async def test_a_deleted_message_is_posted_again_with_its_result(stage: Stage, ada: Person) -> None:
    first = await ask(ada, prompt="a", count=1)
    job = await stage.easel.take()
    await stage.bot.get_partial_messageable(int(first["channel_id"])).get_partial_message(int(first["id"])).delete()  # type: ignore[union-attr]
    await stage.easel.finish(job)
    done = await ada.wait_for(lambda m: "Details" in labels_of(m))
    assert done["id"] != first["id"]


async def test_unforeseen_errors_show_a_number_and_no_more(
    stage: Stage, ada: Person, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("the secret inside")

    monkeypatch.setattr(stage.studio, "quota", broken)
    answer = await ada.response(await ada.command("quota"))
    assert is_private(answer)
    assert "secret" not in text_of(answer)
    number = text_of(answer).split("`")[1]
    assert f"incident {number}" in caplog.text
    monkeypatch.setattr(stage.studio, "submit", broken)
    asked = await ada.command("imagine", prompt="a")
    await ada.wait_for(lambda m: is_private(m) and "went wrong" in text_of(m) and number not in text_of(m))
    placeholder = (await ada.outcome(asked)).response_message_id
    assert placeholder is not None
    await ada.wait_gone(placeholder)


# Private pictures


async def test_private_pictures_are_for_one_pair_of_eyes(stage: Stage, ada: Person, linus: Person) -> None:
    done = await draw(stage, ada, prompt="secret", count=1, private=True)
    assert is_private(done)
    public = await draw(stage, linus, prompt="open", count=1)
    job = next(j for j in await stage.studio.jobs_of(account_of(ada), active_only=False))
    assert all(message["id"] != done["id"] for message in await linus.messages())
    answer = await linus.response(await linus.forge(public, f"flux:details:{job.id}"))
    assert "secret" not in text_of(answer)
    again = await press(ada, done, "Reroll")
    assert is_private(again)
    await ada.press(done, "Delete")
    await ada.wait_gone(done["id"])


# Other commands


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
    assert labels_of(listed) == ["Cancel", "Show"]
    await ada.press(listed, "Cancel")
    relisted = await ada.wait_for(lambda m: m["id"] == listed["id"] and labels_of(m) == ["Show"])
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
        await ada.command("admin pause")
    # A server's owner can let anybody see the command; that alone must not be enough.
    group = stage.sandbox.world.commands.named("admin", 1)
    assert group is not None
    group["default_member_permissions"] = None
    for command, options in (
        ("admin grant", {"member": ada.id, "credits": 5.0}),
        ("admin pause", {}),
        ("admin resume", {}),
        ("admin pause", {"everywhere": True}),
    ):
        answer = await ada.response(await ada.command(command, **options))
        assert "Manage Server" in text_of(answer) or "bot's owner" in text_of(answer), command
        assert is_private(answer)
    assert await stage.studio.paused(None) is None
    assert (await stage.studio.quota(account_of(ada))).granted == 0


async def test_the_owner_grants_pauses_and_resumes(stage: Stage, ada: Person, grace: Person) -> None:
    told = await grace.response(await grace.command("admin grant", member=ada.id, credits=5.5, reason="a prize"))
    assert "5.5 credits" in text_of(told)
    assert (await stage.studio.quota(account_of(ada))).granted == 5500
    refusal = await grace.response(await grace.command("admin grant", member=ada.id, credits=0.0))
    assert "`credits` can be" in text_of(refusal)
    waiting = await order(stage, ada, prompt="early bird")
    await grace.response(await grace.command("admin pause", reason="Cleaning up"))
    await ada.wait_for(lambda m: m["id"] == waiting["id"] and "paused drawing" in text_of(m))
    refusal = await ask(ada, prompt="a")
    assert "paused new pictures" in text_of(refusal)
    assert "Cleaning up" in text_of(refusal)
    assert is_private(refusal)
    await grace.response(await grace.command("admin resume"))
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
        await asyncio.wait_for(posted.wait(), 10)
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
    async with asyncio.timeout(30):
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
    await asyncio.wait_for(working, 15)
