"""Repeat what the storage did not take while it is away."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from flux_core.errors import StorageUnavailable

log = logging.getLogger(__name__)

T = TypeVar("T")

RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, *[4.0] * 30)
"""Waits between attempts to reach a storage that is away: two minutes, so that a restarted database or bucket costs no
drawing. The lease of whatever is in hand is kept meanwhile, and a worker that stops does not wait for it."""
PATIENCE = 300.0
"""Seconds after which no further attempt is made: on a storage that does not even say no, one takes minutes itself."""


async def insist(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat ``call`` while the storage is away; raises StorageUnavailable in the end."""
    began = time.monotonic()
    for seconds in RETRY_SECONDS:
        try:
            return await call()
        except StorageUnavailable as error:
            if time.monotonic() - began > PATIENCE:
                raise
            log.warning("The storage is away, trying again: %s", error)
            await asyncio.sleep(seconds)
    return await call()
