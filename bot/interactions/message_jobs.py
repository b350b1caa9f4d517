"""Which job a message of ours shows: its buttons tell, at any age."""

from __future__ import annotations

import discord
from discord import ui

from bot.layouts.custom_ids import parse


def job_id_on(message: discord.Message, bot_id: int | None) -> str | None:
    """Return the job that a message of the bot ``bot_id`` shows; None for others' messages and for lists of jobs."""
    if message.author.id != bot_id:
        return None
    view = ui.LayoutView.from_message(message, timeout=None)
    buttons = [item for item in view.walk_children() if isinstance(item, ui.Button)]
    presses = [parse(button.custom_id) for button in buttons if button.custom_id]
    shown = {press.job_id for press in presses if press is not None}
    return shown.pop() if len(shown) == 1 else None
