"""Keep worker processes running."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flux_core.waiting import happened

log = logging.getLogger(__name__)

LAST_LINES = 15
"""Lines of a worker's standard error that are kept for the message about its death."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait before a worker is started again. All in seconds."""

    first: float = 1.0
    most: float = 60.0
    healthy: float = 60.0
    """A worker that lived this long starts with a clean slate."""
    deaths: int = 3
    """Deaths in a row after which the operator is told that something is wrong."""

    def delay(self, deaths: int, chance: float) -> float:
        """Return the wait after ``deaths`` deaths in a row; ``chance`` in [0, 1) spreads it by half either way."""
        return float(min(self.most, self.first * 2.0 ** min(deaths - 1, 32)) * (0.5 + chance))


class Supervisor:
    """Runs ``count`` workers, starts those that die anew, and stops them all in order."""

    def __init__(
        self,
        command: Callable[[int], Sequence[str]],
        count: int,
        *,
        patience: Patience | None = None,
        stop_seconds: float = 20.0,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Start worker number i (from 0) with ``command(i)``; when stopped, kill what lives after ``stop_seconds``.

        A worker's standard input is a pipe that stays open as long as the supervisor lives, its standard error is
        passed on line by line.
        """
        self._command = command
        self._count = count
        self._patience = patience or Patience()
        self._stop_seconds = stop_seconds
        self._chance = chance
        self._processes: dict[int, Process] = {}

    @property
    def pids(self) -> list[int]:
        """Return the process ids of the workers that run now."""
        return [process.pid for process in self._processes.values() if process.returncode is None]

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the workers running until ``stop``, then stop them within a bound."""
        async with asyncio.TaskGroup() as group:
            group.create_task(stop.wait(), name="stop")  # none to keep is no reason to end
            for number in range(self._count):
                group.create_task(self._keep(number, stop), name=f"worker {number}")

    async def _keep(self, number: int, stop: asyncio.Event) -> None:
        deaths = 0
        while not stop.is_set():
            began = time.monotonic()
            last = await self._live(number, stop)
            if stop.is_set():
                return
            deaths = 1 if time.monotonic() - began >= self._patience.healthy else deaths + 1
            delay = self._patience.delay(deaths, self._chance())
            if deaths == self._patience.deaths:
                log.error(
                    "Worker %d died %d times in a row and no pictures are drawn by it. It is tried again every %.0f "
                    "seconds or so. %s",
                    number,
                    deaths,
                    self._patience.most,
                    last,
                )
            else:
                log.warning("Worker %d starts again in %.1f s. %s", number, delay, last.split("\n", 1)[0])
            await happened(stop, delay)

    async def _live(self, number: int, stop: asyncio.Event) -> str:
        """Run one process to its end; return how it ended and what it said last."""
        command = self._command(number)
        try:
            # Its own session: Ctrl+C is for the supervisor, which stops the workers in order.
            process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stderr=PIPE, start_new_session=True)
        except OSError as error:
            return f"It cannot be started: {error}"
        self._processes[number] = process
        lines: deque[str] = deque(maxlen=LAST_LINES)
        reading = asyncio.create_task(_pass_on(process, lines), name=f"stderr of worker {number}")
        ending = asyncio.create_task(process.wait(), name=f"end of worker {number}")
        stopping = asyncio.create_task(stop.wait(), name=f"stop of worker {number}")
        try:
            await asyncio.wait({ending, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not ending.done():
                await self._end(process, ending)
        finally:
            if process.returncode is None:
                process.kill()
            stopping.cancel()
            code = await ending
            # Something that a dead worker started may still hold the pipe.
            await asyncio.wait({reading}, timeout=1.0)
            reading.cancel()
            del self._processes[number]
        said = "\n".join(lines)
        return f"{_cause(code)} Its last words:\n{said}" if said else f"{_cause(code)} It said nothing."

    async def _end(self, process: Process, ending: asyncio.Task[int]) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await asyncio.wait({ending}, timeout=self._stop_seconds)
        if not ending.done():
            log.warning("Worker process %d did not stop within %.0f s and is killed", process.pid, self._stop_seconds)
            with contextlib.suppress(ProcessLookupError):
                process.kill()


async def _pass_on(process: Process, lines: deque[str]) -> None:
    """Copy a worker's standard error to our own, and remember its end."""
    assert process.stderr is not None
    while True:
        try:
            line = await process.stderr.readline()
        except ValueError:  # a line beyond the reader's limit; what came of it is dropped
            continue
        if not line:
            return
        text = line.decode(errors="replace")
        # Whoever read our own may be gone. The worker's pipe is emptied all the same: a full one would stop its loop.
        with contextlib.suppress(OSError):
            sys.stderr.write(text)
            sys.stderr.flush()
        lines.append(text.rstrip())


def _cause(code: int) -> str:
    if code >= 0:
        return f"It ended with exit code {code}."
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = " Out of memory, perhaps." if -code == signal.SIGKILL else ""
    return f"It was ended by {name}.{hint}"
