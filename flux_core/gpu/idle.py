"""How long a device waits between two drawings, where the second one was there already."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from flux_core.metrics import definitions as m


class IdleClock:
    """Measures from the end of one drawing's steps to the beginning of the next one's. For the engine's thread."""

    def __init__(self, device: torch.device) -> None:
        """Measure for ``device``: a card by its own clock, since it works on while we already wait for it."""
        self._device = device
        self._ended: float | None = None
        self._last: torch.cuda.Event | None = None
        self._gap: tuple[torch.cuda.Event, torch.cuda.Event] | None = None

    @contextmanager
    def over(self, since: float | None) -> Iterator[None]:
        """Note that the steps of a drawing are taken meanwhile, asked for ``since`` (monotonic seconds)."""
        self._began(since)
        try:
            yield
        finally:
            self._ended = time.monotonic()
            if self._device.type == "cuda":
                self._look_back()
                self._last = self._mark()

    def _began(self, since: float | None) -> None:
        if self._ended is None or since is None or since > self._ended:
            return
        if self._device.type != "cuda":
            m.ENGINE_IDLE.observe(time.monotonic() - self._ended)
        elif self._last is not None:
            self._gap = self._last, self._mark()

    def _look_back(self) -> None:
        """Observe the gap before this drawing: the card has passed both ends of it by now."""
        if self._gap is not None and all(event.query() for event in self._gap):  # type: ignore[no-untyped-call]
            before, after = self._gap
            m.ENGINE_IDLE.observe(before.elapsed_time(after) / 1000)
        self._gap = None

    def _mark(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        return event
