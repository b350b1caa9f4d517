"""/admin policy: all that this server has decided, as one document."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING

import discord
from discord import app_commands, ui

from bot.commands.admin.check import check
from bot.interactions.answers import answer, sent_once, think
from bot.interactions.confirmation import confirm
from bot.interactions.provider_choices import hosted_offers
from bot.layouts import policy_card
from bot.layouts.cards import BLURPLE, Card
from bot.words.phrasing import counted
from flux_core.database.policies import parse
from flux_core.errors import AlreadySo, InvalidPicture, InvalidPolicy
from flux_core.policy import check as policy_check
from flux_core.policy.diff import Change, changes
from flux_core.policy.guild import NOTHING_DECIDED, GuildPolicy

if TYPE_CHECKING:
    from bot.client import FluxBot

LARGEST = 1024 * 1024
"""Bytes of a document: one as full as it may be has less."""
FILENAME = "flux-bot-policy.json"
PATHS_NOTED = 10
"""Places of an import that the audit log names."""

policy = app_commands.Group(name="policy", description="All that this server has decided, as one document.")


@policy.command(description="All that this server has decided, to read.")
async def show(interaction: discord.Interaction[FluxBot]) -> None:
    """Tell the policy in sentences."""
    check(interaction)
    policies, guild_id = interaction.client.studio.policies, interaction.guild_id or 0
    decided, problems = await policies.of(guild_id), await policies.problems(guild_id)
    told = policy_card.summary(decided, interaction.client.settings.timezone, problems)
    await answer(interaction, Card(ui.Container(ui.TextDisplay(told), accent_colour=BLURPLE)))


@policy.command(description="All that this server has decided, as a JSON file.")
async def export(interaction: discord.Interaction[FluxBot]) -> None:
    """Send the document."""
    check(interaction)
    decided = await interaction.client.studio.policies.of(interaction.guild_id or 0)
    text = decided.model_dump_json(indent=2, exclude_none=True) + "\n"
    card = Card(
        ui.Container(
            ui.TextDisplay("### The policy of this server\n`/admin policy import` reads it again, here or elsewhere."),
            ui.File(f"attachment://{FILENAME}"),
            accent_colour=BLURPLE,
        )
    )
    file = discord.File(io.BytesIO(text.encode()), FILENAME)
    with sent_once():
        await interaction.response.send_message(view=card, file=file, ephemeral=True)


@policy.command(name="import", description="Take a JSON file as the policy, after a look at what changes.")
@app_commands.describe(file="As /admin policy export writes it")
async def import_(interaction: discord.Interaction[FluxBot], file: discord.Attachment) -> None:
    """Check the document, show what would change, and apply it when that is confirmed."""
    check(interaction)
    _allow_size(file.size)
    # Discord may take longer to hand the file over than it waits for a first answer.
    await think(interaction)
    studio, guild_id = interaction.client.studio, interaction.guild_id or 0
    # In threads: the expressions of many rules take seconds to compile.
    wanted = await asyncio.to_thread(parse, await _text(interaction, file))
    before = await studio.policies.of(guild_id)
    problems = await asyncio.to_thread(
        policy_check.problems,
        wanted,
        models=[spec.id for spec in studio.catalogue],
        providers=list(hosted_offers(interaction.client.settings, await studio.venues())),
        before=before,
    )
    channels, roles = _here(interaction)
    if wanted.moderators_channel not in (None, before.moderators_channel, *channels):
        problems.append("moderators_channel: this server has no such channel; take the line out, or name another")
    opened = {rule.channel_id for rule in wanted.channels if rule.allowed}
    if opened and not opened & (channels | {rule.channel_id for rule in before.channels}):
        problems.append("channels: none of those that are allowed is in this server, so nothing could be drawn")
    if problems:
        raise InvalidPolicy(problems=problems)
    found = changes(before, wanted)
    if not found and not await studio.policies.problems(guild_id):
        raise AlreadySo(what="the file says what holds already")

    async def act() -> str:
        await studio.policies.change(
            guild_id,
            lambda now: _unless_changed(now, before, wanted),
            by=interaction.user.id,
            action="policy import",
            whole=True,
            changes=len(found),
            changed=_paths(found),
        )
        return f"Applied: {counted(len(found), 'change')}. `/admin policy show` tells what holds now."

    told = policy_card.changed(found)
    foreign = policy_check.strangers(wanted, channels=channels, roles=roles)
    question = f"{told}\n{policy_card.strangers(*foreign)}".rstrip()
    await confirm(interaction, question, act, label="Apply", guard=check)


@policy.command(description="Take back all that this server has decided.")
async def reset(interaction: discord.Interaction[FluxBot]) -> None:
    """Ask, and then forget the policy."""
    check(interaction)
    studio, guild_id = interaction.client.studio, interaction.guild_id or 0
    before = await studio.policies.of(guild_id)
    if before == NOTHING_DECIDED:
        raise AlreadySo(what="this server has decided nothing")

    async def act() -> str:
        await studio.policies.change(
            guild_id,
            lambda now: _unless_changed(now, before, NOTHING_DECIDED),
            by=interaction.user.id,
            action="policy reset",
            whole=True,
        )
        return "This server has decided nothing any more; all is as the bot's owner has set it."

    told = policy_card.changed(changes(before, NOTHING_DECIDED))
    question = f"{told}\nThis cannot be undone; `/admin policy export` keeps it."
    await confirm(interaction, question, act, label="Forget it all", guard=check)


def _here(interaction: discord.Interaction[FluxBot]) -> tuple[frozenset[int], frozenset[int]]:
    """Return the ids of the channels and of the roles of this server, as the gateway has told them."""
    guild = interaction.guild
    if guild is None:
        return frozenset(), frozenset()
    places = (*guild.channels, *guild.threads)
    return frozenset(place.id for place in places), frozenset(role.id for role in guild.roles)


def _unless_changed(now: GuildPolicy, seen: GuildPolicy, wanted: GuildPolicy) -> GuildPolicy:
    """Return ``wanted``; raises InvalidPolicy where the policy is not the one that was ``seen``."""
    if now != seen:
        raise InvalidPolicy(problems=["the policy has changed since you were asked; please give the command again"])
    return wanted


def _paths(found: list[Change]) -> list[str]:
    return [one.path for one in found[:PATHS_NOTED]]


def _allow_size(size: int) -> None:
    if size > LARGEST:
        kilobytes = -(-size // 1024)
        problem = f"this file has {kilobytes:,} KB, and a policy has {LARGEST // 1024:,} KB at most"
        raise InvalidPolicy(problems=[problem])


async def _text(interaction: discord.Interaction[FluxBot], file: discord.Attachment) -> str:
    """Return what an uploaded file says; raises InvalidPolicy where it is no text, or too much of it."""
    try:
        data = await interaction.client.attachments.fetch(file.url, max_bytes=LARGEST)
        return data.decode("utf-8-sig")
    except InvalidPicture as error:
        _allow_size(int(error.facts.get("size", 0)))
        raise InvalidPolicy(problems=["Discord did not hand over the file; please upload it again"]) from None
    except UnicodeDecodeError:
        raise InvalidPolicy(problems=["this file is no JSON text in UTF-8"]) from None
