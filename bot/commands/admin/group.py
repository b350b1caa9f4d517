"""/admin: the group that all its commands hang on."""

from __future__ import annotations

import discord
from discord import app_commands

admin = app_commands.Group(
    name="admin",
    description="Keep order in this server.",
    guild_only=True,
    default_permissions=discord.Permissions(manage_guild=True),
)
