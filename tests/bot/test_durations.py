"""Spans and dates as moderators type them."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from bot.words.durations import LONGEST, SUGGESTIONS, parse_duration, parse_end
from flux_core.errors import InvalidPolicy

BERLIN = ZoneInfo("Europe/Berlin")
NOON = 1_795_262_400.0
"""2026-11-21 12:00 UTC."""


@pytest.mark.parametrize(
    ("typed", "seconds"),
    [
        ("30m", 1800),
        (" 12H ", 12 * 3600),
        ("7 d", 7 * 86_400),
        ("2w", 14 * 86_400),
        ("90 minutes", 5400),
        ("1 hour", 3600),
        ("3 days", 3 * 86_400),
        ("1 week", 7 * 86_400),
        ("60s", 60),
        ("3650d", LONGEST),
        ("forever", None),
        ("Forever", None),
    ],
)
def test_durations(typed: str, seconds: float | None) -> None:
    assert parse_duration(typed) == seconds


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("", "can't read"),
        ("7", "write it like 30m, 12h, 7d or 2w, or forever"),
        ("d", "can't read"),
        ("-7d", "can't read"),
        ("1.5h", "can't read"),
        ("7dd", "can't read"),
        ("7d 12h", "can't read"),
        ("٧d", "can't read"),
        ("9" * 400 + "d", "can't read"),
        ("0m", "at least 1 minute"),
        ("59s", "at least 1 minute"),
        ("521w 9d", "can't read"),
        ("600w", "ten years at most; say forever instead"),
    ],
)
def test_what_is_no_duration_is_refused(typed: str, why: str) -> None:
    with pytest.raises(InvalidPolicy) as refused:
        parse_duration(typed)
    [problem] = refused.value.facts["problems"]
    assert why in problem
    assert len(problem) < 200


def test_a_span_that_cannot_be_forever() -> None:
    assert parse_duration("0s", what="cooldown", forever=False, least=0) == 0
    with pytest.raises(InvalidPolicy) as refused:
        parse_duration("forever", what="cooldown", forever=False)
    assert "forever”, which I can't read: write it like 30m, 12h, 7d or 2w" in refused.value.facts["problems"][0]


@pytest.mark.parametrize("typed", SUGGESTIONS)
def test_what_is_suggested_can_be_read(typed: str) -> None:
    assert parse_duration(typed) is None or parse_duration(typed)


def test_ends() -> None:
    assert parse_end("7d", NOON, BERLIN) == NOON + 7 * 86_400
    assert parse_end("forever", NOON, BERLIN) is None
    end = parse_end("2026-12-31", NOON, BERLIN)
    assert end is not None
    assert datetime.fromtimestamp(end, BERLIN).isoformat() == "2027-01-01T00:00:00+01:00"
    today = parse_end("2026-11-21", NOON, BERLIN)
    assert today == NOON + 11 * 3600


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("2026-11-20", "over already"),
        ("2026-02-30", "there is no such day"),
        ("31.12.2026", "write it like 7d, 2w or 2026-12-31"),
        ("2040-01-01", "ten years ahead at most"),
        ("9999-12-31", "ten years ahead at most"),
        ("10s", "at least 1 minute"),
        ("", "can't read"),
    ],
)
def test_ends_that_are_none(typed: str, why: str) -> None:
    with pytest.raises(InvalidPolicy) as refused:
        parse_end(typed, NOON, BERLIN)
    assert why in refused.value.facts["problems"][0]
