"""/admin models: which models this server uses."""

from __future__ import annotations

from discord import app_commands

models = app_commands.Group(name="models", description="Which models this server uses.")
