"""What members do again and again in the tests of the bot."""

from __future__ import annotations

import asyncio
import io
from typing import Any

from PIL import Image

from bot.sandbox.community import GUILD_ID
from bot.sandbox.driver import Person
from bot.sandbox.reading import RawMessage, labels_of
from flux_core.jobs import Account, Job
from tests.bot.conftest import Stage

FORGED_JOB = "0123456789abcdef01234567"


def account_of(person: Person) -> Account:
    return Account(int(GUILD_ID), int(person.id))


async def spent(stage: Stage, person: Person) -> int:
    return (await stage.studio.quota(account_of(person))).spent


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
    async with asyncio.timeout(30):
        while first["id"] not in [str(one.job.reply_to.message_id) for one in await stage.studio.live_jobs()]:  # type: ignore[union-attr]
            version = await stage.studio.changed(version, 1)
    return first


async def delivered(stage: Stage, job_id: str) -> Job:
    """Wait until the database knows that Discord has the answer, which is a moment after members see it."""
    version = None
    async with asyncio.timeout(30):
        while (job := await stage.studio.job(job_id)).delivered_at is None:
            version = await stage.studio.changed(version, 1)
    return job


async def outbox_empty(stage: Stage) -> None:
    version = None
    async with asyncio.timeout(30):
        while await stage.studio.live_jobs():
            version = await stage.studio.changed(version, 1)


async def press(person: Person, message: RawMessage, button: str) -> RawMessage:
    return await person.response(await person.press(message, button))


def png(width: int = 96, height: int = 64, colour: str = "red") -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(data, "PNG")
    return data.getvalue()
