"""What moderators are asked when they reject or ban, and members when they report."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any

import discord
from discord import ui

from bot.interactions.answers import report

LONGEST_REASON = 200
"""Characters: members read it within one sentence."""
LONGEST_REPORT = 300
SECONDS = 15 * 60.0
"""How long a modal is remembered; whoever takes longer presses the button again."""

_HOUR = 3600.0
DURATIONS: dict[str, float | None] = {
    "1 hour": _HOUR,
    "1 day": 24 * _HOUR,
    "1 week": 7 * 24 * _HOUR,
    "30 days": 30 * 24 * _HOUR,
    "until somebody lifts it": None,
}

Interaction = discord.Interaction[Any]

_CUSTOM_ID = re.compile(r"flux:form:(?P<run>[0-9a-f]{16}):(?P<until>[0-9]{1,12}):[0-9a-f]{16}")


def is_lost(custom_id: str, run: str) -> bool:
    """Say whether a modal of ours is no longer remembered: of an earlier bot than ``run``, or after its time."""
    found = _CUSTOM_ID.fullmatch(custom_id)
    return found is not None and (found["run"] != run or time.time() > int(found["until"]))


class _Modal(ui.Modal):
    """A modal whose failures are explained to whoever sent it."""

    def __init__(self, run: str, title: str) -> None:
        # Later than discord.py lets go of it, so that nobody is answered twice.
        until = int(time.time() + SECONDS) + 1
        custom_id = f"flux:form:{run}:{until}:{secrets.token_hex(8)}"
        super().__init__(title=title, timeout=SECONDS, custom_id=custom_id)

    async def on_error(self, interaction: Interaction, error: Exception, /) -> None:  # type: ignore[override]
        """Tell the member privately, and log what nobody foresaw."""
        await report(interaction, error)


class RejectModal(_Modal):
    """Asks why a prompt is not approved; it may be left open."""

    def __init__(self, run: str, act: Callable[[Interaction, str], Awaitable[None]]) -> None:
        super().__init__(run, "Reject this prompt")
        self._act = act
        self._reason: ui.TextInput[Any] = ui.TextInput(required=False, max_length=LONGEST_REASON)
        self.add_item(ui.Label(text="Reason", description="The member reads it.", component=self._reason))

    async def on_submit(self, interaction: Interaction, /) -> None:
        """Reject."""
        await self._act(interaction, self._reason.value.strip())


class BanModal(_Modal):
    """Asks for how long and why a member may not draw."""

    def __init__(self, run: str, act: Callable[[Interaction, str, float | None], Awaitable[None]]) -> None:
        super().__init__(run, "Ban the member and delete the picture")
        self._act = act
        self._duration: ui.Select[Any] = ui.Select(
            options=[discord.SelectOption(label=name, value=name, default=name == "1 day") for name in DURATIONS]
        )
        self._reason: ui.TextInput[Any] = ui.TextInput(max_length=LONGEST_REASON)
        self.add_item(ui.Label(text="How long", component=self._duration))
        self.add_item(ui.Label(text="Reason", description="The member reads it.", component=self._reason))

    async def on_submit(self, interaction: Interaction, /) -> None:
        """Ban."""
        await self._act(interaction, self._reason.value.strip(), DURATIONS[self._duration.values[0]])


class ReportModal(_Modal):
    """Asks what is wrong with a picture."""

    def __init__(self, run: str, act: Callable[[Interaction, str], Awaitable[None]]) -> None:
        super().__init__(run, "Report this picture")
        self._act = act
        self._reason: ui.TextInput[Any] = ui.TextInput(style=discord.TextStyle.paragraph, max_length=LONGEST_REPORT)
        self.add_item(
            ui.Label(
                text="What is wrong with it?",
                description="The moderators of this server read it, and who wrote it.",
                component=self._reason,
            )
        )

    async def on_submit(self, interaction: Interaction, /) -> None:
        """Report."""
        await self._act(interaction, self._reason.value.strip())
