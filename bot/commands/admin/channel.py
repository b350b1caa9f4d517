"""/admin channel: where pictures are drawn, and with which options."""

from __future__ import annotations

from discord import app_commands

channel = app_commands.Group(name="channel", description="Where pictures are drawn, and with which options.")
