"""Long lists in pages, which work after any restart and only for those who may see them."""

from __future__ import annotations

from typing import Any

import discord
import pytest
from discord import app_commands, ui

from bot.commands import COMMANDS
from bot.interactions import paging
from bot.interactions.answers import answer
from bot.interactions.paging import PAGED, page_buttons, paged
from bot.layouts.cards import Card
from bot.sandbox.driver import Person
from bot.sandbox.reading import RawMessage, labels_of, text_of
from flux_core.errors import NotAllowed
from tests.bot.conftest import Stage
from tests.bot.scenes import is_private, press

FRUITS = ("apple", "banana", "cherry", "date", "elderberry")
SIZE = 2


@pytest.fixture(autouse=True)
def trusted(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """A list of fruits and a command that shows it; it is shown while the last of these is True."""
    trusted = [True]
    monkeypatch.setattr(paging, "LISTS", {})

    @paged("fruits")
    async def fruits(interaction: discord.Interaction[Any], cursor: str) -> Card:
        if not trusted[-1]:
            raise NotAllowed(action="admin")
        first = int(cursor or 0)
        back, on = first - SIZE, first + SIZE
        return Card(
            ui.TextDisplay(", ".join(FRUITS[first:on])),
            *page_buttons("fruits", back=str(back) if back >= 0 else None, on=str(on) if on < len(FRUITS) else None),
        )

    @app_commands.command(name="fruits", description="Show them")
    async def show(interaction: discord.Interaction[Any]) -> None:
        await answer(interaction, await fruits(interaction, ""))

    monkeypatch.setattr("tests.bot.conftest.COMMANDS", (*COMMANDS, show))
    return trusted


async def shown(person: Person) -> RawMessage:
    return await person.response(await person.command("fruits"))


async def turn(person: Person, message: RawMessage, button: str, words: str) -> RawMessage:
    await person.press(message, button)
    return await person.wait_for(lambda m: m["id"] == message["id"] and words == text_of(m))


async def test_pages_turn_in_place(stage: Stage, grace: Person) -> None:
    page = await shown(grace)
    assert is_private(page)
    assert (text_of(page), labels_of(page)) == ("apple, banana", ["More"])
    page = await turn(grace, page, "More", "cherry, date")
    assert labels_of(page) == ["Back", "More"]
    page = await turn(grace, page, "More", "elderberry")
    assert labels_of(page) == ["Back"]
    await turn(grace, page, "Back", "cherry, date")


async def test_pages_turn_after_a_restart(stage: Stage, grace: Person) -> None:
    page = await shown(grace)
    await stage.stop_bot()
    await stage.start_bot()
    await turn(grace, page, "More", "cherry, date")


async def test_who_lost_the_right_meanwhile_sees_no_further_page(
    stage: Stage, grace: Person, trusted: list[bool]
) -> None:
    page = await shown(grace)
    trusted.append(False)
    refusal = await press(grace, page, "More")
    assert "Manage Server" in text_of(refusal)
    assert is_private(refusal)
    now = await grace.message(page["id"])
    assert now is not None
    assert text_of(now) == "apple, banana"


async def test_a_list_that_is_no_more_gets_a_sentence(stage: Stage, grace: Person) -> None:
    page = await shown(grace)
    paging.LISTS.clear()
    assert "not one of mine" in text_of(await press(grace, page, "More"))


async def test_a_forged_cursor_gets_a_sentence(stage: Stage, grace: Person) -> None:
    page = await shown(grace)
    for forged in ("flux:page:fruits:4", "flux:page:fruits:\n", "flux:page:FRUITS:4"):
        assert "not one of mine" in text_of(await grace.response(await grace.forge(page, forged)))


def test_one_page_needs_no_buttons_and_ids_stay_within_discords_limit() -> None:
    assert page_buttons("fruits", back=None, on=None) == []
    longest = f"flux:page:{'l' * 20}:{'c' * 60}"
    assert PAGED.fullmatch(longest)
    assert len(longest) <= 100
