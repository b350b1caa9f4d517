"""/admin provider: who draws for this server, and how the hosted providers are doing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import discord
from discord import app_commands

from bot import panels
from bot.answers import answer
from bot.cards import Card
from bot.commands.admin.check import check
from bot.provider_choices import hosted_offers
from flux_core.errors import UnknownProvider
from flux_core.router import RoutingPolicy

if TYPE_CHECKING:
    from bot.client import FluxBot

ALL, NONE = "all", "none"
LONGEST_WAIT = 24 * 3600
"""Seconds that a job may have to wait for our own cards before a hosted provider takes it."""

provider = app_commands.Group(name="provider", description="Who draws for this server.")


@provider.command(description="Who draws for this server, what each hosted provider got today, and how it is doing.")
async def show(interaction: discord.Interaction[FluxBot]) -> None:
    """Tell the policy and the state of every hosted provider, privately."""
    check(interaction)
    await answer(interaction, await _told(interaction))


@provider.command(name="set", description="Change who draws for this server; what is left out stays as it is.")
@app_commands.describe(
    first="Who draws when both could: this studio's own machines, or a hosted provider",
    order="Which hosted provider comes first",
    overflow="With local first: seconds a job may wait before a hosted provider takes it",
    providers="Hosted providers that may draw: names with commas between, all, or none",
)
async def set_(
    interaction: discord.Interaction[FluxBot],
    first: Literal["local", "hosted"] | None = None,
    order: Literal["cheapest", "fastest"] | None = None,
    overflow: app_commands.Range[int, 0, LONGEST_WAIT] | None = None,
    providers: str | None = None,
) -> None:
    """Store this server's own policy."""
    check(interaction)
    studio, guild_id = interaction.client.studio, interaction.guild_id or 0
    changes: dict[str, Any] = {"first": first, "order": order, "overflow_seconds": overflow}
    changes = {name: value for name, value in changes.items() if value is not None}
    if providers is not None:
        known = hosted_offers(interaction.client.settings, await studio.venues())
        changes["providers"] = _named(providers, list(known))
    before = await studio.routing_of(guild_id)
    if changes:
        policy = RoutingPolicy.model_validate(before.model_dump() | changes)
        await studio.set_routing(guild_id, policy, by=interaction.user.id)
    await answer(interaction, await _told(interaction))


def _named(text: str, known: list[str]) -> tuple[str, ...] | None:
    """Read the list of providers; None for all. Raises UnknownProvider."""
    names = tuple(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))
    if names == (ALL,):
        return None
    if names == (NONE,):
        return ()
    for name in names or (text,):
        if name not in known:
            raise UnknownProvider(value=name, known=known, listed=True)
    return names


async def _told(interaction: discord.Interaction[FluxBot]) -> Card:
    studio = interaction.client.studio
    policy, workers = await studio.routing_of(interaction.guild_id or 0), await studio.venues()
    known = list(hosted_offers(interaction.client.settings, workers))
    return panels.providers(policy, known, workers, await studio.spent_today())
