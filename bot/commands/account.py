"""/quota."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands

from bot import panels
from bot.answers import answer
from flux_core.jobs import Account

if TYPE_CHECKING:
    from bot.client import FluxBot


@app_commands.command(description="What you have left today, and when it renews.")
@app_commands.guild_only()
async def quota(interaction: discord.Interaction[FluxBot]) -> None:
    """Tell the member's own allowance, privately."""
    account = Account(interaction.guild_id or 0, interaction.user.id)
    await answer(interaction, panels.quota(await interaction.client.studio.quota(account)))
