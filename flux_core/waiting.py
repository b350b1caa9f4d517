"""Wait for an event, but not for ever."""

from __future__ import annotations

import asyncio


async def happened(event: asyncio.Event, within: float | None) -> bool:
    """Wait until ``event`` is set, ``within`` seconds at most, or for ever with None; say whether it is.

    For this, not ``asyncio.wait_for``: in Python 3.11 that swallows a cancellation which comes in the moment in which
    the event is set, and whoever cancelled a task waits for ever for its end.
    """
    try:
        async with asyncio.timeout(within):
            return await event.wait()
    except TimeoutError:
        return event.is_set()
