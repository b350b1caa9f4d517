"""/admin models: which models this server uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands, ui

from bot.commands.admin import choosing
from bot.commands.admin.check import check
from bot.interactions.answers import answer
from bot.layouts import panels_admin
from bot.layouts.cards import BLURPLE, Card
from flux_core.policy.edits import with_model
from flux_core.policy.guild import GuildPolicy

if TYPE_CHECKING:
    from bot.client import FluxBot

Model = app_commands.Range[str, 1, 60]

models = app_commands.Group(name="models", description="Which models this server uses.")


@models.command(description="Which models members may choose in this server.")
async def show(interaction: discord.Interaction[FluxBot]) -> None:
    """List the models, privately."""
    check(interaction)
    policy = await interaction.client.studio.policies.of(interaction.guild_id or 0)
    await answer(interaction, _card(interaction, policy))


@models.command(description="Let members use a model again.")
@app_commands.describe(model="Which model")
@app_commands.autocomplete(model=choosing.denied_model)
async def allow(interaction: discord.Interaction[FluxBot], model: Model) -> None:
    """Allow a model."""
    await _change(interaction, model, True, "models allow")


@models.command(description="Let nobody use a model in this server.")
@app_commands.describe(model="Which model")
@app_commands.autocomplete(model=choosing.allowed_model)
async def deny(interaction: discord.Interaction[FluxBot], model: Model) -> None:
    """Deny a model; one has to be left."""
    await _change(interaction, model, False, "models deny")


async def _change(interaction: discord.Interaction[FluxBot], model: str, allowed: bool, action: str) -> None:
    check(interaction)
    studio, id = interaction.client.studio, model.strip().lower()
    known = [spec.id for spec in studio.catalogue]
    policy = await studio.policies.change(
        interaction.guild_id or 0,
        lambda before: with_model(before, id, known, allowed=allowed),
        by=interaction.user.id,
        action=action,
        model=id,
    )
    await answer(interaction, _card(interaction, policy))


def _card(interaction: discord.Interaction[FluxBot], policy: GuildPolicy) -> Card:
    text = panels_admin.models(policy, [spec.id for spec in interaction.client.studio.catalogue])
    return Card(ui.Container(ui.TextDisplay(text), accent_colour=BLURPLE))
