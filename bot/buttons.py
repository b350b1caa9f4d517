"""Every kind of button that outlives a restart, and the answer to those that are none of ours."""

from __future__ import annotations

import logging
from typing import Any

import discord
from discord import ui

from bot.interactions.answers import answer, explain, report
from bot.interactions.confirmation import QuestionButton, is_question
from bot.interactions.controls import JobButton
from bot.interactions.paging import PageButton
from bot.reviews.buttons import ReviewButton
from bot.reviews.modals import is_lost
from bot.words.wording import FOREIGN_BUTTON
from flux_core.errors import Expired

log = logging.getLogger(__name__)

KINDS: tuple[type[ui.DynamicItem[Any]], ...] = (JobButton, PageButton, QuestionButton, ReviewButton)
"""discord.py rebuilds one of these from the custom_id of a pressed button."""


async def refuse_foreign(interaction: discord.Interaction[Any]) -> None:
    """Answer a button that none of ``KINDS`` will: an id that is not ours, or not on the message it came with."""
    pressed: Any = interaction.data or {}
    custom_id = str(pressed.get("custom_id", ""))
    is_button = pressed.get("component_type") == discord.ComponentType.button.value
    ours = any(kind.__discord_ui_compiled_template__.fullmatch(custom_id) for kind in KINDS)
    if is_button and ours and custom_id in _ids_on(interaction.message):
        return
    try:
        # A question loses its buttons in the end; somebody may still see them.
        await answer(interaction, explain(Expired()) if is_question(custom_id) else FOREIGN_BUTTON)
    except discord.HTTPException as failure:
        log.warning("could not answer a foreign button: %s (code %s)", failure.status, failure.code)


async def refuse_lost(interaction: discord.Interaction[Any]) -> None:
    """Answer a form that nobody remembers any more."""
    sent: Any = interaction.data or {}
    if is_lost(str(sent.get("custom_id", "")), interaction.client.this_run):
        await report(interaction, Expired())


def _ids_on(message: discord.Message | None) -> set[str]:
    if message is None:
        return set()
    view = ui.LayoutView.from_message(message, timeout=None)
    return {item.custom_id for item in view.walk_children() if isinstance(item, ui.Button) and item.custom_id}
