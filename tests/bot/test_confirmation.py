"""Questions before something is done: replied to once, in time, by whoever was asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import discord
import pytest
from discord import app_commands

from bot.commands import COMMANDS
from bot.interactions.confirmation import confirm, is_question
from bot.layouts.cards import Card, note
from bot.sandbox.driver import Person
from bot.sandbox.reading import RawMessage, labels_of, text_of
from flux_core.errors import NotAllowed, NotThere
from tests.bot.conftest import Stage
from tests.bot.scenes import is_private, press

TOO_LATE = "That is too late: please give the command again."


@dataclass
class Deed:
    """What a question is about, in the test's hands."""

    seconds: float = 30
    deferred: bool = False
    allowed: bool = True
    fails: Exception | None = None
    done: list[int] = field(default_factory=list)

    def guard(self, interaction: discord.Interaction[Any]) -> None:
        if not self.allowed:
            raise NotAllowed(action="admin")


@pytest.fixture(autouse=True)
def deed(monkeypatch: pytest.MonkeyPatch) -> Deed:
    deed = Deed()

    @app_commands.command(description="Ask before clearing")
    async def clear(interaction: discord.Interaction[Any]) -> None:
        async def act() -> Card | str:
            deed.done.append(interaction.user.id)
            if deed.fails is not None:
                raise deed.fails
            return "Cleared." if len(deed.done) == 1 else note("Cleared again.")

        if deed.deferred:
            await interaction.response.defer(ephemeral=True)
        await confirm(interaction, "Clear **all**?", act, label="Clear", guard=deed.guard, seconds=deed.seconds)

    monkeypatch.setattr("tests.bot.conftest.COMMANDS", (*COMMANDS, clear))
    return deed


async def asked(person: Person) -> RawMessage:
    return await person.response(await person.command("clear"))


async def says(person: Person, message: RawMessage, words: str) -> RawMessage:
    return await person.wait_for(lambda m: m["id"] == message["id"] and words in text_of(m))


def ids_of(message: RawMessage) -> list[str]:
    row = next(part for part in message["components"] if part["type"] == 1)
    return [button["custom_id"] for button in row["components"]]


@pytest.mark.parametrize("deferred", [False, True])
async def test_what_was_asked_is_done_with_the_press_and_told_in_its_place(
    stage: Stage, deed: Deed, grace: Person, deferred: bool
) -> None:
    deed.deferred = deferred
    question = await asked(grace)
    assert is_private(question)
    assert "Clear **all**?" in text_of(question)
    assert labels_of(question) == ["Clear", "Keep as it is"]
    assert all(is_question(id) for id in ids_of(question))
    await grace.press(question, "Clear")
    told = await says(grace, question, "Cleared.")
    assert labels_of(told) == []
    assert deed.done == [int(grace.id)]
    assert stage.bot is not None
    assert not stage.bot.questions._standing
    assert not stage.bot.questions._timers


async def test_a_card_can_be_the_outcome_and_two_questions_are_two(stage: Stage, deed: Deed, grace: Person) -> None:
    first, second = await asked(grace), await asked(grace)
    await grace.press(second, "Clear")
    await says(grace, second, "Cleared.")
    await grace.press(first, "Clear")
    await says(grace, first, "Cleared again.")


async def test_keeping_it_as_it_is_does_nothing(stage: Stage, deed: Deed, grace: Person) -> None:
    question = await asked(grace)
    await grace.press(question, "Keep as it is")
    told = await says(grace, question, "Nothing was changed.")
    assert labels_of(told) == []
    assert deed.done == []


async def test_two_presses_do_it_once(stage: Stage, deed: Deed, grace: Person) -> None:
    question = await asked(grace)
    yes, no = ids_of(question)
    presses = [await grace.forge(question, id) for id in (yes, yes, no)]
    await says(grace, question, "Cleared.")
    outcomes = [await grace.outcome(one) for one in presses]
    told = [
        text_of(await grace.response(one))
        for one, outcome in zip(presses, outcomes, strict=True)
        if outcome.response_message_id not in (None, question["id"])
    ]
    assert told == [TOO_LATE, TOO_LATE]
    assert deed.done == [int(grace.id)]


@pytest.mark.parametrize("deferred", [False, True])
async def test_a_question_expires_and_a_late_press_is_told_so(
    stage: Stage, deed: Deed, grace: Person, deferred: bool
) -> None:
    deed.seconds, deed.deferred = 0.05, deferred
    question = await asked(grace)
    told = await says(grace, question, "Nobody decided in time, so nothing was changed.")
    assert labels_of(told) == []
    late = await grace.response(await grace.forge(question, ids_of(question)[0]))
    assert text_of(late) == TOO_LATE
    assert is_private(late)
    assert deed.done == []


async def test_a_press_after_a_restart_is_too_late(stage: Stage, deed: Deed, grace: Person) -> None:
    question = await asked(grace)
    await stage.stop_bot()
    await stage.start_bot()
    late = await press(grace, question, "Clear")
    assert text_of(late) == TOO_LATE
    assert is_private(late)
    assert deed.done == []


async def test_who_lost_the_right_meanwhile_is_refused_in_place(stage: Stage, deed: Deed, grace: Person) -> None:
    question = await asked(grace)
    deed.allowed = False
    await grace.press(question, "Clear")
    told = await says(grace, question, "You need the permission **Manage Server** for this.")
    assert labels_of(told) == []
    assert deed.done == []


async def test_what_goes_wrong_is_explained_in_place(stage: Stage, deed: Deed, grace: Person) -> None:
    deed.fails = NotThere(what="ban", name="Linus")
    question = await asked(grace)
    await grace.press(question, "Clear")
    await says(grace, question, "There is no ban “Linus” here, so nothing was changed.")
    assert deed.done == [int(grace.id)]


async def test_nobody_else_sees_a_question_and_its_id_alone_does_nothing(
    stage: Stage, deed: Deed, grace: Person, linus: Person
) -> None:
    question = await asked(grace)
    own = await asked(linus)
    assert question["id"] not in [one["id"] for one in await linus.messages()]
    forged = await linus.response(await linus.forge(own, ids_of(question)[0]))
    assert text_of(forged) == TOO_LATE
    assert deed.done == []
    await grace.press(question, "Clear")
    await says(grace, question, "Cleared.")


async def test_a_question_that_could_not_be_sent_does_not_stand(
    stage: Stage, deed: Deed, grace: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = discord.InteractionResponse.send_message

    async def break_off(*_: Any, **__: Any) -> None:
        monkeypatch.setattr(discord.InteractionResponse, "send_message", send)
        raise ConnectionResetError

    monkeypatch.setattr(discord.InteractionResponse, "send_message", break_off)
    assert "Something went wrong on our side" in text_of(await asked(grace))
    assert stage.bot is not None
    assert not stage.bot.questions._standing
