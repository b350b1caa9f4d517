"""Numbers, times and foreign words in a message."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.words import phrasing


@pytest.mark.parametrize(
    ("position", "text"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (112, "112th"), (121, "121st")]
)
def test_ordinals(position: int, text: str) -> None:
    assert phrasing.ordinal(position) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.84, "0.8 s"), (12.4, "12 s"), (200, "3 min 20 s"), (180, "3 min"), (3900, "1 h 5 min"), (59.7, "1 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert phrasing.duration(seconds) == text


@pytest.mark.parametrize(
    ("amount", "text"), [(1000, "1 credit"), (0, "0 credits"), (250, "0.25 credits"), (1_234_567, "1,234.567 credits")]
)
def test_credits(amount: int, text: str) -> None:
    assert phrasing.credits(amount) == text


@given(st.text(max_size=200))
def test_escaped_text_carries_no_markup(text: str) -> None:
    escaped = phrasing.escape(text)
    assert "\n" not in escaped
    assert re.search(r"(?<!\\)(?:\\\\)*[*_~`|<>\[\]():#]", escaped) is None
    assert re.search(r"@(?!\u200b)", escaped) is None


@given(st.text(max_size=300), st.integers(1, 100))
def test_shortened_text_fits(text: str, limit: int) -> None:
    assert len(phrasing.shorten(text, limit)) <= limit
