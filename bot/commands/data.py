"""/data: what the bot knows of a member in this server, handed out or forgotten."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands, ui

from bot.interactions.answers import think
from bot.interactions.confirmation import confirm
from bot.interactions.whereabouts import account_of
from bot.layouts.cards import BLURPLE, Card
from flux_core.errors import AlreadySo
from flux_core.service import Forgotten

if TYPE_CHECKING:
    from bot.client import FluxBot

QUESTION = (
    "**Forget what you did here?** Your waiting and running jobs in this server are cancelled. Your prompts, pictures "
    "and settings are deleted for good, and my public messages with your pictures disappear. `/data export` hands "
    "them out first."
)
KEPT = (
    "**Kept**, and why: what your pictures cost, as bare amounts, because every balance is their sum; limits and "
    "granted credits, bans, reports you made and the moderators' log, because they keep order here. What others drew "
    "from your pictures is theirs. Answers that only you could see are not mine to delete: dismiss them, or they go "
    "when you restart Discord. What I sent you as direct messages stays there, too: only you can see it."
)

data = app_commands.Group(
    name="data", description="What I know of you in this server: have it, or have it forgotten.", guild_only=True
)


@data.command(description="Everything I know of you in this server, as a JSON file.")
async def export(interaction: discord.Interaction[FluxBot]) -> None:
    """Hand out a member's own data, privately."""
    account, bot = account_of(interaction), interaction.client
    if account in bot.exporting:
        raise AlreadySo(what="your file is being written")
    bot.exporting.add(account)
    try:
        await think(interaction)
        async with bot.exports:
            document = await bot.studio.personal.export(account)
            name, content = await asyncio.to_thread(
                as_file, document, f"flux-bot-data-{account.user_id}", interaction.filesize_limit
            )
    finally:
        bot.exporting.discard(account)
    jobs, rows = len(document["jobs"]), len(document["ledger"])
    card = Card(
        ui.Container(
            ui.TextDisplay(
                "### What I know of you here\n"
                f"{_number(jobs, 'job')} with prompts, seeds and times, {_number(rows, 'entry', 'entries')} of the "
                "ledger, your settings, limits, ban, the reports you made, and what moderators noted about you. "
                "Pictures are named as in their messages, where you can save them."
            ),
            ui.File(f"attachment://{name}"),
            accent_colour=BLURPLE,
        )
    )
    await interaction.edit_original_response(view=card, attachments=[discord.File(BytesIO(content), name)])


@data.command(description="Forget my prompts, pictures and settings in this server, for good.")
async def delete(interaction: discord.Interaction[FluxBot]) -> None:
    """Forget a member's data when they confirm it."""
    account, studio = account_of(interaction), interaction.client.studio

    async def act() -> Card:
        return forgotten(await studio.personal.forget(account))

    await confirm(interaction, QUESTION, act, label="Forget it all", guard=lambda _: None)


def forgotten(done: Forgotten) -> Card:
    """Tell what was forgotten, what was kept and why."""
    lines = [
        f"**Forgotten:** {_number(done.jobs, 'job')} with prompts, {_number(done.pictures, 'picture')}, your settings."
    ]
    if done.cancelled:
        back = "its credits are" if done.cancelled == 1 else "their credits are"
        lines.append(f"{_number(done.cancelled, 'job')} that waited or ran: cancelled, {back} back.")
    if done.messages:
        lines.append(f"{_number(done.messages, 'message')} of mine in this server: disappearing now.")
    if done.busy:
        what = "is" if done.busy == 1 else "are"
        lines.append(
            f"**Not yet:** {_number(done.busy, 'job')} {what} still being drawn or handed over. "
            "Please give `/data delete` again in a minute."
        )
    return Card(ui.Container(ui.TextDisplay("\n".join(lines)), ui.TextDisplay(KEPT), accent_colour=BLURPLE))


def _number(count: int, one: str, many: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def as_file(document: Mapping[str, Any], name: str, limit: int) -> tuple[str, bytes]:
    """Return the name and the bytes of the file, compressed where it is longer than Discord's limit in bytes."""
    text = json.dumps(document, ensure_ascii=False, indent=1).encode()
    return (f"{name}.json", text) if len(text) <= limit else (f"{name}.json.gz", gzip.compress(text))
