"""An unmodified discord.py bot does its everyday work in the sandbox."""

from __future__ import annotations

import asyncio

import discord
import pytest

from bot.sandbox.driver import Person, Refused
from bot.sandbox.reading import labels_of, pictures_of, text_of
from bot.sandbox.server import Sandbox
from tests.sandbox.conftest import StartBot
from tests.sandbox.example_bot import ExampleBot
from tests.sandbox.pictures import picture


async def test_login_shows_the_guild(bot: ExampleBot) -> None:
    guild = bot.guilds[0]
    assert [channel.name for channel in guild.text_channels] == [
        "studio",
        "general",
        "read-only",
        "age-restricted",
        "moderators",
    ]
    assert guild.text_channels[3].is_nsfw()
    assert [(thread.name, thread.parent) for thread in guild.threads] == [("colour studies", guild.text_channels[0])]
    assert [role.name for role in guild.roles] == ["@everyone", "Patron", "Moderator", "flux-bot"]
    assert bot.application is not None
    assert bot.application.owner.name == "grace"
    read_only = guild.text_channels[2]
    assert not read_only.permissions_for(guild.me).send_messages
    assert read_only.permissions_for(guild.me).view_channel


async def test_wrong_token_is_a_login_failure(sandbox: Sandbox) -> None:
    client = ExampleBot()
    with pytest.raises(discord.LoginFailure):
        await client.login("wrong")
    await client.close()


async def test_commands_are_registered_with_stable_ids(bot: ExampleBot, ada: Person) -> None:
    before = {command["name"]: command["id"] for command in await ada.registered()}
    await bot.tree.sync()
    assert {command["name"]: command["id"] for command in await ada.registered()} == before
    assert {"say", "card", "admin", "Greet", "Quote"} <= before.keys()


async def test_answer_at_once(bot: ExampleBot, ada: Person) -> None:
    message = await ada.response(await ada.command("say", text="hello"))
    assert message["content"] == "hello"
    assert message["type"] == 20
    assert message["interaction_metadata"]["user"]["id"] == ada.id


async def test_deferred_answer_and_follow_up(bot: ExampleBot, ada: Person, linus: Person) -> None:
    message = await ada.response(await ada.command("later", text="soon"))
    assert message["content"] == "soon"
    assert message["edited_timestamp"] is None
    await linus.wait_for(lambda m: m["content"] == "soon, again")


async def test_private_answers_are_seen_by_their_member_only(bot: ExampleBot, ada: Person, linus: Person) -> None:
    message = await ada.response(await ada.command("later", text="secret", private=True))
    again = await ada.wait_for(lambda m: m["content"] == "secret, again")
    assert message["ephemeral_for"] == again["ephemeral_for"] == ada.id
    await linus.response(await linus.command("say", text="done"))
    assert all("secret" not in m["content"] for m in await linus.messages())


async def test_card_with_pictures_and_buttons(bot: ExampleBot, ada: Person, linus: Person) -> None:
    message = await ada.response(await ada.command("card"))
    assert message["flags"] & (1 << 15)
    assert text_of(message) == "Drawn 1 times"
    assert labels_of(message) == ["Again", "Details"]
    assert len(pictures_of(message)) == 4
    assert await ada.download(pictures_of(message)[2]) == picture("blue")
    await linus.outcome(await linus.press(message, "Again"))
    again = await ada.wait_for(lambda m: text_of(m) == "Drawn 2 times")
    assert again["id"] == message["id"]
    assert pictures_of(again) == pictures_of(message)
    private = await linus.response(await linus.press(again, "Details"))
    assert private["content"] == "Only for Linus"
    assert private["ephemeral_for"] == linus.id


async def test_buttons_work_after_a_restart(start_bot: StartBot, ada: Person) -> None:
    first = await start_bot()
    message = await ada.response(await ada.command("card"))
    await first.finish()
    await start_bot()
    await ada.outcome(await ada.press(message, "Again"))
    await ada.wait_for(lambda m: text_of(m) == "Drawn 2 times")


async def test_modal_with_text_select_and_file(bot: ExampleBot, ada: Person) -> None:
    opener = await ada.command("survey")
    upload = await ada.upload(picture(), "me.png")
    with pytest.raises(Refused, match="Name: this field is required"):
        await ada.submit_modal(opener, {"mood": ["good"]})
    with pytest.raises(Refused, match="'meh' is not a choice"):
        await ada.submit_modal(opener, {"Name": "Ada", "mood": ["meh"]})
    answer = await ada.submit_modal(opener, {"Name": "Ada", "mood": ["good"], "file": [upload["id"]]})
    message = await ada.response(answer)
    assert message["content"] == f"Ada feels good, files [{len(picture())}]"


async def test_attachment_option(bot: ExampleBot, ada: Person) -> None:
    upload = await ada.upload(picture(size=(40, 30)), "über cat.png")
    message = await ada.response(await ada.command("look", file=upload, twice=True))
    size = len(picture(size=(40, 30)))
    assert message["content"] == f"über_cat.png image/png 40x30 {size} True"


async def test_autocomplete(bot: ExampleBot, ada: Person) -> None:
    assert [choice["value"] for choice in await ada.autocomplete("taste", "flavour", "l")] == ["lemon", "lime"]
    assert await ada.autocomplete("taste", "flavour", "x", spoons=2) == []


async def test_channel_message_edit_and_direct_message(bot: ExampleBot, ada: Person) -> None:
    interaction = await ada.command("post", text="news")
    placeholder = (await ada.outcome(interaction)).response_message_id
    message = await ada.wait_for(lambda m: m["content"] == "news!")
    assert message["edited_timestamp"] is not None
    await ada.wait_for(lambda m: m["content"] == "privately: news")
    assert [m["content"] for m in await ada.messages(channel="dm")] == ["privately: news"]
    assert placeholder is not None
    await ada.wait_gone(placeholder)
    assert not bot.errors


async def test_context_menus(bot: ExampleBot, ada: Person, grace: Person) -> None:
    message = await ada.response(await ada.command("say", text="to quote"))
    quoted = await ada.response(await ada.message_menu("Quote", message))
    assert quoted["content"] == "> to quote"
    greeted = await ada.response(await ada.user_menu("Greet", grace.id))
    assert greeted["content"] == "Hello Grace"


async def test_command_groups_and_permissions(bot: ExampleBot, ada: Person, grace: Person) -> None:
    with pytest.raises(Refused, match="do not have permission"):
        await ada.command("admin grant", to=grace.id, credits=3)
    message = await grace.response(await grace.command("admin grant", to=ada.id, credits=3))
    assert message["content"] == "Ada +3 (True, True)"
    in_silence = await grace.command("admin grant", to=ada.id, credits=3, channel="read-only")
    assert (await grace.response(in_silence))["content"] == "Ada +3 (True, False)"


async def test_commands_work_in_direct_messages(bot: ExampleBot, ada: Person) -> None:
    message = await ada.response(await ada.command("say", text="psst", channel="dm"))
    assert "guild_id" not in message
    assert [m["content"] for m in await ada.messages(channel="dm")] == ["psst"]


async def test_two_shards(start_bot: StartBot, ada: Person) -> None:
    bot = await start_bot(shard_count=2)
    assert sorted(bot.shards) == [0, 1]
    assert len(bot.guilds) == 1
    assert (await ada.response(await ada.command("say", text="one")))["content"] == "one"
    assert (await ada.response(await ada.command("say", text="two", channel="dm")))["content"] == "two"
    assert bot.seen.count("INTERACTION_CREATE") == 2


async def test_privileged_intents_are_refused(sandbox: Sandbox) -> None:
    client = discord.Client(intents=discord.Intents.all())
    await client.login(sandbox.token)
    with pytest.raises(discord.PrivilegedIntentsRequired):
        await asyncio.wait_for(client.connect(), 10)
    await client.close()
