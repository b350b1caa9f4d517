"""How often sessions may be started: so many a day, and shards that share a turn not at once."""

from __future__ import annotations

import asyncio

from .world import Limits


class Starts:
    """Count the sessions that were started."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._taken = 0
        self._reset_at: float | None = None
        self._last: dict[int, float] = {}
        """Turn → when a shard identified in it."""

    @property
    def left(self) -> int:
        """Return how many may be started until the count begins anew."""
        if self._reset_at is not None and asyncio.get_running_loop().time() >= self._reset_at:
            self._taken, self._reset_at = 0, None
        return max(0, self._limits.session_starts - self._taken)

    @property
    def reset_after(self) -> int:
        """Return the milliseconds until the count begins anew."""
        if self._reset_at is None:
            return int(self._limits.session_reset_seconds * 1_000)
        return max(0, int((self._reset_at - asyncio.get_running_loop().time()) * 1_000))

    def take(self, shard: int) -> bool:
        """Count a start; False when another of the same turn was a moment ago. It counts all the same."""
        now = asyncio.get_running_loop().time()
        if self._reset_at is None:
            self._reset_at = now + self._limits.session_reset_seconds
        self._taken += 1
        turn = shard % self._limits.max_concurrency
        last = self._last.get(turn)
        if last is not None and now - last < self._limits.identify_seconds:
            return False
        self._last[turn] = now
        return True
