"""Pictures that are not for everybody, as members meet them."""

from __future__ import annotations

from typing import Any

from bot.sandbox.community import GUILD_ID
from bot.sandbox.driver import Person
from bot.sandbox.reading import RawMessage, pictures_of, text_of
from flux_core.policy.guild import GuildPolicy
from tests.bot.conftest import Stage
from tests.bot.scenes import ask, finished, spent

GUILD = int(GUILD_ID)


async def decide(stage: Stage, **output: Any) -> None:
    policy = GuildPolicy.model_validate({"output": output})
    await stage.studio.policies.change(GUILD, lambda _: policy, by=1, action="moderation output")


def spoilers_in(message: RawMessage) -> list[bool]:
    boxes = [part for part in message["components"] for part in part.get("components", [])]
    return [item["spoiler"] for part in boxes if part["type"] == 12 for item in part["items"]]


async def test_what_is_not_for_a_channel_is_refused_with_a_word_where_it_would_do(stage: Stage, ada: Person) -> None:
    first = await ask(ada, prompt="a beach", count=2)
    await stage.easel.step(job := await stage.easel.take(), 1, preview=True)
    await stage.easel.finish(job, unsafe=0.93)
    refused = await ada.wait_for(lambda m: m["id"] == first["id"] and "not for this channel" in text_of(m))
    assert "An age-restricted channel would show it. Your credits are back." in text_of(refused)
    assert pictures_of(refused) == []
    assert await spent(stage, ada) == 0
    assert await stage.studio.pictures(job.id) == []


async def test_an_age_restricted_channel_shows_it(stage: Stage) -> None:
    async with stage.person("Ada", "age-restricted") as ada:
        first = await ask(ada, prompt="a beach", count=1)
        await stage.easel.finish(await stage.easel.take(), unsafe=0.93)
        shown = await finished(ada, first["id"])
        assert len(pictures_of(shown)) == 1
        assert spoilers_in(shown) == [False]


async def test_a_strict_server_refuses_it_there_too(stage: Stage) -> None:
    await decide(stage, action="refuse", threshold=0.9)
    async with stage.person("Ada", "age-restricted") as ada:
        first = await ask(ada, prompt="a beach", count=1)
        await stage.easel.finish(await stage.easel.take(), unsafe=0.93)
        refused = await ada.wait_for(lambda m: m["id"] == first["id"] and "not for this channel" in text_of(m))
        assert "An age-restricted channel" not in text_of(refused)


async def test_a_spoiler_hides_it_until_clicked(stage: Stage, ada: Person) -> None:
    await decide(stage, action="spoiler")
    for unsafe, hidden in ((0.93, True), (0.5, False), (None, False)):
        first = await ask(ada, prompt="a beach", count=1)
        await stage.easel.finish(await stage.easel.take(), unsafe=unsafe)
        assert spoilers_in(await finished(ada, first["id"])) == [hidden]
