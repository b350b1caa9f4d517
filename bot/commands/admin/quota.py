"""/admin quota: allowances, credits and limits of members, roles and the server."""

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
from bot.interactions.answers import answer
from bot.interactions.whereabouts import roles_of
from bot.layouts import panels_admin
from bot.layouts.cards import BLURPLE, Card
from bot.words import durations
from flux_core.errors import InvalidPolicy
from flux_core.jobs import Account
from flux_core.policy.edits import LimitsGiven, limits_with, tier_of, with_server, with_tier, without_tier
from flux_core.policy.guild import GuildPolicy, Limits, Tier

if TYPE_CHECKING:
    from bot.client import FluxBot

LONGEST_COOLDOWN = 86_400
"""Seconds, as the policy has it."""

quota = app_commands.Group(name="quota", description="Allowances, credits and limits of members, roles and the server.")


@quota.command(description="What a member, a role or everybody in this server may do, and what is left.")
@app_commands.describe(member="What this member has", role="What this role gives")
async def show(
    interaction: discord.Interaction[FluxBot], member: discord.User | None = None, role: discord.Role | None = None
) -> None:
    """Tell it privately; of the server where nothing is named."""
    check(interaction)
    _one_at_most(member, role)
    await answer(interaction, await _told(interaction, member, role))


@quota.command(name="set", description="Limits of a member or a role, or of everybody here; the rest stays as it is.")
@limit_options(
    member="For this member alone", role="For everybody with this role", clear="Take back what was set before"
)
async def set_(
    interaction: discord.Interaction[FluxBot],
    member: discord.User | None = None,
    role: discord.Role | None = None,
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
    """Change the limits of a member, a tier or everybody."""
    check(interaction)
    _one_at_most(member, role)
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
    said, studio = facts(given, clear=clear), interaction.client.studio
    known = [spec.id for spec in studio.catalogue]

    def of(before: Limits) -> dict[str, Any]:
        return limits_with(Limits() if clear else before, given, known)

    def limits(before: Limits) -> Limits:
        return (Limits() if clear else before).model_copy(update=of(before))

    def of_role(before: GuildPolicy) -> GuildPolicy:
        assert role is not None
        if clear and not given.said():
            return without_tier(before, role.id, role.name)
        fresh = Tier(role_id=role.id, name=role.name)
        there = any(tier.role_id == role.id for tier in before.tiers)
        tier = tier_of(before, role.id) if there and not clear else fresh
        return with_tier(before, tier.model_copy(update=of(tier)))

    guild_id, by = interaction.guild_id or 0, interaction.user.id
    if member is not None:
        await studio.members.change_limits(Account(guild_id, member.id), limits, by=by, **said)
    elif role is not None:
        not_everyone(role)
        await studio.policies.change(guild_id, of_role, by=by, action="quota set", role=str(role.id), **said)
    else:
        await studio.policies.change(
            guild_id,
            lambda before: before.model_copy(update={"everybody": limits(before.everybody)}),
            by=by,
            action="quota set",
            **said,
        )
    await answer(interaction, await _told(interaction, member, role))


@quota.command(description="What all members share: a pool of allowances, the gap between orders, the relaxed lane.")
@app_commands.describe(
    pool="Credits that all members together may spend of their allowances, each time those renew",
    cooldown="Time between two orders of one member, such as 30s or 5m; 0s for none",
    relaxed="Whether members without credits still draw, when nobody with credits is waiting",
    clear="Take back what was set before",
)
@app_commands.autocomplete(cooldown=choosing.gaps)
async def server(
    interaction: discord.Interaction[FluxBot],
    pool: Credits | None = None,
    cooldown: str | None = None,
    relaxed: bool | None = None,
    clear: bool = False,
) -> None:
    """Change what holds for the server as a whole."""
    check(interaction)
    seconds = None
    if cooldown is not None:
        seconds = durations.parse_duration(cooldown, what="cooldown", forever=False, least=0)
        if seconds is not None and seconds > LONGEST_COOLDOWN:
            raise InvalidPolicy(problems=["the cooldown can be one day at most"])
    changes: dict[str, Any] = {"pool": pool, "cooldown_seconds": seconds, "relaxed": relaxed}
    said = {name: value for name, value in changes.items() if value is not None}
    if not said and not clear:
        raise InvalidPolicy(problems=["say a pool, a cooldown or relaxed, or clear: True to take them back"])
    await interaction.client.studio.policies.change(
        interaction.guild_id or 0,
        lambda before: with_server(before, said, clear=clear),
        by=interaction.user.id,
        action="quota server",
        **said | ({"clear": True} if clear else {}),
    )
    await answer(interaction, await _told(interaction, None, None))


def not_everyone(role: discord.Role) -> None:
    """Refuse the role that everybody has: it is no tier."""
    if role.is_default():
        raise InvalidPolicy(problems=["that role is everybody: use /admin quota set without a role"])


def _one_at_most(member: discord.User | None, role: discord.Role | None) -> None:
    if member is not None and role is not None:
        raise InvalidPolicy(problems=["name a member or a role, not both"])


async def _told(
    interaction: discord.Interaction[FluxBot], member: discord.User | None, role: discord.Role | None
) -> Card:
    studio, guild_id = interaction.client.studio, interaction.guild_id or 0
    zone = str(studio.rules.zone)
    if member is not None:
        account = Account(guild_id, member.id)
        held = await studio.quota(account, roles_of(member))
        own, ban = await studio.members.limits(account), await studio.members.ban_of(account)
        text = panels_admin.member(member.id, held, own, ban, zone)
    else:
        policy = await studio.policies.of(guild_id)
        if role is not None and not role.is_default():
            tier = next((one for one in policy.tiers if one.role_id == role.id), None)
            text = f"<@&{role.id}> gives nothing of its own." if tier is None else panels_admin.role(tier, zone)
        else:
            held = await studio.quota(Account(guild_id, interaction.user.id), roles_of(interaction.user))
            text = panels_admin.server(policy, studio.rules, held.pool_left)
    return Card(ui.Container(ui.TextDisplay(text), accent_colour=BLURPLE))
