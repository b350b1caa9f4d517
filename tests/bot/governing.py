"""How moderators govern in the tests of /admin, and what has been decided and written down before and after."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.sandbox import driver
from bot.sandbox.community import GUILD_ID
from bot.sandbox.driver import Person
from bot.sandbox.reading import RawMessage, labels_of, text_of
from flux_core.database.audit import Entry, Wanted
from flux_core.database.tables import bans, ledger, members, pauses, policies
from flux_core.policy.guild import GuildPolicy
from tests.bot.conftest import Stage
from tests.bot.scenes import is_private

GUILD = int(GUILD_ID)


async def answered(person: Person, command: str, /, *, within: str | None = None, **options: Any) -> RawMessage:
    """Give a command below /admin ``within`` a channel; its answer is private."""
    message = await person.response(await person.command(f"admin {command}", options, channel=within))
    assert is_private(message)
    return message


async def say(person: Person, command: str, /, *, within: str | None = None, **options: Any) -> str:
    """Give a command below /admin, and return what people read; what Discord itself refuses, it says, too."""
    try:
        return as_read(await answered(person, command, within=within, **options))
    except driver.Refused as refused:
        return str(refused)


async def reply(person: Person, question: RawMessage, button: str) -> str:
    """Press a button of a question, and return what stands in its place in the end."""
    await person.press(question, button)

    def settled(message: RawMessage) -> bool:
        return message["id"] == question["id"] and not labels_of(message) and "One moment" not in text_of(message)

    return as_read(await person.wait_for(settled))


def as_read(message: RawMessage) -> str:
    """Return what a message says without the backslashes that keep markdown away."""
    return re.sub(r"\\([^\w\s])", r"\1", text_of(message))


async def offered(person: Person, command: str, option: str, typed: str = "", **options: Any) -> list[tuple[str, Any]]:
    """Return what autocomplete offers for an option of a command below /admin: (name, value)."""
    choices = await person.autocomplete(f"admin {command}", option, typed, **options)
    return [(choice["name"], choice["value"]) for choice in choices]


async def decided(stage: Stage) -> GuildPolicy:
    """Return what the community has decided."""
    return await stage.studio.policies.of(GUILD)


async def log(stage: Stage) -> list[Entry]:
    """Return the audit log, the newest first."""
    return list((await stage.studio.audit.page(Wanted(guild_id=GUILD))).entries)


@asynccontextmanager
async def nothing_changes(stage: Stage) -> AsyncIterator[None]:
    """Fail when anything that moderators decide is changed, or written down, meanwhile."""
    before, noted = await held(stage), await log(stage)
    yield
    assert (await held(stage), await log(stage)) == (before, noted)


async def held(stage: Stage) -> list[Any]:
    """Return all that moderators decide, as the database has it."""
    tables = (policies, members, bans, ledger, pauses)

    def rows(connection: Connection) -> list[Any]:
        return [connection.execute(sa.select(table)).all() for table in tables]

    return await stage.studio._db.read(rows)


def open_admin(stage: Stage) -> None:
    """Let everybody see /admin, as a server's owner can; that alone must not be enough."""
    group = stage.sandbox.world.commands.named("admin", 1)
    assert group is not None
    group["default_member_permissions"] = None
