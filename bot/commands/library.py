"""/jobs, /history and /help."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands

from bot.interactions import choices
from bot.interactions.answers import answer
from bot.interactions.job_lists import Search, history_page, jobs_page
from bot.interactions.whereabouts import account_of
from bot.layouts import panels
from flux_core.errors import UnknownModel
from flux_core.family import FAMILY

if TYPE_CHECKING:
    from bot.client import FluxBot


@app_commands.command(description="What you have going on: to cancel, to move up, and the latest to see again.")
@app_commands.guild_only()
async def jobs(interaction: discord.Interaction[FluxBot]) -> None:
    """List the member's own jobs, privately."""
    await answer(interaction, await jobs_page(interaction.client.studio, account_of(interaction)))


@app_commands.command(description="All pictures you ever asked for here, newest first.")
@app_commands.describe(words="Only those with these words in the prompt", model="Only those by this model")
@app_commands.guild_only()
async def history(
    interaction: discord.Interaction[FluxBot],
    words: app_commands.Range[str, 1, 40] | None = None,
    model: str | None = None,
) -> None:
    """Search the member's own jobs, privately."""
    known = [spec.id for spec in FAMILY]
    chosen = "" if model is None else model.strip().lower()
    if chosen and chosen not in known:
        raise UnknownModel(value=chosen, known=known)
    search = Search(" ".join((words or "").split()), chosen)
    if not search.fits():
        await answer(interaction, "That is more than I can search for. Please name fewer words.")
        return
    await answer(interaction, await history_page(interaction.client.studio, account_of(interaction), search))


@history.autocomplete("model")
async def offer_models(_: discord.Interaction[FluxBot], typed: str) -> list[app_commands.Choice[str]]:
    """Offer every model there is: an old picture may be by one that this studio has no more."""
    return choices.named(FAMILY, typed)


@app_commands.command(name="help", description="What this bot draws, with examples.")
async def help_command(interaction: discord.Interaction[FluxBot]) -> None:
    """Explain the bot, privately."""
    await answer(interaction, panels.help_page(interaction.client.studio.catalogue))
