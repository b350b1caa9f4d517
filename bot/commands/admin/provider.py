"""/admin provider: who draws for this server, what it may cost, and how the hosted providers are doing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import discord
from discord import app_commands

from bot.commands.admin import choosing
from bot.commands.admin.check import check
from bot.interactions.answers import answer
from bot.interactions.provider_choices import hosted_offers
from bot.layouts import panels
from bot.layouts.cards import Card
from bot.words.phrasing import title_of
from flux_core.errors import AlreadySo, NotANumber, OutOfRange, UnknownProvider
from flux_core.policy.guild import MOST_DOLLARS, GuildPolicy
from flux_core.router import RoutingPolicy

if TYPE_CHECKING:
    from bot.client import FluxBot

ALL, NONE, OFF = "all", "none", "off"
MICRODOLLARS = 1_000_000
LONGEST_WAIT = 24 * 3600
"""Seconds that a job may have to wait for our own cards before a hosted provider takes it."""

provider = app_commands.Group(name="provider", description="Who draws for this server.")


@choosing.for_moderators
async def offer_lists(interaction: discord.Interaction[Any], typed: str) -> choosing.Choices:
    """Offer hosted providers for a list with commas, and the two words that stand for all of them."""
    return choosing.listed(typed, await _known(interaction), (ALL, NONE))


@provider.command(description="Who draws here, at what cost, and how each is doing.")
async def show(interaction: discord.Interaction[FluxBot]) -> None:
    """Tell the policy and the state of every hosted provider, privately."""
    check(interaction)
    await answer(interaction, await _told(interaction))


@provider.command(name="set", description="Change who draws; what is left out stays as it is.")
@app_commands.describe(
    first="Who draws when both could",
    order="Which hosted one comes first",
    overflow="Local first: seconds a job waits before a hosted one takes it",
    providers="Those that may draw: names with commas between, all, or none",
)
@app_commands.autocomplete(providers=offer_lists)
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
        changes["providers"] = _named(providers, await _known(interaction))
    operators = await studio.routing_of(guild_id)

    def change(before: GuildPolicy) -> GuildPolicy:
        # On what holds now: another moderator may have changed the rest meanwhile.
        prefers = (before.routing or operators).model_dump() | changes
        return before.model_copy(update={"routing": RoutingPolicy.model_validate(prefers)})

    if changes:
        await studio.policies.change(guild_id, change, by=interaction.user.id, action="provider set", routing=changes)
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


@provider.command(description="Let a hosted provider draw here.")
@app_commands.describe(name="Which one")
async def enable(interaction: discord.Interaction[FluxBot], name: str) -> None:
    """Add a provider to those that may draw."""
    check(interaction)
    await _allow(interaction, name, allowed=True)


@provider.command(description="Let a hosted provider draw no more here.")
@app_commands.describe(name="Which one")
async def disable(interaction: discord.Interaction[FluxBot], name: str) -> None:
    """Take a provider out of those that may draw."""
    check(interaction)
    await _allow(interaction, name, allowed=False)


async def _allow(interaction: discord.Interaction[FluxBot], text: str, *, allowed: bool) -> None:
    studio, guild_id = interaction.client.studio, interaction.guild_id or 0
    known = await _known(interaction)
    name = text.strip().lower()
    if name not in known:
        raise UnknownProvider(value=text, known=known, listed=True)
    routing = await studio.routing_of(guild_id)

    def change(before: GuildPolicy) -> GuildPolicy:
        prefers = before.routing or routing
        draw = known if prefers.providers is None else list(prefers.providers)
        if (name in draw) == allowed:
            may = "may draw already" if allowed else "may not draw as it is"
            raise AlreadySo(what=f"{title_of(name)} {may}")
        # In the studio's own order; those that are not there at the moment stay as they were.
        kept = [one for one in dict.fromkeys([*known, *draw]) if (allowed if one == name else one in draw)]
        return before.model_copy(update={"routing": prefers.model_copy(update={"providers": tuple(kept)})})

    action = "provider enable" if allowed else "provider disable"
    await studio.policies.change(guild_id, change, by=interaction.user.id, action=action, provider=name)
    await answer(interaction, await _told(interaction))


@provider.command(description="Limit what hosted providers may get in a day.")
@app_commands.describe(dollars="US dollars, such as 5 or 0.50; off for no limit")
async def cap(interaction: discord.Interaction[FluxBot], dollars: str) -> None:
    """Set the server's own cap of money."""
    check(interaction)
    amount = _amount(dollars)
    await interaction.client.studio.policies.change(
        interaction.guild_id or 0,
        lambda before: before.model_copy(update={"dollars_a_day": amount}),
        by=interaction.user.id,
        action="provider cap",
        dollars=amount,
    )
    await answer(interaction, await _told(interaction))


def _amount(text: str) -> float | None:
    """Read an amount of dollars; None for "off". Raises NotANumber or OutOfRange."""
    typed = text.strip().lower().removeprefix("$").removesuffix("$").strip()
    if typed == OFF:
        return None
    try:
        amount = float(typed)
    except ValueError:
        raise NotANumber(field="dollars", value=text) from None
    if not math.isfinite(amount):
        raise NotANumber(field="dollars", value=text)
    if not 0 <= amount <= MOST_DOLLARS:
        raise OutOfRange(field="dollars", value=amount, low=0, high=MOST_DOLLARS)
    return round(amount, 6) + 0.0  # -0 is 0


@enable.autocomplete("name")
@disable.autocomplete("name")
@choosing.for_moderators
async def offer_names(interaction: discord.Interaction[Any], typed: str) -> list[app_commands.Choice[str]]:
    """Offer the hosted providers for which the command would change something."""
    routing = await interaction.client.studio.routing_of(interaction.guild_id or 0)
    allowed, wanted = interaction.command is disable, typed.strip().lower()
    named = {name: f"{title_of(name)} ({name})" for name in await _known(interaction)}
    return [
        choosing.choice(title, name)
        for name, title in named.items()
        if (routing.providers is None or name in routing.providers) == allowed and wanted in title.lower()
    ]


async def _known(interaction: discord.Interaction[FluxBot]) -> list[str]:
    """Return the hosted providers that are configured, or have a living worker."""
    return list(hosted_offers(interaction.client.settings, await interaction.client.studio.venues()))


async def _told(interaction: discord.Interaction[FluxBot]) -> Card:
    studio, guild_id = interaction.client.studio, interaction.guild_id or 0
    policy, workers = await studio.routing_of(guild_id), await studio.venues()
    known = list(hosted_offers(interaction.client.settings, workers))
    most = (await studio.policies.of(guild_id)).dollars_a_day
    return panels.providers(
        policy,
        known,
        workers,
        await studio.spent_today(),
        here=await studio.usage.spent_today(guild_id),
        cap=None if most is None else round(most * MICRODOLLARS),
    )
