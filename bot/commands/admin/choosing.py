"""What autocomplete offers to moderators. Whatever goes wrong, it offers nothing and disturbs nobody."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import discord
from discord import app_commands

from bot.commands.admin.check import check
from bot.interactions import choices
from bot.interactions.choices import CHOICE_LIMIT, MOST_CHOICES
from bot.words import durations
from bot.words.phrasing import shorten
from flux_core.errors import NotAllowed
from flux_core.policy import edits as policy_edits

log = logging.getLogger(__name__)

Choices = list[app_commands.Choice[str]]
Offer = Callable[[discord.Interaction[Any], str], Coroutine[Any, Any, Choices]]


def for_moderators(offer: Offer) -> Offer:
    """Make ``offer`` an autocomplete that answers moderators alone, and never fails."""

    @functools.wraps(offer)
    async def quietly(interaction: discord.Interaction[Any], typed: str) -> Choices:
        try:
            check(interaction)
            return (await offer(interaction, typed))[:MOST_CHOICES]
        except NotAllowed:
            return []
        except Exception:
            log.warning("nothing could be offered", exc_info=True)
            return []

    return quietly


def choice(name: str, value: str | None = None) -> app_commands.Choice[str]:
    """Return a choice that fits Discord's limits; its value is its name where there is no other."""
    return app_commands.Choice(name=shorten(name, CHOICE_LIMIT), value=name[:CHOICE_LIMIT] if value is None else value)


def listed(typed: str, known: Iterable[str], alone: Iterable[str]) -> Choices:
    """Return what a list with commas may become: its last name is completed, and those before it stay.

    ``alone``: words that stand for a whole list.
    """
    *before, last = (part.strip().lower() for part in typed.split(","))
    words = [] if before else [word for word in alone if word.startswith(last)]
    lists = [", ".join([*before, name]) for name in known if last in name and name not in before]
    return [choice(one) for one in words + lists if len(one) <= CHOICE_LIMIT]


@for_moderators
async def zones(interaction: discord.Interaction[Any], typed: str) -> Choices:
    """Offer IANA time zones."""
    return [choice(name) for name in policy_edits.zones_like(typed, MOST_CHOICES)]


@for_moderators
async def lengths(interaction: discord.Interaction[Any], typed: str) -> Choices:
    """Offer how long something lasts."""
    wanted = typed.strip().lower()
    return [choice(known) for known in durations.SUGGESTIONS if known.startswith(wanted)]


@for_moderators
async def gaps(interaction: discord.Interaction[Any], typed: str) -> Choices:
    """Offer how long a member waits between two orders."""
    wanted = typed.strip().lower()
    return [choice(known) for known in ("0s", "10s", "30s", "1m", "5m", "15m", "1h") if known.startswith(wanted)]


@for_moderators
async def model(interaction: discord.Interaction[Any], typed: str) -> Choices:
    """Offer every model of the studio."""
    return choices.named(interaction.client.studio.catalogue, typed)


@for_moderators
async def allowed_model(interaction: discord.Interaction[Any], typed: str) -> Choices:
    """Offer the models that members of this server may choose."""
    policy = await interaction.client.studio.policies.of(interaction.guild_id or 0)
    allowed = [spec for spec in interaction.client.studio.catalogue if spec.id not in policy.models_denied]
    return choices.named(allowed, typed)


@for_moderators
async def denied_model(interaction: discord.Interaction[Any], typed: str) -> Choices:
    """Offer the models that this server has denied, those too that the studio does not offer any more."""
    wanted, policy = typed.strip().lower(), await interaction.client.studio.policies.of(interaction.guild_id or 0)
    return [choice(id) for id in policy.models_denied if wanted in id]


@for_moderators
async def models(interaction: discord.Interaction[Any], typed: str) -> Choices:
    """Offer models for a list with commas."""
    known = [spec.id for spec in interaction.client.studio.catalogue]
    return listed(typed, known, (policy_edits.ALL,))


@for_moderators
async def tiers(interaction: discord.Interaction[Any], typed: str) -> Choices:
    """Offer the tiers that there are."""
    wanted = typed.strip().lower()
    policy = await interaction.client.studio.policies.of(interaction.guild_id or 0)
    return [choice(tier.name, str(tier.role_id)) for tier in policy.tiers if wanted in tier.name.lower()]
