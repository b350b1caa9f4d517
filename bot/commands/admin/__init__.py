"""/admin: everything that moderators decide, one file per subject."""

from __future__ import annotations

from bot.commands.admin import old  # noqa: F401 (puts its commands into the group)
from bot.commands.admin.group import admin
from bot.commands.admin.provider import provider
from bot.commands.admin.queue import queue

GROUPS = (provider, queue)
"""Discord takes up to 25 commands and groups in one group."""

for _group in GROUPS:
    admin.add_command(_group)

__all__ = ["admin"]
