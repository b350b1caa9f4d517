"""How late the event loop is."""

from __future__ import annotations

import asyncio
import time

from flux_core.metrics import definitions as m

EVERY = 0.25
"""Seconds of a sleep."""


async def measure_lag() -> None:
    """Count how late each short sleep ends, until cancelled: what anybody waits whose turn it is."""
    while True:
        due = time.monotonic() + EVERY
        await asyncio.sleep(EVERY)
        m.LAG.observe(max(0.0, time.monotonic() - due))
