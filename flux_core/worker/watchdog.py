"""Notice that something hangs or is lost: work that says how long it may be silent, and a thread that counts.

Python cannot end a thread that waits for a driver, so whoever is told of a hang can only end the process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

FACTOR = 20.0
"""A step may take this many times as long as the longest of its kind so far, before it counts as hung."""
FIRST_FACTOR = 3.0
"""A step may take this many times as long as the very first of its kind, too. That may have waited for the compiler;
but in turbo, it may also be the only one so far that left nothing out."""
FIRST_SECONDS = 1800.0
"""What the first step of a kind may take: nothing is known of it, and it may have to be compiled. As long as a job may
take unless JOB_TIMEOUT says otherwise."""
LOAD_SECONDS = 3600.0
"""What the loading of a model may take; from the hub it goes on where it was, after a restart."""
TICK = 0.5
"""Seconds between two looks."""


class Guarded:
    """A piece of work under watch."""

    def __init__(self, what: str, seconds: float) -> None:
        """Allow ``what`` to be silent for ``seconds``."""
        self.what = what
        self.allowed = self.left = seconds
        self._since = time.monotonic()

    @property
    def seconds(self) -> float:
        """Return how long ago its last sign of life was."""
        return time.monotonic() - self._since

    def renew(self, seconds: float) -> None:
        """Give a sign of life: the next one is due within ``seconds``."""
        self.allowed = self.left = seconds
        self._since = time.monotonic()


class Watchdog:
    """Watches pieces of work in any threads, and tells of the first that has been silent for too long."""

    def __init__(self, on_hang: Callable[[str], None] | None = None, *, tick: float = TICK) -> None:
        """Call ``on_hang`` once, from a thread of its own, with a sentence about what hangs; None: watch nothing."""
        self._on_hang = on_hang
        self._tick = tick
        self._guarded: set[Guarded] = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def over(self, what: str, seconds: float) -> Iterator[Guarded]:
        """Watch over ``what`` meanwhile; it may be silent for ``seconds`` until it renews that."""
        guarded = Guarded(what, seconds)
        with self._lock:
            self._guarded.add(guarded)
            if self._thread is None and self._on_hang is not None:
                self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
                self._thread.start()
        try:
            yield guarded
        finally:
            with self._lock:
                self._guarded.discard(guarded)

    def alarm(self, said: str) -> None:
        """Tell at once of something that will not come back by itself, ``said`` in a sentence without its full stop."""
        if self._on_hang is not None:
            self._on_hang(said)

    def close(self) -> None:
        """Watch no longer."""
        self._closed.set()

    def _watch(self) -> None:
        assert self._on_hang is not None
        before = time.monotonic()
        while not self._closed.wait(self._tick):
            now = time.monotonic()
            # A process that was stopped for an hour, by a debugger or a full machine, did not hang for an hour.
            passed, before = min(now - before, 2 * self._tick), now
            with self._lock:
                for guarded in self._guarded:
                    guarded.left -= passed
                hung = next((guarded for guarded in self._guarded if guarded.left <= 0), None)
            if hung is not None:
                self._on_hang(f"{hung.what} has given no sign of life for {hung.allowed:.0f} s")
                return


class StepPace:
    """How long the steps of each kind took, and so how long the next one may take."""

    def __init__(self, stall_seconds: float) -> None:
        """Allow every step ``stall_seconds`` at least."""
        self._stall_seconds = stall_seconds
        self._longest: dict[tuple[object, ...], float] = {}
        self._first: dict[tuple[object, ...], float] = {}

    def bound(self, kind: tuple[object, ...]) -> float:
        """Return how many seconds a step of ``kind`` may take."""
        first, longest = self._first.get(kind), self._longest.get(kind)
        if first is None:
            return FIRST_SECONDS
        # The first one waited for the compiler, perhaps: twenty times that would be hours for a hang to go on.
        known = FACTOR * first if longest is None else max(FACTOR * longest, FIRST_FACTOR * first)
        return max(self._stall_seconds, known)

    def took(self, kind: tuple[object, ...], seconds: float) -> None:
        """Note that a step of ``kind`` took ``seconds``."""
        if kind in self._first:
            self._longest[kind] = max(seconds, self._longest.get(kind, 0.0))
        else:
            self._first[kind] = seconds
