"""The options with which moderators set limits, the same in ``/admin quota set`` and ``/admin tier``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

from discord import app_commands

from bot.commands.admin import choosing
from flux_core.errors import InvalidPolicy
from flux_core.policy.edits import LimitsGiven
from flux_core.policy.guild import MOST_CREDITS

Credits = app_commands.Range[float, 0.0, MOST_CREDITS]
Renews = Literal["day", "week", "month", "rolling"]
Clock = app_commands.Range[str, 1, 10]
Zone = app_commands.Range[str, 1, 60]
Hours = app_commands.Range[int, 1, 31 * 24]
Weight = app_commands.Range[float, 0.01, 100.0]
Jobs = app_commands.Range[int, 1, 1000]
Megapixels = app_commands.Range[float, 0.01, 64.0]
Count = app_commands.Range[int, 1, 10]
ModelList = app_commands.Range[str, 1, 500]

DESCRIPTIONS = {
    "credits": "Allowance, each time it renews",
    "renews": "When it is new again; rolling: each cost comes back by itself",
    "at": "Local time, such as 06:00",
    "timezone": "Such as Europe/Berlin",
    "hours": "Rolling: after how many hours",
    "weight": "Share of the machines, against 1",
    "waiting": "Most jobs waiting",
    "running": "Most jobs drawn at once",
    "megapixels": "Largest picture; 1 is 1024 × 1024",
    "count": "Most pictures of one job",
    "models": "With commas between, or all",
}

F = TypeVar("F", bound=Callable[..., Any])


def limit_options(**more: str) -> Callable[[F], F]:
    """Describe the options of a command that sets limits, and ``more`` of its own; offer time zones and models."""

    def decorate(command: F) -> F:
        described = app_commands.describe(**DESCRIPTIONS, **more)(command)
        return app_commands.autocomplete(timezone=choosing.zones, models=choosing.models)(described)

    return decorate


def facts(given: LimitsGiven, *, clear: bool = False) -> dict[str, Any]:
    """Return what was said, as the audit log tells it; raises InvalidPolicy where that is nothing."""
    said = given.said() | ({"clear": True} if clear else {})
    if not said:
        raise InvalidPolicy(problems=["say at least one limit"])
    return said
