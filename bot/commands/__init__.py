"""The slash commands, one file per group."""

from __future__ import annotations

from typing import Any

from discord import app_commands

from bot.commands.account import quota
from bot.commands.admin import admin
from bot.commands.imagine import imagine
from bot.commands.library import help_command, jobs

COMMANDS: tuple[app_commands.Command[Any, ..., Any] | app_commands.Group, ...] = (
    imagine,
    jobs,
    help_command,
    quota,
    admin,
)
