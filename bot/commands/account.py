"""/quota."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands

from bot.interactions.answers import answer
from bot.interactions.whereabouts import account_of, roles_of
from bot.layouts import panels

if TYPE_CHECKING:
    from bot.client import FluxBot


@app_commands.command(description="What you have left, and when it renews.")
@app_commands.guild_only()
async def quota(interaction: discord.Interaction[FluxBot]) -> None:
    """Tell the member's own allowance, privately."""
    held = await interaction.client.studio.quota(account_of(interaction), roles_of(interaction.user))
    await answer(interaction, panels.quota(held))
