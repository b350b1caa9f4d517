"""/admin: everything that moderators decide, one file per subject."""

from __future__ import annotations

from typing import Any

from discord import app_commands

from bot.commands.admin import ban, granting  # noqa: F401 (they put their commands into groups)
from bot.commands.admin.audit import audit
from bot.commands.admin.blocklist import blocklist
from bot.commands.admin.channel import channel
from bot.commands.admin.group import admin
from bot.commands.admin.models import models
from bot.commands.admin.moderation import moderation
from bot.commands.admin.policy import policy
from bot.commands.admin.provider import provider
from bot.commands.admin.queue import queue
from bot.commands.admin.quota import quota
from bot.commands.admin.tier import tier
from bot.commands.admin.usage import usage

GROUPS: tuple[app_commands.Group | app_commands.Command[Any, ..., None], ...] = (
    quota,
    tier,
    channel,
    models,
    blocklist,
    moderation,
    provider,
    queue,
    usage,
    audit,
    policy,
)
"""Discord takes up to 25 commands and groups in one group."""

for _group in GROUPS:
    admin.add_command(_group)

__all__ = ["admin"]
