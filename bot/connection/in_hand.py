"""What members have begun when the bot is told to end: whoever was told "thinking…" gets the answer first."""

from __future__ import annotations

import asyncio
import logging

log = logging.getLogger(__name__)

HANDLERS = (
    "CommandTree-invoker",
    "discord-ui-dynamic-item-",
    "discord-ui-modal-dispatch-",
    "discord-ui-view-dispatch-",
)
"""How discord.py calls the tasks in which it handles interactions."""


async def answered(within: float) -> None:
    """Wait until every interaction that was heard of is dealt with, ``within`` seconds at most."""
    here = asyncio.current_task()
    deadline = asyncio.get_running_loop().time() + within
    while begun := {task for task in asyncio.all_tasks() if task.get_name().startswith(HANDLERS) and task is not here}:
        left = deadline - asyncio.get_running_loop().time()
        if left <= 0:
            log.warning("interactions that are left as they are, because the bot ends: %d", len(begun))
            return
        await asyncio.wait(begun, timeout=left)
