"""/admin moderation: what moderators look at, and what happens to pictures that are not for everybody."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal

import discord
from discord import app_commands

from bot.commands.admin.channel import WithMessages
from bot.commands.admin.check import check
from bot.interactions.answers import answer, think
from bot.layouts import panels_moderation
from bot.layouts.cards import note
from bot.reviews.waiting import waiting
from flux_core.errors import AlreadySo, InvalidPolicy
from flux_core.moderation.rule_edits import with_moderators_channel, with_output

if TYPE_CHECKING:
    from bot.client import FluxBot

log = logging.getLogger(__name__)


class OnlyText(WithMessages):
    """A channel for messages alone."""

    @property
    def channel_types(self) -> list[discord.ChannelType]:
        """Return what Discord lets moderators choose."""
        return [discord.ChannelType.text, discord.ChannelType.news]


TextChannel = app_commands.Transform[app_commands.AppCommandChannel, OnlyText]
GREETING = "Approvals and reports of members come here from now on."

moderation = app_commands.Group(name="moderation", description="Approvals, and pictures that are not for everybody.")


@moderation.command(description="What was decided, and what waits for a moderator.")
async def show(interaction: discord.Interaction[FluxBot]) -> None:
    """Tell all of it, privately."""
    check(interaction)
    studio, guild_id = interaction.client.studio, interaction.guild_id or 0
    policy = await studio.policies.of(guild_id)
    decided = panels_moderation.moderation(policy, checked=_is_checked(interaction))
    undecided = waiting(await studio.reviews.waiting(guild_id), policy.moderators_channel)
    await answer(interaction, f"{decided}\n{undecided}".rstrip())


@moderation.command(description="Where approvals and reports go.")
@app_commands.describe(channel="One that only moderators see", off="Nowhere any more")
async def channel(
    interaction: discord.Interaction[FluxBot],
    channel: TextChannel | None = None,
    off: bool = False,
) -> None:
    """Set the moderators' channel, after posting into it, or take it away."""
    check(interaction)
    if (channel is None) != off:
        raise InvalidPolicy(problems=["say either a channel or off:True"])
    studio, guild_id = interaction.client.studio, interaction.guild_id or 0
    channel_id = None if channel is None else channel.id
    with_moderators_channel(await studio.policies.of(guild_id), channel_id)  # what speaks against it comes first
    if channel is not None:
        await think(interaction)
        await _greet(interaction, channel)
    await studio.policies.change(
        guild_id,
        lambda before: with_moderators_channel(before, channel_id),
        by=interaction.user.id,
        action="moderation channel",
        channel=None if channel_id is None else str(channel_id),
    )
    if channel_id is None:
        kept = "What members report is kept until there is one."
        await answer(interaction, f"Approvals and reports have no channel any more. {kept}")
    else:
        public = " Everybody here can read that channel, and so the prompts and names in them."
        warning = public if _is_open(interaction, channel_id) else ""
        await answer(interaction, f"Approvals and reports go to <#{channel_id}>.{warning}")


def _is_open(interaction: discord.Interaction[FluxBot], channel_id: int) -> bool:
    """Say whether everybody in the server sees a channel, as far as is known."""
    guild = interaction.guild
    place = None if guild is None else guild.get_channel(channel_id)
    return guild is not None and place is not None and place.permissions_for(guild.default_role).view_channel


async def _greet(interaction: discord.Interaction[FluxBot], channel: app_commands.AppCommandChannel) -> None:
    """Post into the channel; raises InvalidPolicy where that cannot be done."""
    try:
        place = interaction.client.get_partial_messageable(channel.id, guild_id=interaction.guild_id)
        await place.send(view=note(GREETING))
    except discord.Forbidden:
        name = f"#{channel.name}"
        raise InvalidPolicy(
            problems=[f"I cannot post in {name}: I need View Channel, Send Messages and Embed Links there"]
        ) from None
    except discord.HTTPException as failure:
        log.warning("the moderators' channel took no message: %s (code %s)", failure.status, failure.code)
        raise InvalidPolicy(
            problems=[f"Discord did not take my message in #{channel.name}; please try again in a moment"]
        ) from None


@moderation.command(description="What happens to pictures that are not for everybody.")
@app_commands.describe(
    action="age_restricted: shown in such channels only",
    threshold="How sure the check has to be, 0 to 1",
)
async def output(
    interaction: discord.Interaction[FluxBot],
    action: Literal["allow", "spoiler", "age_restricted", "refuse"] | None = None,
    threshold: app_commands.Range[float, 0.01, 1.0] | None = None,
) -> None:
    """Change the rule for drawn pictures."""
    check(interaction)
    given: dict[str, Any] = {"does": action, "threshold": threshold}
    said = {name: value for name, value in given.items() if value is not None}
    policy = await interaction.client.studio.policies.change(
        interaction.guild_id or 0,
        lambda before: with_output(before, action, threshold),
        by=interaction.user.id,
        action="moderation output",
        **said,
    )
    told = panels_moderation.output(policy.output)
    await answer(interaction, f"{told}{panels_moderation.unchecked(_is_checked(interaction))}")


@moderation.command(description="Whether picture files tell their prompt.")
@app_commands.describe(told="False: from now on they do not")
async def prompts(interaction: discord.Interaction[FluxBot], told: bool) -> None:
    """Change what picture files tell."""
    check(interaction)
    studio, guild_id = interaction.client.studio, interaction.guild_id or 0
    if (await studio.policies.of(guild_id)).tell_prompt is told:
        raise AlreadySo(what=f"picture files {'tell' if told else 'do not tell'} their prompt already")
    policy = await studio.policies.change(
        guild_id,
        lambda before: before.model_copy(update={"tell_prompt": told}),
        by=interaction.user.id,
        action="moderation prompts",
        told=told,
    )
    operator = interaction.client.settings.prompt_in_pictures
    silenced = "" if operator or not told else " But this bot's operator has turned that off for every server."
    await answer(interaction, f"{panels_moderation.told_prompts(policy)}{silenced}")


def _is_checked(interaction: discord.Interaction[FluxBot]) -> bool:
    return bool(interaction.client.settings.output_check_model)
