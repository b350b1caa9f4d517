"""Ids as Discord makes them: milliseconds since 2015 in the upper 42 bits, unique and rising."""

from __future__ import annotations

import time
from datetime import UTC, datetime

DISCORD_EPOCH_MS = 1_420_070_400_000


class Snowflakes:
    """Hand out ids in rising order, as decimal strings."""

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> str:
        """Make an id of this millisecond, larger than every id handed out before."""
        now = (time.time_ns() // 1_000_000 - DISCORD_EPOCH_MS) << 22
        self._last = max(self._last + 1, now)
        return str(self._last)


def timestamp(moment: datetime | None = None) -> str:
    """Write a moment (default: now) the way Discord does, ISO 8601 with microseconds and offset."""
    return (moment or datetime.now(UTC)).isoformat(timespec="microseconds")
