"""What goes first when many members order at the same moment: that all of them are acknowledged.

Discord gives an interaction three seconds. As long as they are few, each order is in the queue before it is
acknowledged; of a thousand at once, the last would wait for the database for seconds. So whoever orders while many wait
for their first answer is acknowledged with Discord's "thinking…" at once, and such orders go into the queue when few
wait any more.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from bot.connection.tally import Tally
from flux_core.waiting import happened

log = logging.getLogger(__name__)

AT_ONCE = 16
"""So many members at once may wait for their first answer until their order is in the queue; whoever comes then is
acknowledged first."""
FILED_AT_ONCE = 4
"""Orders that were acknowledged first and are put in the queue at the same time."""
SENT_AT_ONCE = 100
"""Acknowledgements on their way to Discord at the same time; those after them use the same connections, each of which
costs more to make than an acknowledgement to send. With 50 ms to Discord and back, these are 2,000 a second."""
PATIENCE = 5.0
"""Seconds after which an order is put in the queue though others still wait for their acknowledgement: where they never
get fewer, nothing else would be drawn."""


class Rush:
    """Knows how many members wait for a first answer, and lets them go first."""

    def __init__(self) -> None:
        self.sending = asyncio.Semaphore(SENT_AT_ONCE)
        """Held while an acknowledgement is on its way."""
        self.slow = Tally(log, "%d orders were acknowledged before they were in the queue: it is slow")
        self.late = Tally(log, "%d interactions were acknowledged too late, and Discord has told their members")
        self.unanswered = Tally(log, "%d answers took too long", level=logging.ERROR)
        self._ahead = Tally(log, "%d orders were acknowledged before they were in the queue: many came at once")
        self._owed = 0
        self._calm = asyncio.Event()
        self._calm.set()
        self._filing = asyncio.Semaphore(FILED_AT_ONCE)

    @property
    def on(self) -> bool:
        """Whether whoever orders now should be acknowledged first."""
        return self._owed >= AT_ONCE

    @contextmanager
    def owing(self) -> Iterator[None]:
        """Count a member who waits for a first answer."""
        self._owed += 1
        if self.on:
            self._calm.clear()
        try:
            yield
        finally:
            self._owed -= 1
            if not self.on:
                self._calm.set()

    @asynccontextmanager
    async def filing(self) -> AsyncIterator[None]:
        """Wait until an order that was acknowledged first may go into the queue; first come, first served."""
        self._ahead.count()
        until = time.monotonic() + PATIENCE
        async with self._filing:
            await happened(self._calm, max(0.0, until - time.monotonic()))
            yield

    def close(self) -> None:
        """Say what is still to be said."""
        for tally in (self.slow, self.late, self.unanswered, self._ahead):
            tally.say()
