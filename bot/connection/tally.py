"""What many members meet at the same time is one line in the log, with their number."""

from __future__ import annotations

import asyncio
import logging

GATHERED_SECONDS = 5.0
"""How long after the first the line is written, so that it has the others as well."""
EVERY_SECONDS = 60.0
"""Least time from one line to the next."""


class Tally:
    """Counts what happens, and writes how often into the log: soon after the first time, then once a minute."""

    def __init__(self, log: logging.Logger, message: str, *, level: int = logging.WARNING) -> None:
        """``message`` has a place for the number ("%d orders …")."""
        self._log, self._message, self._level = log, message, level
        self._number = 0
        self._error: BaseException | None = None
        self._due: asyncio.TimerHandle | None = None
        self._said: float | None = None
        """When the last line was written, on the loop's clock."""

    def count(self, error: BaseException | None = None) -> None:
        """Count once more; of the errors since the last line, the first is written along with it."""
        self._number += 1
        self._error = self._error or error
        loop = asyncio.get_running_loop()
        if self._due is None:
            earliest = loop.time() if self._said is None else self._said + EVERY_SECONDS
            self._due = loop.call_at(max(loop.time() + GATHERED_SECONDS, earliest), self.say)

    def say(self) -> None:
        """Write the line now, if there is anything to tell."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if not self._number:
            return
        number, error, self._number, self._error = self._number, self._error, 0, None
        self._said = asyncio.get_running_loop().time()
        self._log.log(self._level, self._message, number, exc_info=error)
