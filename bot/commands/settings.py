"""/settings: what a member wants where they name nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands

from bot.interactions import choices
from bot.interactions.answers import answer
from bot.interactions.whereabouts import account_of, whereabouts
from bot.layouts.mode_choices import MODES
from bot.layouts.settings_card import NAMES, named
from bot.layouts.settings_card import settings as settings_card
from flux_core.errors import AlreadySo
from flux_core.generation import OutputFormat
from flux_core.models import ASPECTS
from flux_core.preferences import NOTHING_SET, Preferences, check

if TYPE_CHECKING:
    from bot.client import FluxBot

settings = app_commands.Group(
    name="settings", description="Your own defaults in this server: model, aspect, count and more.", guild_only=True
)


@settings.command(name="show", description="What you get here where you name nothing, and who has said so.")
async def show(interaction: discord.Interaction[FluxBot]) -> None:
    """Show what holds in this channel, privately."""
    await _tell(interaction)


@settings.command(name="set", description="Set your own defaults; what you leave out stays as it is.")
@app_commands.describe(
    model="Which model draws",
    aspect="Shape of the picture",
    count="How many pictures",
    format="File format of the pictures",
    mode="How much exactness to give for speed",
    private="Show the pictures to you alone",
    notify="Send you a direct message when the pictures are there",
)
@app_commands.choices(
    aspect=[app_commands.Choice(name=aspect, value=aspect) for aspect in ASPECTS],
    format=[app_commands.Choice(name=known.name, value=known.value) for known in OutputFormat],
    mode=[app_commands.Choice(name=f"{mode}: {what}", value=mode.value) for mode, what in MODES.items()],
)
async def set_some(
    interaction: discord.Interaction[FluxBot],
    model: str | None = None,
    aspect: str | None = None,
    count: int | None = None,
    format: str | None = None,
    mode: str | None = None,
    private: bool | None = None,
    notify: bool | None = None,
) -> None:
    """Check what was given, and keep it."""
    studio = interaction.client.studio
    given = Preferences(
        model=None if model is None else model.strip().lower(),
        aspect=aspect,
        count=count,
        output_format=format,
        mode=mode,
        private=private,
        notify=notify,
    )
    if given == NOTHING_SET:
        await answer(interaction, "Name at least one setting, for example `/settings set count:2`.")
        return
    where = whereabouts(interaction)
    check(given, studio.catalogue, await studio.personal.permitted(account_of(interaction), where.role_ids))
    await studio.personal.set_preferences(
        account_of(interaction), lambda before: before.model_copy(update=given.model_dump(exclude_none=True))
    )
    await _tell(interaction, f"Saved: {named(given)}.")


@settings.command(name="reset", description="Forget your own defaults, all or one of them.")
@app_commands.describe(setting="Which one; left out: all of them")
@app_commands.choices(setting=[app_commands.Choice(name=name, value=field) for field, name in NAMES.items()])
async def reset(interaction: discord.Interaction[FluxBot], setting: str | None = None) -> None:
    """Forget what was set."""

    def forget(before: Preferences) -> Preferences:
        after = NOTHING_SET if setting is None else before.model_copy(update={setting: None})
        if after == before:
            raise AlreadySo(what=f"you have not set {'anything' if setting is None else f'**{NAMES[setting]}**'}")
        return after

    await interaction.client.studio.personal.set_preferences(account_of(interaction), forget)
    await _tell(interaction, "Forgotten." if setting is None else f"**{NAMES[setting]}** is forgotten.")


@set_some.autocomplete("model")
async def offer_models(interaction: discord.Interaction[FluxBot], typed: str) -> list[app_commands.Choice[str]]:
    """Offer the models that this member may use."""
    return await choices.models(interaction, typed)


async def _tell(interaction: discord.Interaction[FluxBot], lead: str | None = None) -> None:
    studio = interaction.client.studio
    known = await studio.personal.circumstances(account_of(interaction), whereabouts(interaction))
    await answer(interaction, settings_card(known, studio.catalogue, lead=lead))
