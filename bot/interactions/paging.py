"""Long lists in pages: buttons that name the list and where the page begins, so that they work after any restart."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import discord
from discord import ui

from bot.interactions.answers import answer, report, sent_once
from bot.layouts.cards import BLURPLE, Card
from bot.words.phrasing import shorten
from bot.words.wording import FOREIGN_BUTTON

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


LINES = 10
"""Lines of a list in one page: of up to 390 characters each, and they fit a message."""
LINE_LIMIT = 390


def page_of(name: str, title: str, lines: Sequence[str], cursor: str, *, empty: str) -> Card:
    """Return the page of the list ``name`` that begins at a cursor: the number of lines before it.

    ``empty`` is what it says where there are no lines. A page that is not there any more is the last one.
    """
    first = min(int(cursor) if cursor.isdecimal() and len(cursor) < 9 else 0, max(len(lines) - 1, 0) // LINES * LINES)
    return line_page(name, title, lines[first : first + LINES], first, len(lines), empty=empty)


def line_page(name: str, title: str, shown: Sequence[str], first: int, total: int, *, empty: str) -> Card:
    """Return the page with the lines ``shown``, of ``total``, that begins behind the ``first``."""
    back, on = max(first - LINES, 0), first + LINES
    text = "\n".join(f"- {shorten(line, LINE_LIMIT)}" for line in shown) or empty
    which = f"\n-# {first + 1} to {first + len(shown)} of {total}" if total > len(shown) and shown else ""
    return Card(
        ui.Container(ui.TextDisplay(f"### {title}\n{text}{which}"), accent_colour=BLURPLE),
        *page_buttons(name, back=str(back) if first > 0 else None, on=str(on) if on < total else None),
    )


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
