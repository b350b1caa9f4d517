"""The sandbox's guilds as Discord's API tells it."""

from __future__ import annotations

from typing import Any

from .community import JOINED_AT, OWNER_ID, PUBLIC_THREAD, TEXT, Channel, Community, Guild


def guild(guild: Guild) -> dict[str, Any]:
    """Return Discord's guild object without what only GUILD_CREATE carries."""
    return {
        "id": guild.id,
        "name": guild.name,
        "icon": None,
        "splash": None,
        "discovery_splash": None,
        "description": None,
        "banner": None,
        "owner_id": OWNER_ID,
        "region": "deprecated",
        "afk_channel_id": None,
        "afk_timeout": 300,
        "verification_level": 0,
        "default_message_notifications": 1,
        "explicit_content_filter": 0,
        "roles": [role.raw() for role in guild.roles.values()],
        "emojis": [],
        "stickers": [],
        "features": [],
        "mfa_level": 0,
        "application_id": None,
        "system_channel_id": None,
        "system_channel_flags": 0,
        "rules_channel_id": None,
        "public_updates_channel_id": None,
        "vanity_url_code": None,
        "premium_tier": 0,
        "premium_subscription_count": 0,
        "preferred_locale": "en-US",
        "nsfw_level": 0,
        "max_members": 500_000,
    }


def channels(community: Community, guild_id: str) -> list[dict[str, Any]]:
    """Return a guild's channels; Discord lists threads elsewhere."""
    return [channel.raw() for channel in _of(community, guild_id) if channel.kind == TEXT]


def guild_create(community: Community, guild_id: str) -> dict[str, Any]:
    """Return the GUILD_CREATE payload; like Discord without the members intent, with the bot as only member."""
    here = community.guilds[guild_id]
    return {
        **guild(here),
        "joined_at": JOINED_AT,
        "large": False,
        "unavailable": False,
        "member_count": len(here.members),
        "members": [here.members[community.bot.id].raw()],
        "channels": channels(community, guild_id),
        "threads": [channel.raw() for channel in _of(community, guild_id) if channel.kind == PUBLIC_THREAD],
        "voice_states": [],
        "presences": [],
        "stage_instances": [],
        "guild_scheduled_events": [],
        "soundboard_sounds": [],
    }


def _of(community: Community, guild_id: str) -> list[Channel]:
    return [channel for channel in community.channels.values() if channel.guild_id == guild_id]
