"""/admin quota: allowances, credits and limits of members, roles and the server."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands, ui

from bot import durations, panels_admin
from bot.answers import answer
from bot.cards import BLURPLE, Card
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
from bot.confirmation import confirm
from bot.whereabouts import roles_of
from bot.wording import credits as amount_of
from bot.wording import moment
from flux_core.errors import InvalidPolicy, OutOfRange
from flux_core.jobs import Account
from flux_core.models import CREDIT
from flux_core.policy import GuildPolicy, Limits, Tier
from flux_core.policy_edits import LimitsGiven, limits_with, tier_of, with_server, with_tier, without_tier

if TYPE_CHECKING:
    from bot.client import FluxBot

MOST_GRANTED = 100_000.0
"""Credits in one grant: a slip of the finger stays repairable."""
LONGEST_REASON = 200
"""Characters: members read it within one sentence, and its echo has to fit a message."""
LONGEST_COOLDOWN = 86_400
"""Seconds, as the policy has it."""

Reason = app_commands.Range[str, 1, LONGEST_REASON]
Granted = app_commands.Range[float, -MOST_GRANTED, MOST_GRANTED]

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


@quota.command(description="Give credits to a member, a role or everybody; a negative amount takes a member's back.")
@app_commands.describe(
    amount="How many",
    member="Who gets them",
    role="Everybody with this role who has drawn here",
    server="Everybody who has drawn here",
    reason="Why; kept with the grant",
    expires="When they are gone, such as 7d or 2026-12-31; left out: they do not expire",
)
@app_commands.rename(amount="credits")
@app_commands.autocomplete(expires=choosing.lengths)
async def grant(
    interaction: discord.Interaction[FluxBot],
    amount: Granted,
    member: discord.User | None = None,
    role: discord.Role | None = None,
    server: bool = False,
    reason: Reason | None = None,
    expires: str | None = None,
) -> None:
    """Add to granted credits, or take them back."""
    check(interaction)
    _exactly_one(member, role, server)
    millicredits = _whole(amount)
    studio, guild_id, by = interaction.client.studio, interaction.guild_id or 0, interaction.user.id
    ends = None if expires is None else durations.parse_end(expires, time.time(), studio.rules.zone)
    if millicredits < 0 and (member is None or ends is not None):
        raise InvalidPolicy(problems=["credits are taken back from one member at a time, and at once"])
    until = "" if ends is None else f", until {moment(ends, 'f')}"
    if member is None:
        reached = await studio.members.grant_all(
            guild_id, _role_of(role), millicredits, by=by, reason=reason or "", expires_at=ends
        )
        await answer(interaction, f"Gave {amount_of(millicredits)} to {_reached(reached, role)}{until}.")
        return
    account = Account(guild_id, member.id)
    try:
        left = await studio.members.grant(
            account, millicredits, by=by, reason=reason or "", expires_at=ends, role_ids=roles_of(member)
        )
    except OutOfRange as error:
        held = amount_of(-error.facts["low"])
        await answer(interaction, f"<@{member.id}> has {held} left of what was granted; no more can be taken back.")
        return
    done = f"Gave {amount_of(millicredits)} to" if millicredits > 0 else f"Took {amount_of(-millicredits)} back from"
    await answer(
        interaction,
        f"{done} <@{member.id}>{until}. Granted credits now: {amount_of(left.granted)}; {amount_of(left.left)} in all.",
    )


@quota.command(description="Make this period's allowance full again, of a member, a role or everybody.")
@app_commands.describe(
    member="Whose", role="Everybody's with this role who has drawn here", server="Everybody's who has drawn here"
)
async def reset(
    interaction: discord.Interaction[FluxBot],
    member: discord.User | None = None,
    role: discord.Role | None = None,
    server: bool = False,
) -> None:
    """Give back what was spent of the allowance; of many, after a question."""
    check(interaction)
    _exactly_one(member, role, server)
    members, guild_id, by = interaction.client.studio.members, interaction.guild_id or 0, interaction.user.id
    if member is not None:
        given = await members.reset(Account(guild_id, member.id), by=by, role_ids=roles_of(member))
        await answer(
            interaction, f"Gave {amount_of(given)} back to <@{member.id}>: this period's allowance is full again."
        )
        return

    async def act() -> str:
        reached = await members.reset_all(guild_id, _role_of(role), by=by)
        return f"The allowance of {_reached(reached, role)} is full again."

    who = "everybody who has drawn here" if role is None else f"everybody with <@&{role.id}> who has drawn here"
    await confirm(
        interaction,
        f"Give back to {who} what they have spent of their allowance in this period?",
        act,
        label="Reset",
        guard=check,
    )


def not_everyone(role: discord.Role) -> None:
    """Refuse the role that everybody has: it is no tier."""
    if role.is_default():
        raise InvalidPolicy(problems=["that role is everybody: use /admin quota set without a role"])


def _one_at_most(member: discord.User | None, role: discord.Role | None) -> None:
    if member is not None and role is not None:
        raise InvalidPolicy(problems=["name a member or a role, not both"])


def _exactly_one(member: discord.User | None, role: discord.Role | None, server: bool) -> None:
    if sum((member is not None, role is not None, server)) != 1:
        raise InvalidPolicy(problems=["say for whom: one of member, role, and server: True"])


def _whole(amount: float) -> int:
    """Return thousandths of a credit; raises OutOfRange, and InvalidPolicy for nothing."""
    if not -MOST_GRANTED <= amount <= MOST_GRANTED:  # what is no number is not between them, either
        raise OutOfRange(field="credits", value=amount, low=-MOST_GRANTED, high=MOST_GRANTED)
    millicredits = round(amount * CREDIT)
    if millicredits == 0:
        raise InvalidPolicy(problems=[f"that gives nothing: {amount_of(1)} is the least"])
    return millicredits


def _role_of(role: discord.Role | None) -> int | None:
    return None if role is None or role.is_default() else role.id


def _reached(number: int, role: discord.Role | None) -> str:
    who = f"{number:,} member{'' if number == 1 else 's'}"
    return who if role is None or role.is_default() else f"{who} who had <@&{role.id}> when they ordered last"


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
