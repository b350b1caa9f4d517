"""/admin: grant credits.

Discord hides the group from members without Manage Server, but servers can change that, so every command checks again.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import discord
from discord import app_commands

from bot.answers import answer
from bot.commands.admin.check import check
from bot.commands.admin.group import admin
from bot.wording import credits
from flux_core.errors import OutOfRange
from flux_core.jobs import Account
from flux_core.models import CREDIT

if TYPE_CHECKING:
    from bot.client import FluxBot

MOST_GRANTED = 100_000
"""Credits in one grant: a slip of the finger stays repairable."""
LONGEST_REASON = 200
"""Characters: members read it within one sentence, and its echo has to fit a message."""

Reason = app_commands.Range[str, 1, LONGEST_REASON]


@admin.command(description="Give a member credits that do not expire; a negative amount takes them back.")
@app_commands.describe(member="Who gets them", amount="Credits", reason="Why; kept with the grant")
@app_commands.rename(amount="credits")
async def grant(
    interaction: discord.Interaction[FluxBot], member: discord.User, amount: float, reason: Reason | None = None
) -> None:
    """Add to a member's granted credits in this server."""
    check(interaction)
    if not math.isfinite(amount) or abs(amount) > MOST_GRANTED:
        raise OutOfRange(field="credits", value=amount, low=-MOST_GRANTED, high=MOST_GRANTED)
    millicredits = round(amount * CREDIT)
    if millicredits == 0:
        await answer(interaction, f"That gives nothing: {credits(1)} is the least.")
        return
    account = Account(interaction.guild_id or 0, member.id)
    try:
        left = await interaction.client.studio.grant(account, millicredits, by=interaction.user.id, reason=reason or "")
    except OutOfRange as error:
        held = credits(-error.facts["low"])
        await answer(interaction, f"<@{member.id}> has {held} left of what was granted; no more can be taken back.")
        return
    done = f"Gave {credits(millicredits)} to" if millicredits > 0 else f"Took {credits(-millicredits)} back from"
    await answer(
        interaction,
        f"{done} <@{member.id}>. Granted credits now: {credits(left.granted)}; {credits(left.left)} in all.",
    )
