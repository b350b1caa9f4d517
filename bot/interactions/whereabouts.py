"""Where an interaction happens and as whom its member asks, for the community's rules."""

from __future__ import annotations

from typing import Any

import discord

from flux_core.jobs import NOWHERE, Account, Whereabouts


def whereabouts(interaction: discord.Interaction[Any]) -> Whereabouts:
    """Return the channel (of a thread the thread, then its channel) and the member's roles."""
    if interaction.guild_id is None or interaction.channel_id is None:
        return NOWHERE
    channel = interaction.channel
    channel_ids = [interaction.channel_id]
    if isinstance(channel, discord.Thread):
        channel_ids.append(channel.parent_id)
    # What cannot be looked up, such as a thread's unknown channel, counts as open to everybody.
    restricted = getattr(channel, "is_nsfw", None)
    return Whereabouts(
        channel_ids=tuple(channel_ids),
        role_ids=roles_of(interaction.user),
        age_restricted=restricted is not None and bool(restricted()),
    )


def roles_of(user: discord.Member | discord.User) -> frozenset[int]:
    """Return the ids of a member's roles without @everyone."""
    # Member.roles knows only what the gateway has told already: right after a start, nobody would have any role.
    return frozenset(user._roles) if isinstance(user, discord.Member) else frozenset()


def account_of(interaction: discord.Interaction[Any]) -> Account:
    """Return the account of whoever acts; guild 0 in direct messages."""
    return Account(interaction.guild_id or 0, interaction.user.id)
