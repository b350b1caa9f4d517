"""Every door below /admin is locked for members, and those to all servers for moderators as well: each is tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import discord
import pytest
from discord import app_commands

from bot.commands import COMMANDS
from bot.commands.admin.check import check
from bot.sandbox.community import LINUS_ID, MODERATOR_ROLE_ID, PATRON_ROLE_ID
from bot.sandbox.driver import Person
from bot.sandbox.events import Event, InteractionOpened
from bot.words.wording import OUTDATED, sentence
from flux_core.errors import NotAllowed
from tests.bot.conftest import Stage
from tests.bot.governing import as_read, nothing_changes, open_admin
from tests.bot.scenes import is_private

Option = discord.AppCommandOptionType


def commands(group: app_commands.Group) -> Iterator[app_commands.Command[Any, ..., Any]]:
    for one in group.commands:
        if isinstance(one, app_commands.Group):
            yield from commands(one)
        else:
            yield one


[ADMIN] = [one for one in COMMANDS if isinstance(one, app_commands.Group) and one.name == "admin"]
DOORS = list(commands(ADMIN))


def number_for(option: app_commands.Parameter) -> float:
    least = option.min_value
    return 1 if least is None or least < 1 else least


async def fitting(person: Person, command: app_commands.Command[Any, ..., Any]) -> dict[str, Any]:
    """Return a value for every option of a command that Discord would take, except ``everywhere``."""
    channel = (await person.world())["channels"][0]["id"]
    upload = await person.upload(b"{}", "policy.json")
    given: dict[str, Any] = {}
    for option in command.parameters:
        values = {
            Option.string: "7d",
            Option.integer: int(number_for(option)),
            Option.number: number_for(option),
            Option.boolean: True,
            Option.user: LINUS_ID,
            Option.role: PATRON_ROLE_ID,
            Option.channel: channel,
            Option.attachment: upload,
        }
        given[option.display_name] = option.choices[0].value if option.choices else values[option.type]
    given.pop("everywhere", None)
    return given


@pytest.fixture
def outsider(stage: Stage, ada: Person) -> Person:
    """A member whom the server's owner lets see /admin, which alone must not be enough."""
    open_admin(stage)
    return ada


async def test_no_member_gets_through_any_of_them(stage: Stage, outsider: Person) -> None:
    refused = sentence(NotAllowed(action="admin"))
    async with nothing_changes(stage):
        for command in DOORS:
            options = await fitting(outsider, command)
            answer = await outsider.response(await outsider.command(command.qualified_name, options))
            assert as_read(answer) == refused, command.qualified_name
            assert is_private(answer)
    assert len(DOORS) > 40


@pytest.mark.parametrize("everywhere", [False, True])
def test_nobody_governs_from_a_direct_message(everywhere: bool) -> None:
    """There "this server" would be none, or all: not even for the bot's owner."""
    outside: Any = SimpleNamespace(
        user=SimpleNamespace(id=1), client=SimpleNamespace(owners={1}), guild_id=None, permissions=None
    )
    with pytest.raises(NotAllowed):
        check(outside, everywhere=everywhere)


async def test_commands_as_they_were_before_an_upgrade_ask_for_a_reload(stage: Stage, grace: Person) -> None:
    """People's Discord keeps the older form for a while: an option more, or a command that is no more."""
    group = stage.sandbox.world.commands.named("admin", 1)
    assert group is not None
    group["options"].append({"type": Option.subcommand.value, "name": "fly", "description": "As it was once."})
    [ban] = [one for one in group["options"] if one["name"] == "ban"]
    for option in ban["options"]:
        option["required"] = False
    async with nothing_changes(stage):
        for command, options in (("fly", {}), ("ban", {"duration": "7d"})):
            answer = await grace.response(await grace.command(f"admin {command}", options))
            assert as_read(answer) == OUTDATED
            assert is_private(answer)


def characters(option: dict[str, Any]) -> int:
    """Count as Discord does: names, descriptions and values."""
    told = len(option.get("name", "")) + len(option.get("description", ""))
    told += sum(len(choice["name"]) + len(str(choice["value"])) for choice in option.get("choices") or ())
    return told + sum(characters(one) for one in option.get("options") or ())


async def test_the_group_leaves_room_under_discords_8000_characters(grace: Person) -> None:
    """Above them Discord takes none of the commands; some room is left for the next options."""
    [group] = [one for one in await grace.registered() if one["name"] == "admin"]
    assert 5000 < characters(group) <= 7500


async def test_no_suggestion_tells_members_anything(stage: Stage, outsider: Person) -> None:
    asked = 0
    for command in DOORS:
        for option in command.parameters:
            if option.autocomplete:
                # Discord asks for suggestions as soon as somebody types, whatever else is filled in.
                assert await outsider.autocomplete(command.qualified_name, option.display_name, "") == []
                asked += 1
    assert asked > 10


async def test_moderators_govern_their_own_server_alone(stage: Stage, linus: Person) -> None:
    """Linus is made a moderator; the bot is Grace's."""
    stage.sandbox.world.community.people[LINUS_ID].role_ids += (MODERATOR_ROLE_ID,)
    refused = sentence(NotAllowed(action="everywhere"))
    tried = 0
    async with nothing_changes(stage):
        for command in DOORS:
            if "everywhere" not in {
                option.display_name for option in command.parameters if option.type is Option.boolean
            }:
                continue
            if command.qualified_name.startswith("admin blocklist"):
                continue  # there it means age-restricted channels as well
            answer = await linus.response(await linus.command(command.qualified_name, everywhere=True))
            assert as_read(answer) == refused, command.qualified_name
            tried += 1
    assert tried == 6


Payload = dict[str, Any]
EVERYTHING = str(discord.Permissions.all().value)


def in_the_options(payload: Payload) -> None:
    payload["data"]["permissions"] = payload["permissions"] = EVERYTHING
    payload["data"]["options"][0]["permissions"] = EVERYTHING


def in_the_resolved_member(payload: Payload) -> None:
    resolved = payload["data"].setdefault("resolved", {})
    resolved.setdefault("members", {})[payload["member"]["user"]["id"]] = payload["member"] | {
        "permissions": EVERYTHING
    }


def in_the_channel(payload: Payload) -> None:
    payload["channel"]["permissions"] = payload["app_permissions"] = EVERYTHING


def in_the_users_own_object(payload: Payload) -> None:
    payload["member"]["user"]["permissions"] = EVERYTHING
    payload["member"]["user"]["id"] = int(payload["member"]["user"]["id"])


def as_a_user_without_membership(payload: Payload) -> None:
    payload["user"] = payload.pop("member")["user"] | {"permissions": EVERYTHING}


def from_a_direct_message(payload: Payload) -> None:
    as_a_user_without_membership(payload)
    del payload["guild_id"], payload["guild"]
    payload["context"] = 1


def of_another_server(payload: Payload) -> None:
    payload["guild_id"] = payload["guild"]["id"] = "1"


def without_permissions(payload: Payload) -> None:
    del payload["member"]["permissions"]


FORGERIES: tuple[Callable[[Payload], None], ...] = (
    *(in_the_options, in_the_resolved_member, in_the_channel, in_the_users_own_object, without_permissions),
    *(as_a_user_without_membership, from_a_direct_message, of_another_server),
)


async def test_rights_are_read_where_discord_writes_them_and_nowhere_else(stage: Stage, outsider: Person) -> None:
    """Only `member.permissions` of an interaction counts, and only in a server."""
    forging: list[Callable[[Payload], None]] = []

    def forge(event: Event) -> None:
        if isinstance(event, InteractionOpened) and forging:
            forging.pop()(event.payload)

    # Before the gateway, which was there first and tells the bot.
    stage.sandbox.world.bus._listeners.insert(0, forge)
    refused = sentence(NotAllowed(action="admin"))
    async with nothing_changes(stage):
        for one in FORGERIES:
            forging.append(one)
            asked = await outsider.command("admin quota grant", {"member": LINUS_ID, "credits": 50.0})
            answer = as_read(await outsider.response(asked))
            assert not forging
            # What is no member at all cannot even be asked for its rights.
            assert answer == refused or (one is as_a_user_without_membership and "went wrong" in answer), one.__name__
