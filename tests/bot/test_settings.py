"""/settings, and what becomes of them in /imagine."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from bot.sandbox.driver import Person
from bot.sandbox.reading import RawMessage, text_of
from flux_core.errors import StorageUnavailable
from flux_core.jobs import Job
from flux_core.policy.guild import ChannelRule, Defaults, GuildPolicy, Limits
from flux_core.preferences import NOTHING_SET, Preferences
from tests.bot.conftest import Stage
from tests.bot.scenes import account_of, ask, is_private, order

GRACE = 1
imagine = sys.modules["bot.commands.imagine"]
"""The module: its package calls the command so."""


async def settings(person: Person, command: str = "show", **options: Any) -> RawMessage:
    return await person.response(await person.command(f"settings {command}", **options))


async def kept(stage: Stage, person: Person) -> Preferences:
    return await stage.studio.personal.preferences(account_of(person))


async def decide(stage: Stage, person: Person, **parts: Any) -> None:
    """Have the moderators decide something."""
    await stage.studio.policies.change(
        account_of(person).guild_id, lambda _: GuildPolicy(**parts), by=GRACE, action="policy import"
    )


async def channel_id(person: Person, name: str) -> int:
    return int(next(one["id"] for one in (await person.world())["channels"] if one["name"] == name))


async def ordered(stage: Stage, person: Person, **options: Any) -> Job:
    await order(stage, person, **options)
    return (await stage.studio.jobs_of(account_of(person)))[0]


async def test_settings_hold_until_they_are_reset(stage: Stage, ada: Person, linus: Person) -> None:
    shown = await settings(ada)
    assert is_private(shown)
    assert "**Model:** flux-tiny · the studio's default" in text_of(shown)
    told = await settings(ada, "set", model="flux-dev", aspect="16:9", count=2, format="png", private=True)
    assert "Saved: **Model**, **Aspect**, **Count**, **Format**, **Private**." in text_of(told)
    assert r"FLUX.1 \[dev\] · your own setting" in text_of(told)
    job = await ordered(stage, ada, prompt="a fox")
    assert (job.request.model, job.request.count, job.request.output_format) == ("flux-dev", 2, "png")
    assert job.request.width > job.request.height
    assert job.reply_to is not None
    assert job.reply_to.private
    assert not job.notify
    # Whatever is typed goes first, as an option or as a flag.
    shown = await ask(ada, prompt="a fox --n 1 --model flux-tiny", aspect="1:1", private=False)
    assert not is_private(shown)
    job = (await stage.studio.jobs_of(account_of(ada)))[0]
    assert (job.request.model, job.request.count) == ("flux-tiny", 1)
    assert job.request.width == job.request.height
    # They are hers alone.
    assert (await ordered(stage, linus, prompt="a fox")).request.model == "flux-tiny"
    told = await settings(ada, "reset", setting="count")
    assert "**Count** is forgotten." in text_of(told)
    assert (await kept(stage, ada)).count is None
    assert "Forgotten." in text_of(await settings(ada, "reset"))
    assert await kept(stage, ada) == NOTHING_SET


async def test_settings_outlive_the_bot(stage: Stage, ada: Person) -> None:
    await ada.response(await ada.command("settings set", count=3))
    await stage.stop_bot()
    await stage.start_bot()
    shown = await ada.response(await ada.command("settings show"))
    assert "**Count:** 3 · your own setting" in text_of(shown)
    told = await ada.response(await ada.command("settings reset", setting="count"))
    assert "**Count:** 4 · the studio's default" in text_of(told)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "Name at least one setting"),
        ({"model": "flux-9000"}, "There is no model “flux-9000” here."),
        ({"model": "flux-pro-1.1"}, "There is no model"),
        ({"count": 0}, "`count` can be 1 to 4 here, not 0."),
        ({"count": 10**9}, "`count` can be 1 to 4 here"),
        ({"count": 3}, "you can have up to 2 at once here"),
        ({"model": "flux-dev", "count": 1}, "You can't use `flux-dev` in this server. You can use"),
    ],
)
async def test_settings_that_cannot_be(stage: Stage, ada: Person, options: dict[str, Any], sentence: str) -> None:
    await decide(stage, ada, models_denied=("flux-dev",), everybody=Limits(max_count=2))
    told = await settings(ada, "set", **options)
    assert sentence in text_of(told)
    assert is_private(told)
    assert await kept(stage, ada) == NOTHING_SET


async def test_nothing_to_change_is_said(stage: Stage, ada: Person) -> None:
    assert "you have not set anything" in text_of(await settings(ada, "reset"))
    await settings(ada, "set", notify=False)
    assert "That is so already." in text_of(await settings(ada, "set", notify=False))
    assert "you have not set **Model**" in text_of(await settings(ada, "reset", setting="model"))
    assert await kept(stage, ada) == Preferences(notify=False)


async def test_the_model_list_offers_what_this_member_may_use(stage: Stage, ada: Person) -> None:
    async def offered() -> list[str]:
        return [choice["value"] for choice in await ada.autocomplete("settings set", "model", "")]

    assert sorted(await offered()) == ["flux-dev", "flux-schnell", "flux-tiny"]
    await decide(stage, ada, models_denied=("flux-dev",), everybody=Limits(models=("flux-dev", "flux-tiny")))
    assert await offered() == ["flux-tiny"]
    assert [choice["value"] for choice in await ada.autocomplete("imagine", "model", "")] == ["flux-tiny"]


async def test_a_channel_has_defaults_of_its_own(stage: Stage, ada: Person) -> None:
    rule = ChannelRule(
        channel_id=await channel_id(ada, "studio"),
        defaults=Defaults(model="flux-schnell", count=1, steps=3, aspect="3:2", spoiler=True),
    )
    await decide(stage, ada, channels=(rule,))
    job = await ordered(stage, ada, prompt="a fox")
    assert (job.request.model, job.request.count, job.request.steps) == ("flux-schnell", 1, 3)
    assert job.reply_to is not None
    assert job.reply_to.spoiler
    await settings(ada, "set", model="flux-dev", count=2)
    shown = text_of(await settings(ada))
    assert "**Aspect:** 3\\:2 · this channel's default" in shown
    assert "**Count:** 2 · your own setting" in shown
    # The steps were meant for the channel's own model.
    job = await ordered(stage, ada, prompt="a fox")
    assert (job.request.model, job.request.count, job.request.steps) == ("flux-dev", 2, 28)
    ada.channel = "general"
    job = await ordered(stage, ada, prompt="a fox")
    assert (job.request.model, job.request.count) == ("flux-dev", 2)
    shown = text_of(await settings(ada))
    assert "**Aspect:** 1\\:1 · the studio's default" in shown


async def test_a_setting_that_is_denied_by_now_gives_way(stage: Stage, ada: Person) -> None:
    await settings(ada, "set", model="flux-dev", count=4)
    await decide(stage, ada, models_denied=("flux-dev",), everybody=Limits(max_count=2))
    shown = text_of(await settings(ada))
    assert "**Model:** flux-tiny · the studio's default (your setting flux-dev can't be had here)" in shown
    assert "**Count:** 2 · the studio's default (your setting 4 can't be had here)" in shown
    job = await ordered(stage, ada, prompt="a fox")
    assert (job.request.model, job.request.count) == ("flux-tiny", 2)


async def test_lists_go_on_when_settings_cannot_be_read(
    stage: Stage, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> Any:
        raise StorageUnavailable("away")

    monkeypatch.setattr(stage.studio.personal, "permitted", away)
    monkeypatch.setattr(stage.studio.personal, "circumstances", away)
    assert len(await ada.autocomplete("imagine", "model", "")) == 3
    assert len(await ada.autocomplete("settings set", "model", "")) == 3
    assert [choice["value"] for choice in await ada.autocomplete("imagine", "provider", "")] == ["local"]
    assert "can't reach my storage" in text_of(await settings(ada))


async def test_an_order_whose_privacy_is_not_known_in_time_is_refused(
    stage: Stage, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(imagine, "KNOWN_WITHIN", 0.05)
    monkeypatch.setattr(stage.studio.personal, "circumstances", never)
    told = await ask(ada, prompt="a secret")
    assert is_private(told)
    assert "took too long" in text_of(told)
    assert await stage.studio.live_jobs() == []
