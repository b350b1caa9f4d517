"""Ask before something is done that cannot be undone: a private question with two buttons, which expires."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import discord
from discord import ui

from bot.interactions.answers import explain, is_acknowledged, report, sent_once
from bot.interactions.permissions import Guard
from bot.layouts.cards import Card
from flux_core.errors import Expired

log = logging.getLogger(__name__)

SECONDS = 60.0
"""How long a question stands; an interaction's token, with which it is taken down, is good for 15 minutes."""

YES, NO = "yes", "no"
_QUESTION = re.compile(rf"flux:(?P<reply>{YES}|{NO}):(?P<question>[0-9a-f]{{16}})")

Act = Callable[[], Awaitable[Card | str]]


@dataclass(frozen=True, slots=True)
class Question:
    """A question that stands."""

    text: str
    asked: int
    """The user who may reply."""
    act: Act
    guard: Guard


class Questions:
    """The questions of one running bot. They die with it: nobody waits for one longer than a minute."""

    def __init__(self) -> None:
        self._standing: dict[str, Question] = {}
        self._timers: dict[str, asyncio.Task[None]] = {}

    def put(self, id: str, question: Question) -> None:
        """Let a question stand until it is taken, or falls."""
        self._standing[id] = question

    def take(self, id: str, user_id: int) -> Question:
        """Return a question for its reply; it is there for one only.

        Raises Expired when it does not stand any more, or was not asked of this user.
        """
        question = self._standing.get(id)
        if question is None or question.asked != user_id:
            raise Expired()
        self.drop(id)
        return question

    def drop(self, id: str) -> None:
        """Let a question fall, with nothing to be seen of it."""
        self._standing.pop(id, None)
        timer = self._timers.pop(id, None)
        if timer is not None:
            timer.cancel()

    def expire(self, id: str, seconds: float, take_down: Callable[[], Awaitable[object]]) -> None:
        """Let a question fall in ``seconds``, and then have its buttons taken down."""

        async def wait() -> None:
            await asyncio.sleep(seconds)
            del self._timers[id], self._standing[id]
            try:
                await take_down()
            except discord.HTTPException as failure:
                log.warning("could not take a question down: %s (code %s)", failure.status, failure.code)

        if id in self._standing:
            self._timers[id] = asyncio.create_task(wait(), name=f"question-{id}")

    def close(self) -> None:
        """Let all of them fall."""
        for id in list(self._standing):
            self.drop(id)


def is_question(custom_id: str) -> bool:
    """Say whether a button belongs to a question, still standing or expired."""
    return _QUESTION.fullmatch(custom_id) is not None


async def confirm(
    interaction: discord.Interaction[Any],
    question: str,
    act: Act,
    *,
    label: str,
    guard: Guard,
    seconds: float = SECONDS,
) -> None:
    """Ask ``question`` privately; when the button ``label`` is pressed in time, do ``act`` and show what it returns.

    The question is a sentence or two, in markdown. ``guard`` is asked again with the press, and raises what it has
    against it: a moderator may have lost the right meanwhile. ``act`` runs at most once; what it raises is explained
    in place of the question. A question does not survive a restart: pressing it then tells that it is too late.
    """
    id = secrets.token_hex(8)
    card = _asking(question, id, label)
    standing: Questions = interaction.client.questions
    # Before it is sent: its press may be here before Discord's receipt.
    standing.put(id, Question(question, interaction.user.id, act, guard))
    edit: Callable[..., Awaitable[object]] = interaction.edit_original_response
    try:
        if is_acknowledged(interaction):
            edit = (await interaction.followup.send(view=card, ephemeral=True, wait=True)).edit
        else:
            with sent_once():
                await interaction.response.send_message(view=card, ephemeral=True)
    except BaseException:
        standing.drop(id)
        raise
    late = _closed(question, "Nobody decided in time, so nothing was changed.")
    standing.expire(id, seconds, lambda: edit(view=late))


class QuestionButton(ui.DynamicItem[ui.Button[Any]], template=_QUESTION):
    """A button of a question, rebuilt from its custom_id when it is pressed."""

    def __init__(self, button: ui.Button[Any], reply: str, id: str) -> None:
        super().__init__(button)
        self.reply = reply
        self.question_id = id

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: ui.Item[Any], match: re.Match[str], /
    ) -> QuestionButton:
        """Read the reply and the question out of the custom_id."""
        assert isinstance(item, ui.Button)
        return cls(item, match["reply"], match["question"])

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Do what was asked, or leave it, and tell which."""
        try:
            question = interaction.client.questions.take(self.question_id, interaction.user.id)
            if self.reply == NO:
                await interaction.response.edit_message(view=_closed(question.text, "Nothing was changed."))
                return
            # The buttons go first: the deed may take longer than Discord waits.
            with sent_once():
                await interaction.response.edit_message(view=_closed(question.text, "One moment…"))
            await interaction.edit_original_response(view=await _done(interaction, question))
        except Exception as error:
            await report(interaction, error)


async def _done(interaction: discord.Interaction[Any], question: Question) -> Card:
    try:
        question.guard(interaction)
        outcome = await question.act()
    except Exception as error:
        outcome = explain(error)
    return Card(ui.TextDisplay(outcome)) if isinstance(outcome, str) else outcome


def _asking(text: str, id: str, label: str) -> Card:
    yes: ui.Button[Any] = ui.Button(label=label, custom_id=f"flux:{YES}:{id}", style=discord.ButtonStyle.danger)
    no: ui.Button[Any] = ui.Button(label="Keep as it is", custom_id=f"flux:{NO}:{id}")
    return Card(ui.TextDisplay(text), ui.ActionRow(yes, no))


def _closed(text: str, line: str) -> Card:
    return Card(ui.TextDisplay(f"{text}\n-# {line}"))
