"""A loop that looks whenever anybody changed anything, and now and then by itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from flux_core.errors import StorageUnavailable
from flux_core.service import Studio

log = logging.getLogger(__name__)

IDLE = 2.0
"""Most seconds between two looks: what waits for its next attempt is late by at most that."""
GAP = 0.1
"""Least seconds between two looks."""
AFTER_TROUBLE = 1.0
"""Seconds to the next look after one that failed."""


async def rounds(studio: Studio, look: Callable[[], Awaitable[None]], name: str) -> None:
    """Look again and again until cancelled; what a look raises is logged, and the next one comes all the same."""
    version: int | None = None
    while True:
        try:
            # Before the look: what changes meanwhile is a reason for the next one.
            version = await studio.changed(version, IDLE)
            await look()
        except StorageUnavailable as error:
            log.warning("%s have to wait: %s", name, error)
            await asyncio.sleep(AFTER_TROUBLE)
        except Exception:
            log.exception("a look at %s failed", name)
            await asyncio.sleep(AFTER_TROUBLE)
        await asyncio.sleep(GAP)


def pause_after(attempts: int, longest: float) -> float:
    """Return the seconds to wait after ``attempts`` failures in a row: 2, 4, 8 … up to ``longest``."""
    return min(longest, 2.0 ** min(attempts + 1, 30))
