"""The buttons under a card, pressed by its member, by others and by forgers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import discord
import pytest

from bot.interactions.controls import visible
from bot.sandbox.driver import Person
from bot.sandbox.reading import labels_of, text_of
from flux_core.database.audit import Wanted
from flux_core.errors import JobNotFound
from flux_core.preferences import Preferences
from tests.bot.conftest import Stage
from tests.bot.scenes import FORGED_JOB, account_of, ask, draw, finished, is_private, press, spent


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
    # What a moderator does to others is in the log; what members do with their own is not.
    await ada.press(await draw(stage, ada, prompt="b", count=1), "Delete")
    [entry] = (await stage.studio.audit.page(Wanted(guild_id=job.account.guild_id))).entries
    assert (entry.action, entry.by, entry.target) == ("job delete", int(grace.id), int(ada.id))
    assert entry.facts == {"job": job.id}


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


async def test_a_job_is_known_to_its_member_and_in_its_channel(stage: Stage, ada: Person, linus: Person) -> None:
    await draw(stage, ada, prompt="a", count=1)
    [job] = await stage.studio.jobs_of(account_of(ada), active_only=False)
    assert job.reply_to is not None
    guild, channel = job.account.guild_id, job.reply_to.channel_id

    def at(person: Person, guild_id: int | None, channel_id: int) -> Any:
        user = SimpleNamespace(id=int(person.id))
        return SimpleNamespace(
            user=user, guild_id=guild_id, channel_id=channel_id, permissions=discord.Permissions.all()
        )

    for known in (at(ada, guild, channel), at(ada, guild, 1), at(ada, None, 1), at(linus, guild, channel)):
        assert (await visible(stage.studio, known, job.id)).id == job.id
    # Not even moderators of another server or channel reach it, whatever a button of theirs says.
    for unknown in (
        at(linus, guild, 1),
        at(linus, guild + 1, channel),
        at(linus, None, channel),
        at(ada, guild + 1, 1),
    ):
        with pytest.raises(JobNotFound):
            await visible(stage.studio, unknown, job.id)


async def test_ones_own_wish_for_privacy_holds_for_buttons_on_others_pictures(
    stage: Stage, ada: Person, linus: Person
) -> None:
    for person in (ada, linus):
        await stage.studio.personal.set_preferences(account_of(person), lambda _: Preferences(private=True))
    done = await draw(stage, ada, prompt="a", count=1, private=False)
    assert is_private(await press(linus, await linus.wait_for(lambda m: m["id"] == done["id"]), "V1"))
    # Of one's own picture one has said already how it shall be shown.
    assert not is_private(await press(ada, done, "Reroll"))


async def test_the_message_of_deleted_pictures_goes_whatever_discord_says_first(
    stage: Stage, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(_: object) -> None:
        response: Any = SimpleNamespace(status=500, reason="Internal Server Error")
        raise discord.DiscordServerError(response, "not now")

    done = await draw(stage, ada, prompt="a", count=1)
    monkeypatch.setattr(discord.Interaction, "delete_original_response", refused)
    await ada.press(done, "Delete")
    await ada.wait_gone(done["id"])
