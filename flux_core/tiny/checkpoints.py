"""Keep training resumable: whole checkpoints, replaced in one step, in a folder that git ignores."""

import os
import time
from pathlib import Path
from typing import Any

import torch

TRAINING_FOLDER = Path(".training")


def save(file: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint so that a reader, or a restart after a kill, finds the old one or the new one, never half."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, file)


def load(file: Path) -> dict[str, Any] | None:
    """Read a checkpoint written by `save`, or None when there is none."""
    if not file.exists():
        return None
    state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    return state


class Stopwatch:
    """Add up the seconds spent training, over restarts; a stopped process (SIGSTOP) spends none."""

    LONGEST_LAP = 10.0
    """A lap longer than any real step means that the process was stopped."""

    def __init__(self, spent: float) -> None:
        self._spent = spent
        self._last = time.monotonic()

    def lap(self) -> float:
        """Return the seconds spent so far; call once a step."""
        now = time.monotonic()
        self._spent += min(now - self._last, self.LONGEST_LAP)
        self._last = now
        return self._spent
