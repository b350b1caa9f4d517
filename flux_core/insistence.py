"""Repeat what the storage did not take while it is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from flux_core.errors import StorageUnavailable

log = logging.getLogger(__name__)

T = TypeVar("T")

RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, *[4.0] * 30)
"""Waits between attempts to reach a storage that is away: two minutes, so that a restarted database or bucket costs no
drawing. The lease of whatever is in hand is kept meanwhile, and a worker that stops does not wait for it."""


async def insist(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat ``call`` while the storage is away; raises StorageUnavailable in the end."""
    for seconds in RETRY_SECONDS:
        try:
            return await call()
        except StorageUnavailable as error:
            log.warning("The storage is away, trying again: %s", error)
            await asyncio.sleep(seconds)
    return await call()
