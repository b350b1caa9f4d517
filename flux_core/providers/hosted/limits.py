"""How fast a vendor is given work: submits a minute, and shots in the making at once, fewer after it said "too many".

The minute is aiolimiter's leaky bucket. The number at once is our own: it has to shrink and to grow again while it is
in use, which neither asyncio's semaphore nor a library that we know of does.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiolimiter import AsyncLimiter

BURST_SECONDS = 6.0
"""What a quiet vendor may be sent at once: this many seconds' worth. A whole minute's worth at once would be followed
by the next minute's as it drips in, twice the limit in the first minute."""


class Pace:
    """Limits for one vendor, shared by all of its jobs. Belongs to one event loop."""

    def __init__(
        self,
        concurrency: int,
        per_minute: float,
        *,
        settle_seconds: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Allow ``concurrency`` shots at once, at most; a burst of "too many" within ``settle_seconds`` counts once."""
        self.most = max(1, concurrency)
        self.width = self.most
        """Shots allowed at once as things are."""
        self.in_flight = 0
        depth = max(1.0, per_minute * BURST_SECONDS / 60)
        self._bucket = AsyncLimiter(depth, depth * 60 / per_minute)
        self._settle_seconds = settle_seconds
        self._clock = clock
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._door = asyncio.Lock()
        self._good = 0
        self._narrowed: float | None = None
        self._quiet_until = 0.0

    @asynccontextmanager
    async def slot(self, *, waiting: bool = True) -> AsyncIterator[None]:
        """Hold one of the places at the vendor, in order of arrival.

        Without ``waiting`` it is taken even if there is none: for a shot that the vendor already has.
        """
        if waiting:
            await self._enter()
        else:
            self.in_flight += 1
        try:
            yield
        finally:
            self._leave()

    async def turn(self) -> None:
        """Wait until one more submit may leave."""
        await self._bucket.acquire()
        while (seconds := self._quiet_until - self._clock()) > 0:  # noqa: ASYNC110 - time passes, nobody tells
            await asyncio.sleep(seconds)
        async with self._door:
            await asyncio.sleep(0)  # one a round of the event loop: hundreds at once would hold everybody else up

    def too_many(self, quiet_seconds: float | None = None) -> None:
        """Learn from a 429: half as many at once from now on, and nothing at all for as long as the vendor asks."""
        now = self._clock()
        if quiet_seconds is not None:
            self._quiet_until = max(self._quiet_until, now + quiet_seconds)
        self._good = 0
        if self._narrowed is None or now - self._narrowed >= self._settle_seconds:
            self._narrowed = now
            self.width = max(1, min(self.width, max(self.in_flight, 1)) // 2)

    def went_well(self) -> None:
        """Learn from a shot that came out: one more at once after as many of them as there are places."""
        self._good += 1
        if self.width < self.most and self._good >= self.width:
            self._good = 0
            self.width += 1
            self._wake()

    async def _enter(self) -> None:
        if self.in_flight < self.width and not self._waiting:
            self.in_flight += 1
            return
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._leave()  # the place was given in the moment in which nobody wanted it any more
            raise

    def _leave(self) -> None:
        self.in_flight -= 1
        self._wake()

    def _wake(self) -> None:
        while self._waiting and self.in_flight < self.width:
            place = self._waiting.popleft()
            if not place.done():
                self.in_flight += 1
                place.set_result(None)
