"""/jobs and /help."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands

from bot import panels
from bot.answers import answer
from bot.controls import list_of
from flux_core.jobs import Account

if TYPE_CHECKING:
    from bot.client import FluxBot


@app_commands.command(description="Your own pictures: those still waiting, to cancel, and the latest, to see again.")
@app_commands.guild_only()
async def jobs(interaction: discord.Interaction[FluxBot]) -> None:
    """List the member's own jobs, privately."""
    account = Account(interaction.guild_id or 0, interaction.user.id)
    await answer(interaction, await list_of(interaction.client.studio, account))


@app_commands.command(name="help", description="What this bot draws, with examples.")
async def help_command(interaction: discord.Interaction[FluxBot]) -> None:
    """Explain the bot, privately."""
    await answer(interaction, panels.help_page(interaction.client.studio.catalogue))
