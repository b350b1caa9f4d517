"""Further guilds of the sandbox, with the same people: so that several shards have something to do."""

from __future__ import annotations

from .community import (
    APPLICATION_ID,
    GRACE_ID,
    Channel,
    Community,
    Guild,
    Member,
    Role,
    fixed,
)
from .rules.permissions import EVERYONE, MODERATOR, Overwrite, Permission

MOST_GUILDS = 8
"""Guilds that a sandbox can have, the first one counted."""
_CYCLE = 840
"""The least number that 1 to 8 all divide: ids apart by it are on the same shard of up to eight."""


def annex(community: Community, number: int) -> None:
    """Open guild ``number`` (from 2 to ``MOST_GUILDS``), with the channels studio-<number> and moderators-<number>.

    Guilds 1 to n are each on a shard of its own where there are n shards. Grace moderates here, too.
    """
    guild_id = fixed(_CYCLE + number)
    moderators, own = fixed(2_000 + 10 * number), fixed(2_001 + 10 * number)
    roles = (
        Role(guild_id, "@everyone", EVERYONE, 0),
        Role(moderators, "Moderator", MODERATOR, 1, color=0xE67E22),
        Role(own, "flux-bot", EVERYONE, 2, bot_id=APPLICATION_ID),
    )
    held = {GRACE_ID: (moderators,), community.bot.id: (own,)}
    members = {user_id: Member(member.user, held.get(user_id, ())) for user_id, member in community.members.items()}
    for_moderators = [
        Overwrite(guild_id, 0, deny=Permission.VIEW_CHANNEL),
        Overwrite(moderators, 0, allow=Permission.VIEW_CHANNEL),
        Overwrite(own, 0, allow=Permission.VIEW_CHANNEL),
    ]
    channels = (
        Channel(fixed(2_002 + 10 * number), f"studio-{number}", "Where pictures are made.", guild_id=guild_id),
        Channel(
            fixed(2_003 + 10 * number),
            f"moderators-{number}",
            "Where order is kept.",
            position=1,
            overwrites=for_moderators,
            guild_id=guild_id,
        ),
    )
    community.add(Guild(guild_id, f"Annex {number}", {role.id: role for role in roles}, members), channels)
