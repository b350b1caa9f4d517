"""/admin tier: what roles give beyond what everybody has."""

from __future__ import annotations

from discord import app_commands

tier = app_commands.Group(name="tier", description="What roles give beyond what everybody has.")
