"""Registering commands: what Discord takes and what it refuses."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from bot.sandbox.community import APPLICATION_ID, GUILD_ID
from bot.sandbox.driver import Person
from tests.sandbox.raw_bot import code_of, codes_at

GLOBAL = f"/applications/{APPLICATION_ID}/commands"
OF_GUILD = f"/applications/{APPLICATION_ID}/guilds/{GUILD_ID}/commands"


def command(*options: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"name": "go", "description": "Go", "type": 1, "options": list(options), **changes}


def option(**changes: Any) -> dict[str, Any]:
    return {"type": 3, "name": "what", "description": "What", **changes}


def choices(count: int, value: Any = "x") -> list[dict[str, Any]]:
    return [{"name": str(n), "value": value} for n in range(count)]


BROKEN: list[tuple[str, Any, str, str]] = [
    ("upper case name", [command(name="Go")], "0.name", "APPLICATION_COMMAND_INVALID_NAME"),
    ("name with a space", [command(name="go on")], "0.name", "APPLICATION_COMMAND_INVALID_NAME"),
    ("long name", [command(name="x" * 33)], "0.name", "BASE_TYPE_BAD_LENGTH"),
    ("no name", [{"description": "x"}], "0.name", "BASE_TYPE_REQUIRED"),
    ("no description", [command(description="")], "0.description", "BASE_TYPE_REQUIRED"),
    ("long description", [command(description="x" * 101)], "0.description", "BASE_TYPE_MAX_LENGTH"),
    ("unknown type", [command(type=9)], "0.type", "BASE_TYPE_CHOICES"),
    ("unknown field", [command(colour=1)], "0.colour", "UNKNOWN_FIELD"),
    ("the same name twice", [command(), command()], "1.name", "APPLICATION_COMMANDS_DUPLICATE_NAME"),
    ("101 commands", [command(name=f"c{n}") for n in range(101)], "100", "APPLICATION_COMMAND_MAX_REACHED"),
    ("a described context menu", [command(type=2)], "0.description", "APPLICATION_COMMAND_DESCRIPTION_NOT_ALLOWED"),
    ("26 options", [command(*(option(name=f"o{n}") for n in range(26)))], "0.options", "BASE_TYPE_MAX_LENGTH"),
    ("upper case option", [command(option(name="What"))], "0.options.0.name", "APPLICATION_COMMAND_INVALID_NAME"),
    ("undescribed option", [command(option(description=""))], "0.options.0.description", "BASE_TYPE_REQUIRED"),
    ("long option description", [command(option(description="x" * 101))], "0.options.0.description", ""),
    ("unknown option type", [command(option(type=12))], "0.options.0.type", "BASE_TYPE_CHOICES"),
    ("unknown option field", [command(option(min_value=1))], "0.options.0.min_value", "UNKNOWN_FIELD"),
    (
        "an option twice",
        [command(option(), option())],
        "0.options.1.name",
        "APPLICATION_COMMAND_OPTIONS_NAME_ALREADY_EXISTS",
    ),
    (
        "required after optional",
        [command(option(), option(name="b", required=True))],
        "0.options.1",
        "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID",
    ),
    ("26 choices", [command(option(choices=choices(26)))], "0.options.0.choices", "BASE_TYPE_MAX_LENGTH"),
    (
        "a number among texts",
        [command(option(choices=choices(1, 5)))],
        "0.options.0.choices.0.value",
        "STRING_TYPE_CONVERT",
    ),
    (
        "a text among numbers",
        [command(option(type=4, choices=choices(1)))],
        "0.options.0.choices.0.value",
        "NUMBER_TYPE_COERCE",
    ),
    (
        "long choice name",
        [command(option(choices=[{"name": "x" * 101, "value": "x"}]))],
        "0.options.0.choices.0.name",
        "",
    ),
    ("choices and autocompletion", [command(option(choices=choices(1), autocomplete=True))], "0.options.0.choices", ""),
    ("a subcommand beside an option", [command(option(), option(type=1, name="sub"))], "0.options", ""),
    (
        "a group in a group",
        [command(option(type=2, name="a", options=[option(type=2, name="b", options=[])]))],
        "0.options.0.options.0.type",
        "BASE_TYPE_CHOICES",
    ),
    (
        "more than 8,000 characters",
        [command(*(option(name=f"o{n}", choices=[{"name": "n" * 100, "value": "v" * 300}] * 1) for n in range(25)))],
        "0",
        "APPLICATION_COMMAND_TOO_LARGE",
    ),
    ("permissions in words", [command(default_member_permissions="all")], "0.default_member_permissions", ""),
    ("not a list", {"name": "go"}, "", "LIST_TYPE_CONVERT"),
]


@pytest.mark.parametrize(("body", "where", "code"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
async def test_broken_commands(rest: httpx.AsyncClient, body: Any, where: str, code: str) -> None:
    found = codes_at(await rest.put(GLOBAL, json=body))
    assert where in found
    assert not code or found[where] == [code]
    assert (await rest.get(GLOBAL)).json() == []


async def test_overwrite_keeps_ids_of_names_that_stay(rest: httpx.AsyncClient, ada: Person) -> None:
    first = (await rest.put(GLOBAL, json=[command(), command(name="stop")])).json()
    second = (await rest.put(GLOBAL, json=[command(option()), command(name="wait")])).json()
    assert second[0]["id"] == first[0]["id"]
    assert second[0]["options"] == [option()]
    assert second[0]["version"] != first[0]["version"]
    assert {c["name"] for c in await ada.registered()} == {"go", "wait"}


async def test_names_of_other_alphabets(rest: httpx.AsyncClient) -> None:
    names = ["größe", "画像", "o'clock", "a-b_c"]
    assert (await rest.put(GLOBAL, json=[command(name=name) for name in names])).status_code == 200


async def test_commands_of_the_guild_come_first(rest: httpx.AsyncClient, ada: Person) -> None:
    await rest.put(GLOBAL, json=[command(description="Everywhere")])
    await rest.put(OF_GUILD, json=[command(description="Here")])
    assert [c["description"] for c in await ada.registered()] == ["Here", "Everywhere"]
    assert code_of(await rest.put(OF_GUILD.replace(GUILD_ID, "1"), json=[])) == (403, 50001)


async def test_one_at_a_time(rest: httpx.AsyncClient) -> None:
    created = await rest.post(GLOBAL, json=command())
    assert created.status_code == 201
    address = f"{GLOBAL}/{created.json()['id']}"
    assert (await rest.post(GLOBAL, json=command(description="Again"))).status_code == 200
    assert (await rest.get(address)).json()["description"] == "Again"
    edited = await rest.patch(address, json={"description": "Other"})
    assert (edited.json()["id"], edited.json()["description"]) == (created.json()["id"], "Other")
    assert "name" in codes_at(await rest.patch(address, json={"name": "NO"}))
    assert (await rest.delete(address)).status_code == 204
    assert code_of(await rest.get(address)) == (404, 10063)
