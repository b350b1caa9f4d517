"""How long a vendor is waited for, and how often it is asked again."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from math import isfinite


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Times in seconds."""

    connect: float = 10.0
    write: float = 60.0
    """Longest silence while a request is sent."""
    pool: float = 60.0
    """Longest wait for a free connection."""
    silence: float = 30.0
    """Longest silence while an answer is awaited or read."""
    submit_silence: float | None = None
    """The same for a submit; None: what the vendor's file says."""
    whole: float = 120.0
    """Longest time that an answer may take from its first byte to its last, and any other request in all."""
    download: float = 120.0
    """Longest time for one result picture, redirects and repetitions included."""
    tries: int = 4
    """Attempts at a request that may be repeated."""
    submit_tries: int = 4
    """Attempts at a submit that surely was not taken on."""
    pause: float = 0.5
    """Bound of the first pause between two attempts; each is drawn at random and the bound doubles (full jitter)."""
    longest_pause: float = 8.0
    longest_retry_after: float = 30.0
    """A vendor that asks for a longer pause is not asked again: the job is better off elsewhere."""
    poll_pace: float = 1.0
    """Times the pauses between polls that the vendor's file says."""
    poll_factor: float = 1.4
    """How much longer each pause between polls is than the one before."""
    trouble: float = 300.0
    """How long polls may go wrong without a break before the outcome counts as unknown."""
    unheard: int = 3
    """How many polls in a row have to say that a task does not exist until that is believed."""
    last_word: float = 3.0
    """How long a cancelled job takes to note what it has ordered, and to cancel it at the vendor."""

    def backoff(self, attempt: int) -> float:
        """Return a pause after failed attempt number ``attempt`` (1, 2, …)."""
        return random.uniform(0.0, min(self.longest_pause, self.pause * 2 ** min(attempt - 1, 30)))


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds that an answer asks to wait: ``retry-after-ms``, or ``retry-after`` in seconds or as a date.

    ``now`` in unix seconds (RFC 9110, 10.2.3; retry-after-ms is what OpenAI-like services send besides).
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name, "").strip()
        try:
            seconds = float(text) * unit
        except ValueError:
            continue
        if isfinite(seconds):
            return max(0.0, seconds)
    try:
        return max(0.0, parsedate_to_datetime(headers.get("retry-after", "")).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None
