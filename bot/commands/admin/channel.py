"""/admin channel: where pictures are drawn, and with which options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import discord
from discord import app_commands

from bot.commands.admin import choosing
from bot.commands.admin.check import check
from bot.interactions.answers import answer
from bot.interactions.paging import page_of, paged
from bot.layouts import panels_admin
from bot.layouts.cards import Card
from flux_core.catalogue import Catalogue
from flux_core.errors import AlreadySo, InvalidPolicy, OutOfRange, UnknownModel
from flux_core.generation import OutputFormat
from flux_core.models import ASPECTS
from flux_core.policy.edits import with_channel, with_defaults, without_channel
from flux_core.policy.guild import GuildPolicy

if TYPE_CHECKING:
    from bot.client import FluxBot


class WithMessages(app_commands.Transformer):
    """A channel in which members can write, or a thread."""

    @property
    def type(self) -> discord.AppCommandOptionType:
        """Return that it is a channel."""
        return discord.AppCommandOptionType.channel

    @property
    def channel_types(self) -> list[discord.ChannelType]:
        """Return what Discord lets moderators choose."""
        return [
            discord.ChannelType.text,
            discord.ChannelType.news,
            discord.ChannelType.voice,
            discord.ChannelType.stage_voice,
            discord.ChannelType.forum,
            discord.ChannelType.public_thread,
            discord.ChannelType.private_thread,
            discord.ChannelType.news_thread,
        ]

    async def transform(self, interaction: discord.Interaction[Any], value: Any, /) -> Any:
        """Take it as Discord resolved it: it need not be in any cache."""
        return value


Place = app_commands.Transform[app_commands.AppCommandChannel | app_commands.AppCommandThread, WithMessages]
Model = app_commands.Range[str, 1, 60]
Count = app_commands.Range[int, 1, 10]
Steps = app_commands.Range[int, 1, 200]

channel = app_commands.Group(name="channel", description="Where pictures are drawn, and with which options.")


@channel.command(description="Where pictures are drawn, and which options each channel has.")
async def show(interaction: discord.Interaction[FluxBot]) -> None:
    """List the channels that have rules, privately."""
    await answer(interaction, await _page(interaction, ""))


@paged("channels")
async def _page(interaction: discord.Interaction[Any], cursor: str) -> Card:
    check(interaction)
    policy = await interaction.client.studio.policies.of(interaction.guild_id or 0)
    lines = [panels_admin.channel(rule) for rule in policy.channels]
    return page_of("channels", panels_admin.channels_closed(policy), lines, cursor, empty="No channel has rules.")


@channel.command(description="Draw here. As soon as one channel is allowed, only the allowed ones are left.")
@app_commands.describe(channel="Left out: this one")
async def allow(interaction: discord.Interaction[FluxBot], channel: Place | None = None) -> None:
    """Allow a channel by name."""
    await _allowed(interaction, channel, True, "channel allow")


@channel.command(description="Draw no pictures here.")
@app_commands.describe(channel="Left out: this one")
async def deny(interaction: discord.Interaction[FluxBot], channel: Place | None = None) -> None:
    """Deny a channel."""
    await _allowed(interaction, channel, False, "channel deny")


async def _allowed(
    interaction: discord.Interaction[FluxBot], channel: Place | None, allowed: bool, action: str
) -> None:
    check(interaction)
    place = _place(interaction, channel)

    def change(before: GuildPolicy) -> GuildPolicy:
        rule = before.rule_for((place,))
        if rule is not None and rule.allowed is allowed:
            raise AlreadySo(what=f"<#{place}> is {'allowed' if allowed else 'denied'} already")
        return with_channel(before, place, allowed=allowed)

    policy = await interaction.client.studio.policies.change(
        interaction.guild_id or 0, change, by=interaction.user.id, action=action, channel=str(place)
    )
    done = f"Pictures are drawn in <#{place}>." if allowed else f"No pictures are drawn in <#{place}> any more."
    await answer(interaction, f"{done} {panels_admin.channels_closed(policy)}")


@channel.command(description="Forget all that was said about a channel.")
@app_commands.describe(channel="Left out: this one")
async def reset(interaction: discord.Interaction[FluxBot], channel: Place | None = None) -> None:
    """Take a channel's rule out."""
    check(interaction)
    place = _place(interaction, channel)
    policy = await interaction.client.studio.policies.change(
        interaction.guild_id or 0,
        lambda before: without_channel(before, place, _name(interaction, channel)),
        by=interaction.user.id,
        action="channel reset",
        channel=str(place),
    )
    await answer(interaction, f"<#{place}> has no rules of its own any more. {panels_admin.channels_closed(policy)}")


@channel.command(description="Options taken here where a member names none; the rest stays as it is.")
@app_commands.describe(
    channel="Left out: this one",
    model="Which model draws",
    aspect="Shape of the picture",
    count="How many pictures",
    steps="More steps are finer, and slower",
    format="File format of the pictures",
    spoiler="Hide the pictures until clicked",
    private="Show the pictures to the member alone",
    clear="Forget the earlier ones",
)
@app_commands.choices(aspect=[app_commands.Choice(name=aspect, value=aspect) for aspect in ASPECTS])
@app_commands.autocomplete(model=choosing.model)
async def defaults(
    interaction: discord.Interaction[FluxBot],
    channel: Place | None = None,
    model: Model | None = None,
    aspect: str | None = None,
    count: Count | None = None,
    steps: Steps | None = None,
    format: Literal["webp", "png", "jpeg"] | None = None,
    spoiler: bool | None = None,
    private: bool | None = None,
    clear: bool = False,
) -> None:
    """Set a channel's default options."""
    check(interaction)
    given: dict[str, Any] = {
        "model": model,
        "aspect": aspect,
        "count": count,
        "steps": steps,
        "output_format": None if format is None else OutputFormat(format).value,
        "spoiler": spoiler,
        "private": private,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    if not changes and not clear:
        raise InvalidPolicy(problems=["say at least one option, or clear: True to forget the earlier ones"])
    catalogue, place = interaction.client.studio.catalogue, _place(interaction, channel)

    def change(before: GuildPolicy) -> GuildPolicy:
        after = with_defaults(before, place, changes, clear=clear)
        rule = after.rule_for((place,))
        if rule is not None:
            _fits(catalogue, rule.defaults.model, rule.defaults.count, rule.defaults.steps, changes)
        return after

    policy = await interaction.client.studio.policies.change(
        interaction.guild_id or 0,
        change,
        by=interaction.user.id,
        action="channel defaults",
        channel=str(place),
        **changes | ({"clear": True} if clear else {}),
    )
    rule = policy.rule_for((place,))
    taken = "" if rule is None else panels_admin.defaults(rule.defaults)
    await answer(
        interaction,
        f"In <#{place}>, where a member names none: {taken}." if taken else f"<#{place}> has no options of its own.",
    )


def _fits(catalogue: Catalogue, model: str | None, count: int | None, steps: int | None, said: dict[str, Any]) -> None:
    """Raise UnknownModel or OutOfRange for what the channel's model cannot do, where that was just ``said``."""
    if model is None or not said.keys() & {"model", "count", "steps"}:
        return
    if model not in catalogue:
        if "model" in said:
            raise UnknownModel(value=model, known=[spec.id for spec in catalogue])
        return
    spec = catalogue[model]
    for name, value, bounds in (("count", count, spec.count), ("steps", steps, spec.steps)):
        if value is not None and value not in bounds:
            raise OutOfRange(field=name, value=value, low=bounds.low, high=bounds.high)


def _place(interaction: discord.Interaction[FluxBot], channel: Place | None) -> int:
    """Return the channel that is meant; a thread alone stands for itself, its channel for all of its threads."""
    if channel is not None:
        return channel.id
    here = interaction.channel
    # Said in a thread, it is meant for its channel: threads come and go.
    parent = here.parent_id if isinstance(here, discord.Thread) else None
    return parent or interaction.channel_id or 0


def _name(interaction: discord.Interaction[FluxBot], channel: Place | None) -> str:
    return channel.name if channel is not None else str(getattr(interaction.channel, "name", "") or "this")
