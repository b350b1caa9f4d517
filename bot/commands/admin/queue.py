"""/admin queue: what waits and what is being drawn."""

from __future__ import annotations

from discord import app_commands

queue = app_commands.Group(name="queue", description="What waits and what is being drawn.")
