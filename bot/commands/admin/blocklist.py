"""/admin blocklist: words that this server does not want in prompts."""

from __future__ import annotations

from discord import app_commands

blocklist = app_commands.Group(name="blocklist", description="Words that this server does not want in prompts.")
