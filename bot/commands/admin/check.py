"""Who may use /admin.

Discord hides the group from members without Manage Server, but servers can change that, so every command checks again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord

from bot.interactions.permissions import administers
from flux_core.errors import NotAllowed

if TYPE_CHECKING:
    from bot.client import FluxBot


def check(interaction: discord.Interaction[FluxBot], *, everywhere: bool = False) -> None:
    """Raise NotAllowed unless the member runs this server, or, for ``everywhere``, owns the bot.

    The bot's owner runs every server.
    """
    owns = interaction.user.id in interaction.client.owners
    if everywhere and not owns:
        raise NotAllowed(action="everywhere")
    # Nobody governs "this server" from a direct message: there it would be none, or all.
    if interaction.guild_id is None or not (owns or administers(interaction.permissions)):
        raise NotAllowed(action="admin")
