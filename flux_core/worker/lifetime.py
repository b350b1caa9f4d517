"""How a process learns that it should end: a first signal asks, a second one insists; a lost supervisor asks too."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
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


def end_with_supervisor(stop: asyncio.Event, *, within: float) -> None:
    """Set ``stop`` when standard input closes, a pipe that the supervisor holds open as long as it lives.

    Whatever still runs ``within`` seconds after that is ended by force.
    """
    loop = asyncio.get_running_loop()

    def watch() -> None:
        with suppress(OSError):
            while os.read(sys.stdin.fileno(), 1024):
                pass
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(stop.set)
        time.sleep(within)
        os._exit(1)

    threading.Thread(target=watch, name="supervisor-watch", daemon=True).start()
