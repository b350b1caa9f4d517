"""/admin ban, unban, bans: who may not draw in this server for a while."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands

from bot.commands.admin import choosing
from bot.commands.admin.check import check
from bot.commands.admin.group import admin
from bot.interactions.answers import answer
from bot.interactions.paging import LINES, line_page, paged
from bot.layouts import panels_admin
from bot.layouts.cards import Card
from bot.words import durations
from bot.words.phrasing import counted, moment, quoted
from flux_core.errors import InvalidPolicy
from flux_core.jobs import Account

if TYPE_CHECKING:
    from bot.client import FluxBot

LONGEST_REASON = 200
"""Characters: members read it within one sentence, and its echo has to fit a message."""

Reason = app_commands.Range[str, 1, LONGEST_REASON]


@admin.command(description="Refuse a member's orders, for a while or until you lift it.")
@app_commands.describe(
    member="Who may not draw here",
    duration="For how long, such as 12h, 7d, 2w or forever; left out: until it is lifted",
    reason="Why; the member reads it",
)
@app_commands.autocomplete(duration=choosing.lengths)
async def ban(
    interaction: discord.Interaction[FluxBot],
    member: discord.User,
    duration: str = durations.FOREVER,
    reason: Reason | None = None,
) -> None:
    """Ban a member from drawing; what they have waiting is left to /admin queue."""
    check(interaction)
    if member.id == interaction.user.id:
        raise InvalidPolicy(problems=["you cannot ban yourself"])
    if member.id in interaction.client.owners:
        raise InvalidPolicy(problems=["the bot's owner cannot be banned"])
    if member.bot:
        raise InvalidPolicy(problems=["bots do not draw, so there is nothing to ban"])
    seconds, reason = durations.parse_duration(duration), (reason or "").strip()
    until = None if seconds is None else time.time() + seconds
    members, account = interaction.client.studio.members, Account(interaction.guild_id or 0, member.id)
    await members.ban(account, by=interaction.user.id, reason=reason, until=until)
    held = await interaction.client.studio.quota(account)
    end = "until `/admin unban`" if until is None else f"until {moment(until, 'f')}"
    why = f" They read: {quoted(reason, LONGEST_REASON)}" if reason else ""
    left = held.waiting + held.running
    jobs = f" They still have {counted(left, 'job')} in the queue: `/admin queue cancel`." if left else ""
    await answer(interaction, f"<@{member.id}> cannot draw in this server {end}.{why}{jobs}")


@admin.command(description="Let a banned member draw again.")
@app_commands.describe(member="Who may draw again")
async def unban(interaction: discord.Interaction[FluxBot], member: discord.User) -> None:
    """Lift a ban."""
    check(interaction)
    account = Account(interaction.guild_id or 0, member.id)
    await interaction.client.studio.members.unban(account, by=interaction.user.id)
    await answer(interaction, f"<@{member.id}> can draw in this server again.")


@admin.command(description="Who may not draw in this server, until when and why.")
async def bans(interaction: discord.Interaction[FluxBot]) -> None:
    """List the bans, privately."""
    await answer(interaction, await _page(interaction, ""))


@paged("bans")
async def _page(interaction: discord.Interaction[Any], cursor: str) -> Card:
    check(interaction)
    members, guild_id = interaction.client.studio.members, interaction.guild_id or 0
    skipped = int(cursor) if cursor.isdecimal() and len(cursor) < 9 else 0
    found, total = await members.bans(guild_id, skipped=skipped, limit=LINES)
    if skipped and not found:  # the list has become shorter since the button was made
        skipped = max(total - 1, 0) // LINES * LINES
        found, total = await members.bans(guild_id, skipped=skipped, limit=LINES)
    lines = [panels_admin.banned(one) for one in found]
    return line_page("bans", "Banned from drawing", lines, skipped, total, empty="Nobody is banned from drawing here.")
