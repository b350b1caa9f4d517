"""/admin moderation: what moderators look at, and what happens to pictures that are not for everybody."""

from __future__ import annotations

from discord import app_commands

moderation = app_commands.Group(
    name="moderation", description="What moderators look at, and what happens to pictures that are not for everybody."
)
