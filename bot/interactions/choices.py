"""What autocomplete offers in more than one command. Whatever goes wrong, it offers nothing and disturbs nobody."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

import discord
from discord import app_commands

from bot.interactions.whereabouts import account_of, roles_of
from bot.words.phrasing import shorten
from flux_core.models import ModelSpec
from flux_core.policy.permitted import EVERYTHING

if TYPE_CHECKING:
    from bot.client import FluxBot

log = logging.getLogger(__name__)

CHOICE_LIMIT = 100
"""Characters of a choice's name, and of its value."""
MOST_CHOICES = 25


async def models(interaction: discord.Interaction[FluxBot], typed: str) -> list[app_commands.Choice[str]]:
    """Offer the models that this member may use, each with what it is good for and what it may be used for."""
    studio = interaction.client.studio
    try:
        permitted = await studio.personal.permitted(account_of(interaction), roles_of(interaction.user))
    except Exception:
        log.warning("it could not be read which models a member may use", exc_info=True)
        permitted = EVERYTHING
    return named((spec for spec in studio.catalogue if permitted.allows(spec.id)), typed)


def named(specs: Iterable[ModelSpec], typed: str) -> list[app_commands.Choice[str]]:
    """Return those of ``specs`` that ``typed`` may mean."""
    wanted = typed.strip().lower()
    return [
        app_commands.Choice(name=shorten(f"{spec.title}: {spec.summary}", CHOICE_LIMIT), value=spec.id)
        for spec in specs
        if wanted in spec.id.lower() or wanted in spec.title.lower()
    ][:MOST_CHOICES]
