"""The slash commands, one file per group."""

from __future__ import annotations

from typing import Any

from discord import app_commands

from bot.commands.account import quota
from bot.commands.admin import admin
from bot.commands.data import data
from bot.commands.imagine import imagine
from bot.commands.library import help_command, history, jobs
from bot.commands.menus import member_usage, picture_details, vary_picture
from bot.commands.report_menu import report
from bot.commands.settings import settings

COMMANDS: tuple[app_commands.Command[Any, ..., Any] | app_commands.Group | app_commands.ContextMenu, ...] = (
    imagine,
    jobs,
    history,
    quota,
    settings,
    data,
    help_command,
    admin,
    picture_details,
    vary_picture,
    report,
    member_usage,
)
