"""/admin tier: what roles give beyond what everybody has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands, ui

from bot.commands.admin import choosing
from bot.commands.admin.check import check
from bot.commands.admin.limits import (
    Clock,
    Count,
    Credits,
    Hours,
    Jobs,
    Megapixels,
    ModelList,
    Renews,
    Weight,
    Zone,
    facts,
    limit_options,
)
from bot.commands.admin.quota import not_everyone
from bot.interactions.answers import answer
from bot.interactions.paging import page_of, paged
from bot.layouts import panels_admin
from bot.layouts.cards import BLURPLE, Card
from flux_core.errors import AlreadySo, NotThere
from flux_core.policy.edits import LimitsGiven, limits_with, with_tier, without_tier
from flux_core.policy.guild import GuildPolicy, Tier

if TYPE_CHECKING:
    from bot.client import FluxBot

Named = app_commands.Range[str, 1, 100]

tier = app_commands.Group(name="tier", description="What roles give beyond what everybody has.")


@tier.command(description="Every tier with what it gives.")
async def show(interaction: discord.Interaction[FluxBot]) -> None:
    """List the tiers, privately."""
    await answer(interaction, await _page(interaction, ""))


@paged("tiers")
async def _page(interaction: discord.Interaction[Any], cursor: str) -> Card:
    check(interaction)
    studio = interaction.client.studio
    policy = await studio.policies.of(interaction.guild_id or 0)
    lines = [panels_admin.tier(one, str(studio.rules.zone)) for one in policy.tiers]
    return page_of("tiers", "Tiers", lines, cursor, empty="There are none: `/admin tier add` makes one.")


@tier.command(description="Let a role give more: of several tiers, a member has the best of each.")
@limit_options(role="Who holds it has the tier")
async def add(
    interaction: discord.Interaction[FluxBot],
    role: discord.Role,
    credits: Credits | None = None,
    renews: Renews | None = None,
    at: Clock | None = None,
    timezone: Zone | None = None,
    hours: Hours | None = None,
    weight: Weight | None = None,
    waiting: Jobs | None = None,
    running: Jobs | None = None,
    megapixels: Megapixels | None = None,
    count: Count | None = None,
    models: ModelList | None = None,
) -> None:
    """Make a tier for a role."""
    check(interaction)
    not_everyone(role)
    given = LimitsGiven(
        credits=credits,
        renews=renews,
        at=at,
        timezone=timezone,
        hours=hours,
        weight=weight,
        waiting=waiting,
        running=running,
        megapixels=megapixels,
        count=count,
        models=models,
    )
    studio, said = interaction.client.studio, facts(given)
    known = [spec.id for spec in studio.catalogue]
    fresh = Tier(role_id=role.id, name=role.name)

    def change(before: GuildPolicy) -> GuildPolicy:
        if any(one.role_id == role.id for one in before.tiers):
            raise AlreadySo(what=f"<@&{role.id}> has a tier already, which `/admin tier edit` changes")
        return with_tier(before, fresh.model_copy(update=limits_with(fresh, given, known)))

    await studio.policies.change(
        interaction.guild_id or 0, change, by=interaction.user.id, action="tier add", role=str(role.id), **said
    )
    await answer(interaction, await _told(interaction, role.id))


@tier.command(description="Change what a tier gives; the rest stays as it is.")
@limit_options(tier="Which tier", clear="Take back what it gave before")
@app_commands.autocomplete(tier=choosing.tiers)
async def edit(
    interaction: discord.Interaction[FluxBot],
    tier: Named,
    credits: Credits | None = None,
    renews: Renews | None = None,
    at: Clock | None = None,
    timezone: Zone | None = None,
    hours: Hours | None = None,
    weight: Weight | None = None,
    waiting: Jobs | None = None,
    running: Jobs | None = None,
    megapixels: Megapixels | None = None,
    count: Count | None = None,
    models: ModelList | None = None,
    clear: bool = False,
) -> None:
    """Change a tier."""
    check(interaction)
    given = LimitsGiven(
        credits=credits,
        renews=renews,
        at=at,
        timezone=timezone,
        hours=hours,
        weight=weight,
        waiting=waiting,
        running=running,
        megapixels=megapixels,
        count=count,
        models=models,
    )
    # Cleared alone, a tier would give nothing, which is what /admin tier remove is for.
    studio, said = interaction.client.studio, facts(given)
    known, found = [spec.id for spec in studio.catalogue], await _named(interaction, tier)

    def change(before: GuildPolicy) -> GuildPolicy:
        there = _of(before, str(found.role_id))  # the one that the log will name
        kept = Tier(role_id=there.role_id, name=there.name) if clear else there
        return with_tier(before, kept.model_copy(update=limits_with(kept, given, known)))

    said |= {"clear": True} if clear else {}
    await studio.policies.change(
        interaction.guild_id or 0, change, by=interaction.user.id, action="tier edit", role=str(found.role_id), **said
    )
    await answer(interaction, await _told(interaction, found.role_id))


@tier.command(description="Let a role give nothing of its own any more.")
@app_commands.describe(tier="Which tier")
@app_commands.autocomplete(tier=choosing.tiers)
async def remove(interaction: discord.Interaction[FluxBot], tier: Named) -> None:
    """Take a tier out."""
    check(interaction)
    found = await _named(interaction, tier)
    await interaction.client.studio.policies.change(
        interaction.guild_id or 0,
        lambda before: without_tier(before, found.role_id, found.name),
        by=interaction.user.id,
        action="tier remove",
        role=str(found.role_id),
        name=found.name,
    )
    await answer(interaction, f"{panels_admin.tier_name(found)} is no tier any more.")


def _of(policy: GuildPolicy, text: str) -> Tier:
    """Return the tier that was chosen, or whose name was typed; raises NotThere."""
    typed = text.strip()
    for one in policy.tiers:
        if typed == str(one.role_id):
            return one
    for one in policy.tiers:
        if typed.casefold() == one.name.casefold():
            return one
    raise NotThere(what="tier", name=text)


async def _named(interaction: discord.Interaction[FluxBot], text: str) -> Tier:
    return _of(await interaction.client.studio.policies.of(interaction.guild_id or 0), text)


async def _told(interaction: discord.Interaction[FluxBot], role_id: int) -> Card:
    studio = interaction.client.studio
    policy = await studio.policies.of(interaction.guild_id or 0)
    told = panels_admin.role(_of(policy, str(role_id)), str(studio.rules.zone))
    return Card(ui.Container(ui.TextDisplay(told), accent_colour=BLURPLE))
