"""/imagine: words, and perhaps a picture, become a job."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

import discord
from discord import app_commands

from bot import defaults
from bot.interactions import choices, orders, provider_choices
from bot.interactions.choices import CHOICE_LIMIT, MOST_CHOICES
from bot.interactions.whereabouts import account_of, whereabouts
from bot.layouts import mode_choices
from bot.words import prompt_flags
from bot.words.phrasing import shorten
from flux_core.errors import StorageUnavailable
from flux_core.generation import GenerationRequest, InputPicture, OutputFormat, RequestOptions, resolve
from flux_core.images.intake import check_mask
from flux_core.jobs import Origin
from flux_core.models import ASPECTS, ModelSpec
from flux_core.service.personal import NOTHING_KNOWN

if TYPE_CHECKING:
    from bot.client import FluxBot

log = logging.getLogger(__name__)

KNOWN_WITHIN = 1.75
"""Seconds for looking up what a member and a channel prefer: after it, what is quick still has its time. Of thousands
at the same moment, the last are told when those before them are on their way."""


@app_commands.command(description="Draw pictures from words.")
@app_commands.describe(
    prompt="What to draw. Flags work here too: --ar 16:9 --seed 7 --n 2",
    model="Which model draws",
    provider="Who draws: local, or a hosted provider. Left out: the studio decides",
    aspect="Shape of the picture",
    size="Exact size in pixels instead of an aspect, such as 1024x768",
    mode="How much exactness to give for speed",
    steps="More steps are finer, and slower",
    guidance="How closely to follow the words",
    seed="The same seed and options draw the same picture again",
    count="How many pictures",
    image="Start from this picture: PNG, JPEG, WebP or GIF",
    mask="Of your picture: white where it shall be painted anew, black where it stays",
    lora="A style that this studio has, with its weight if you like, such as ink:0.8",
    strength="How much of your picture may change: 0.3 keeps much of it, 0.9 little",
    format="File format of the pictures",
    spoiler="Hide the pictures until clicked",
    private="Show the pictures to you alone",
)
@app_commands.choices(
    aspect=[app_commands.Choice(name=aspect, value=aspect) for aspect in ASPECTS],
    format=[app_commands.Choice(name=known.name, value=known.value) for known in OutputFormat],
)
@app_commands.guild_only()
async def imagine(
    interaction: discord.Interaction[FluxBot],
    prompt: str,
    model: str | None = None,
    provider: str | None = None,
    aspect: str | None = None,
    size: str | None = None,
    mode: str | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    seed: int | None = None,
    count: int | None = None,
    image: discord.Attachment | None = None,
    mask: discord.Attachment | None = None,
    strength: float | None = None,
    lora: str | None = None,
    format: str | None = None,
    spoiler: bool | None = None,
    private: bool | None = None,
) -> None:
    """Check what can be checked at once, then order."""
    bot = interaction.client
    given = RequestOptions(
        prompt=prompt,
        model=model,
        provider=provider,
        aspect=aspect,
        size=size,
        mode=mode,
        steps=steps,
        guidance=guidance,
        seed=seed,
        count=count,
        strength=strength,
        lora=lora,
        output_format=format,
    )
    typed = prompt_flags.combine(prompt_flags.parse(prompt), given)
    declared, declared_mask = (_declared(bot, attachment) for attachment in (image, mask))
    account, where = account_of(interaction), whereabouts(interaction)
    # Whether the answer may be seen by others is part of it, so nothing can be answered before it is known.
    async with asyncio.timeout(KNOWN_WITHIN):
        known = await bot.studio.personal.circumstances(account, where)
    settled = defaults.settle(
        typed,
        known.preferences,
        known.channel,
        bot.studio.catalogue,
        known.permitted,
        picture=declared,
        mask=mask is not None,
        private=private,
        spoiler=spoiler,
    )
    options = settled.options
    loras = None
    if options.lora is not None:
        async with asyncio.timeout(KNOWN_WITHIN):
            loras = await bot.studio.loras()
    draft = resolve(options, bot.studio.catalogue, picture=declared, mask=declared_mask, loras=loras)

    async def with_pictures(*attachments: discord.Attachment) -> GenerationRequest:
        given = [await bot.attachments.read(one.url) for one in attachments]
        for masked in given[1:]:
            await asyncio.to_thread(check_mask, masked, (given[0].width, given[0].height))
        kept = [await bot.studio.store_input(one) for one in given]
        exact = options.model_copy(update={"seed": draft.seed})
        to_paint = kept[1] if len(kept) > 1 else None
        return resolve(exact, bot.studio.catalogue, picture=kept[0], mask=to_paint, loras=loras)

    order = orders.Order(
        account=account,
        request=draft,
        origin=Origin.IMAGINE,
        where=where,
        private=settled.private,
        spoiler=settled.spoiler,
        notify=bool(known.preferences.notify),
    )
    given_pictures = [one for one in (image, mask) if one is not None]
    await orders.take(bot.studio, interaction, order, partial(with_pictures, *given_pictures) if image else None)


def _declared(bot: FluxBot, attachment: discord.Attachment | None) -> InputPicture | None:
    """Return what Discord says of an upload, which serves until the picture itself is here."""
    if attachment is None:
        return None
    bot.attachments.check(size=attachment.size, content_type=attachment.content_type)
    return InputPicture(key="", width=attachment.width or 1024, height=attachment.height or 1024)


@imagine.autocomplete("model")
async def offer_models(interaction: discord.Interaction[FluxBot], typed: str) -> list[app_commands.Choice[str]]:
    """Offer the models that this member may use, each with what it is good for and what it may be used for."""
    return await choices.models(interaction, typed)


@imagine.autocomplete("provider")
async def offer_providers(interaction: discord.Interaction[FluxBot], typed: str) -> list[app_commands.Choice[str]]:
    """Offer who can draw the model that was chosen, with the price where it is known."""
    bot, wanted = interaction.client, typed.strip().lower()
    spec = await _chosen_model(interaction)
    try:
        workers, policy = await bot.studio.venues(), await bot.studio.routing_of(interaction.guild_id or 0)
    except StorageUnavailable:
        log.warning("the living workers could not be read", exc_info=True)
        workers, policy = [], bot.settings.routing
    found = provider_choices.choices(bot.settings, workers, spec, policy.providers)
    return [
        app_commands.Choice(name=shorten(label, CHOICE_LIMIT), value=name)
        for name, label in found.items()
        if wanted in name or wanted in label.lower()
    ][:MOST_CHOICES]


@imagine.autocomplete("mode")
async def offer_modes(interaction: discord.Interaction[FluxBot], typed: str) -> list[app_commands.Choice[str]]:
    """Offer the modes, each with what it gives up, and whether anybody here draws the chosen model in it."""
    bot = interaction.client
    spec = await _chosen_model(interaction)
    try:
        workers = await bot.studio.venues()
    except StorageUnavailable:
        log.warning("the living workers could not be read", exc_info=True)
        workers = []
    return [
        app_commands.Choice(name=shorten(label, CHOICE_LIMIT), value=mode.value)
        for mode, label in mode_choices.choices(workers, spec).items()
        if typed.strip().lower() in label.lower()
    ]


@imagine.autocomplete("lora")
async def offer_loras(interaction: discord.Interaction[FluxBot], typed: str) -> list[app_commands.Choice[str]]:
    """Offer the LoRAs for the model that was chosen, with the weight that was typed."""
    spec = await _chosen_model(interaction)
    name, colon, weight = typed.strip().lower().partition(":")
    studio = interaction.client.studio
    try:
        known = await studio.loras(now=True)
    except StorageUnavailable:
        log.warning("the LoRAs of the living workers could not be read", exc_info=True)
        known = studio.catalogue.known_loras
    fitting = [lora for lora, models in known.items() if spec.id in models]
    found = [f"{one}{colon}{weight}" for one in fitting if name in one]
    return [app_commands.Choice(name=shorten(one, CHOICE_LIMIT), value=one[:CHOICE_LIMIT]) for one in found][
        :MOST_CHOICES
    ]


async def _chosen_model(interaction: discord.Interaction[FluxBot]) -> ModelSpec:
    """Return the model that was chosen so far, or that will draw where none is."""
    studio, model = interaction.client.studio, interaction.namespace.model
    try:
        known = await studio.personal.circumstances(account_of(interaction), whereabouts(interaction))
    except StorageUnavailable:
        log.warning("a member's settings could not be read", exc_info=True)
        known = NOTHING_KNOWN
    typed = RequestOptions(prompt="", model=model if model in studio.catalogue else None)
    settled = defaults.settle(typed, known.preferences, known.channel, studio.catalogue, known.permitted)
    return studio.catalogue.default if settled.options.model is None else studio.catalogue[settled.options.model]


@imagine.autocomplete("prompt")
async def offer_prompts(interaction: discord.Interaction[FluxBot], typed: str) -> list[app_commands.Choice[str]]:
    """Offer the member's own latest prompts, those short enough for a choice."""
    try:
        latest = await interaction.client.studio.recent_prompts(account_of(interaction), typed, limit=MOST_CHOICES)
    except Exception:
        # A list that stays empty is no reason to disturb anybody who is typing.
        log.warning("recent prompts could not be read", exc_info=True)
        return []
    return [app_commands.Choice(name=prompt, value=prompt) for prompt in latest if len(prompt) <= CHOICE_LIMIT]
