"""Long lists in pages: buttons that name the list and where the page begins, so that they work after any restart."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import discord
from discord import ui

from bot.answers import answer, report, sent_once
from bot.cards import Card
from bot.wording import FOREIGN_BUTTON

Render = Callable[[discord.Interaction[Any], str], Awaitable[Card]]
"""Makes the page of a list that begins at a cursor ("" is the first), for whoever presses: it checks the right to see
it, and raises a FluxError that says why not."""

PAGED = re.compile(r"flux:page:(?P<list>[a-z_]{1,20}):(?P<cursor>[A-Za-z0-9_.,=|-]{0,60})")
LISTS: dict[str, Render] = {}
"""Every list that has pages; ``paged`` puts one in."""


def paged(name: str) -> Callable[[Render], Render]:
    """Register the decorated function as the list ``name`` (lower-case letters and _)."""

    def register(render: Render) -> Render:
        LISTS[name] = render
        return render

    return register


def page_buttons(name: str, *, back: str | None, on: str | None) -> list[ui.ActionRow[Any]]:
    """Return the row with the buttons to the page before and the next one; no row where there is neither.

    ``back`` and ``on`` are the cursors at which those pages begin.
    """
    places = {"Back": back, "More": on}
    buttons: list[ui.Item[Any]] = [
        ui.Button(label=label, custom_id=f"flux:page:{name}:{cursor}")
        for label, cursor in places.items()
        if cursor is not None
    ]
    return [ui.ActionRow(*buttons)] if buttons else []


class PageButton(ui.DynamicItem[ui.Button[Any]], template=PAGED):
    """A button that shows another page in place of this one."""

    def __init__(self, button: ui.Button[Any], name: str, cursor: str) -> None:
        super().__init__(button)
        self.name = name
        self.cursor = cursor

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: ui.Item[Any], match: re.Match[str], /
    ) -> PageButton:
        """Read the list and the cursor out of the custom_id."""
        assert isinstance(item, ui.Button)
        return cls(item, match["list"], match["cursor"])

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Show the page, or tell privately why not."""
        try:
            render = LISTS.get(self.name)
            if render is None:
                await answer(interaction, FOREIGN_BUTTON)
                return
            page = await render(interaction, self.cursor)
            with sent_once():
                await interaction.response.edit_message(view=page)
        except Exception as error:
            await report(interaction, error)
