"""/admin moderation: where approvals go, what happens to pictures that are not for everybody, what files tell."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import discord
import pytest

from bot.commands.admin.moderation import GREETING
from bot.sandbox.community import GUILD_ID
from bot.sandbox.driver import Person
from bot.sandbox.reading import text_of
from flux_core.policy.guild import GuildPolicy, OutputRule, PromptRule
from tests.bot.conftest import Stage
from tests.bot.governing import decided, log, nothing_changes, open_admin, say

GUILD = int(GUILD_ID)


def channel(stage: Stage, name: str) -> str:
    (found,) = [one.id for one in stage.sandbox.world.community.channels.values() if one.name == name]
    return found


def posted(stage: Stage, name: str) -> list[str]:
    messages = stage.sandbox.world.community.channels[channel(stage, name)].messages
    return [text_of(message) for message in messages]


async def test_nothing_decided_is_told(stage: Stage, grace: Person) -> None:
    assert await say(grace, "moderation show") == (
        "### Moderation\n"
        "- Approvals and reports have no channel.\n"
        "- Pictures that are not for everybody (the check has to be 80% sure) are shown in age-restricted channels "
        "only; elsewhere they are refused. Here nothing looks at pictures but the hosted providers' own filters.\n"
        "- Picture files tell the prompt that they were drawn from.\n"
        "- 0 prompt rules: `/admin blocklist show`."
    )


async def test_the_moderators_channel_is_set_and_taken_away(stage: Stage, grace: Person) -> None:
    place = channel(stage, "moderators")
    assert await say(grace, "moderation channel", channel=place) == f"Approvals and reports go to <#{place}>."
    assert (await decided(stage)).moderators_channel == int(place)
    assert f"Approvals and reports go to <#{place}>" in await say(grace, "moderation show")
    assert "waits for a moderator" in await say(grace, "blocklist add", kind="word", pattern="gun", action="approve")
    async with nothing_changes(stage):
        assert "a rule asks for approval, so a channel is needed" in await say(grace, "moderation channel", off=True)
        assert f"<#{place}> is the channel already" in await say(grace, "moderation channel", channel=place)
    await say(grace, "blocklist remove", rule="gun")
    assert "have no channel any more" in await say(grace, "moderation channel", off=True)
    assert (await decided(stage)).moderators_channel is None
    entries = [dict(entry.facts) for entry in await log(stage) if entry.action == "moderation channel"]
    assert entries == [{"channel": None}, {"channel": place}]


async def test_a_channel_that_everybody_reads_is_warned_of(stage: Stage, grace: Person) -> None:
    assert "Everybody here can read that channel" in await say(
        grace, "moderation channel", channel=channel(stage, "general")
    )


async def test_when_discord_is_ill_no_channel_is_set(
    stage: Stage, grace: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ill(*_: Any, **__: Any) -> None:
        raise discord.DiscordServerError(SimpleNamespace(status=503, reason="ill"), "ill")  # type: ignore[arg-type]

    monkeypatch.setattr(discord.PartialMessageable, "send", ill)
    async with nothing_changes(stage):
        told = await say(grace, "moderation channel", channel=channel(stage, "moderators"))
        assert (
            told == "Nothing was changed: Discord did not take my message in #moderators; please try again in a moment."
        )


async def test_a_refusal_comes_after_a_lost_receipt(stage: Stage, grace: Person) -> None:
    await grace.faults(rest_lost=1)
    assert "I cannot post in" in await say(grace, "moderation channel", channel=channel(stage, "read-only"))


async def test_the_channel_is_greeted(stage: Stage, grace: Person) -> None:
    async with stage.person("Grace", "moderators") as watching:
        await say(grace, "moderation channel", channel=channel(stage, "moderators"))
        await watching.wait_for(lambda m: text_of(m) == GREETING)


async def test_a_channel_in_which_the_bot_cannot_post_is_refused(stage: Stage, grace: Person) -> None:
    async with nothing_changes(stage):
        assert "I cannot post in #read-only: I need View Channel" in await say(
            grace, "moderation channel", channel=channel(stage, "read-only")
        )
        assert "say either a channel or off:True" in await say(grace, "moderation channel")
        both = await say(grace, "moderation channel", channel=channel(stage, "moderators"), off=True)
        assert "say either a channel or off:True" in both
        assert "there is no moderators' channel" in await say(grace, "moderation channel", off=True)


async def test_what_happens_to_pictures_is_decided(stage: Stage, grace: Person) -> None:
    told = await say(grace, "moderation output", action="spoiler")
    assert told.startswith(
        "Pictures that are not for everybody (the check has to be 80% sure) are hidden until clicked."
    )
    assert "nothing looks at pictures" in told
    await say(grace, "moderation output", threshold=0.55)
    assert (await decided(stage)).output == OutputRule(action="spoiler", threshold=0.55)
    assert "55% sure" in await say(grace, "moderation show")
    assert [dict(entry.facts) for entry in await log(stage)] == [
        {"threshold": 0.55},
        {"does": "spoiler"},
    ]
    async with nothing_changes(stage):
        assert "That is so already" in await say(grace, "moderation output", action="spoiler")
        assert "say an action, a threshold, or both" in await say(grace, "moderation output")
        for wrong in ({"threshold": 0}, {"threshold": 1.5}, {"action": "burn"}):
            assert await say(grace, "moderation output", **wrong)


class TestChecked:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {"output_check_model": "some/classifier", "prompt_in_pictures": False}

    async def test_where_there_is_a_check_nobody_is_warned(self, stage: Stage, grace: Person) -> None:
        assert "nothing looks" not in await say(grace, "moderation output", action="refuse")
        assert "nothing looks" not in await say(grace, "moderation show")

    async def test_the_operator_has_the_last_word_about_prompts(self, stage: Stage, grace: Person) -> None:
        await say(grace, "moderation prompts", told=False)
        assert "turned that off for every server" in await say(grace, "moderation prompts", told=True)


async def test_whether_files_tell_their_prompt(stage: Stage, grace: Person) -> None:
    async with nothing_changes(stage):
        assert "picture files tell their prompt already" in await say(grace, "moderation prompts", told=True)
    assert "Picture files do not tell the prompt" in await say(grace, "moderation prompts", told=False)
    assert not (await decided(stage)).tell_prompt
    assert await say(grace, "moderation prompts", told=True) == (
        "Picture files tell the prompt that they were drawn from."
    )


async def test_only_moderators_may(stage: Stage, ada: Person) -> None:
    await stage.studio.policies.change(
        GUILD,
        lambda _: GuildPolicy(prompt_rules=(PromptRule(kind="word", pattern="gun"),)),
        by=1,
        action="policy import",
    )
    open_admin(stage)
    async with nothing_changes(stage):
        for command, options in (
            ("moderation show", {}),
            ("moderation channel", {"channel": channel(stage, "studio")}),
            ("moderation output", {"action": "allow"}),
            ("moderation prompts", {"told": False}),
        ):
            assert "Manage Server" in await say(ada, command, **options)
