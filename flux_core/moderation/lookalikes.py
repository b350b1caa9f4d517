"""Which characters look like a letter of the Latin alphabet, and which script a letter is of."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path

TABLE = Path(__file__).with_name("confusables.txt")
"""Where it comes from is written in its head."""


@cache
def twins() -> Mapping[str, str]:
    """Return what each lookalike looks like: one or two of a–z and 0–9, or | for any upright bar."""
    return _read(close=True)


@cache
def near_twins() -> Mapping[str, str]:
    """Return the same with those that only look alike at a glance, such as the Cyrillic к and т."""
    return {**_read(close=False), **twins()}


def _read(*, close: bool) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in TABLE.read_text(encoding="ascii").splitlines():
        if not line.startswith("#") and line.startswith("~") is not close:
            looks, *points = line.removeprefix("~").split()
            found.update({chr(int(point, 16)): looks for point in points})
    return found


@lru_cache(maxsize=4096)
def script_of(character: str) -> str:
    """Return the script of a letter by the first word of its name, such as "CYRILLIC"; "" for what is no letter.

    A symbol that looks like a Latin letter is counted as one.
    """
    if character.isalpha():
        return unicodedata.name(character, "OTHER").partition(" ")[0]
    return "LATIN" if character in twins() and not character.isalnum() else ""
