"""/admin policy: all that this server has decided, as one document."""

from __future__ import annotations

from discord import app_commands

policy = app_commands.Group(name="policy", description="All that this server has decided, as one document.")
