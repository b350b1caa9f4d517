"""The models that a worker offers at the moment: those of its provider that did not fail to load when it tried last.

A model that does not load must cost no job an attempt. So it is offered no longer, and the worker itself, not a
member's job, finds out whether it loads again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

PAUSES = (60.0, 120.0, 300.0, 600.0)
"""Seconds before a model that did not load is tried again, after the first failure and each further one in a row."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A model that did not load."""

    why: str
    times: int
    """In a row."""
    again_at: float


class Repertoire:
    """Which models do not load, and when to try again."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with every model offered."""
        self._clock = clock
        self._failures: dict[str, Failure] = {}

    def failed(self, model: str, why: str) -> bool:
        """Note that ``model`` did not load; return whether that is news for the operator."""
        before = self._failures.get(model)
        times = 1 if before is None else before.times + 1
        pause = PAUSES[min(times, len(PAUSES)) - 1]
        self._failures[model] = Failure(why, times, self._clock() + pause)
        return before is None or before.why != why

    def loaded(self, model: str) -> bool:
        """Note that ``model`` may be offered; return whether that is news."""
        return self._failures.pop(model, None) is not None

    def offered(self, offers: Mapping[str, T]) -> dict[str, T]:
        """Return those of ``offers`` that are offered now."""
        return {model: offer for model, offer in offers.items() if model not in self._failures}

    def trouble(self, models: Iterable[str]) -> str | None:
        """Say why none of ``models`` is offered, of the one that failed first; None while one is."""
        wanted = set(models)
        if not self._failures or not wanted <= self._failures.keys():
            return None
        return next((failure.why for model, failure in self._failures.items() if model in wanted), None)

    @property
    def due(self) -> list[str]:
        """Return the models to be tried again by now."""
        now = self._clock()
        return [model for model, failure in self._failures.items() if failure.again_at <= now]

    @property
    def pause(self) -> float | None:
        """Return the seconds until one is due; None when there is nothing to try."""
        if not self._failures:
            return None
        return max(0.0, min(failure.again_at for failure in self._failures.values()) - self._clock())
