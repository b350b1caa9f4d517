"""Processes that a benchmark starts: each of them ends, and the benchmark with them, whatever becomes of it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

END_SECONDS = 30.0
"""What a process gets after SIGTERM; a worker gives its drawings eight seconds."""


@asynccontextmanager
async def running(
    modules: Sequence[Sequence[str]], environment: Mapping[str, str]
) -> AsyncIterator[list[asyncio.subprocess.Process]]:
    """Run Python modules with their arguments, each as a process; all have ended afterwards.

    Raises RuntimeError where one had to be killed: nothing of ours may hang at its end.
    """
    processes: list[asyncio.subprocess.Process] = []
    try:
        for words in modules:
            processes.append(await asyncio.create_subprocess_exec(sys.executable, "-m", *words, env=environment))
        yield processes
    finally:
        hung = await asyncio.shield(_end(processes))
    if hung:
        raise RuntimeError(f"{hung} of {len(processes)} processes did not end within {END_SECONDS:.0f} s of SIGTERM")


async def _end(processes: Sequence[asyncio.subprocess.Process]) -> int:
    """End all at once; return how many had to be killed."""
    living = [process for process in processes if process.returncode is None]
    for process in living:
        process.terminate()
    ends = [asyncio.create_task(process.wait()) for process in living]
    if ends:
        await asyncio.wait(ends, timeout=END_SECONDS)
    hung = [process for process, end in zip(living, ends, strict=True) if not end.done()]
    for process in hung:
        process.kill()
    await asyncio.gather(*ends)
    return len(hung)
