"""Ask before something is done that cannot be undone: a private question with two buttons, which expires."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import discord

from bot.cards import Card
from bot.permissions import Guard

SECONDS = 60.0
"""How long a question stands."""

_QUESTION = re.compile(r"flux:(?:yes|no):[0-9a-f]{16}")

Act = Callable[[], Awaitable[Card | str]]


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
    raise NotImplementedError
