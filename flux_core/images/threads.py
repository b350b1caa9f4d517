"""Threads for decoding and encoding: few, and polite to the event loop that waits for them."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from typing import TypeVar

T = TypeVar("T")

NICENESS = 10
"""Of the system's 19: when processors are short, heartbeats and polls go before pictures."""


async def in_picture_thread(work: Callable[[], T]) -> T:
    """Return what ``work`` returns, done in a thread for pictures; at most one less than there are processors run."""
    return await asyncio.get_running_loop().run_in_executor(_threads(), contextvars.copy_context().run, work)


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, (os.cpu_count() or 2) - 1), "pictures", initializer=_be_polite)


def _be_polite() -> None:
    # Linux counts niceness by thread. Where that is not so, nothing is changed: the whole process would be slowed.
    if hasattr(os, "sched_setaffinity"):
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
