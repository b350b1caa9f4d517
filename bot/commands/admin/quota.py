"""/admin quota: allowances, credits and limits of members, roles and the server."""

from __future__ import annotations

from discord import app_commands

quota = app_commands.Group(name="quota", description="Allowances, credits and limits of members, roles and the server.")
