"""How a process learns that it should end: a first signal asks, a second one insists."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from contextlib import suppress

log = logging.getLogger(__name__)


def obey_signals(stop: asyncio.Event) -> None:
    """Set ``stop`` on SIGTERM and SIGINT; a second signal ends the process at once."""

    def on_signal(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        log.info("Stopping; a second signal ends the process at once")
        stop.set()

    loop = asyncio.get_running_loop()
    for known in (signal.SIGTERM, signal.SIGINT):
        with suppress(NotImplementedError):  # an event loop of Windows
            loop.add_signal_handler(known, on_signal, known)
