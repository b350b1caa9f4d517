"""A bot as in production, with a stopwatch on its event loop. It writes what it saw to the file it is told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from bot import house
from flux_core.settings import load_settings

SAMPLE_SECONDS = 0.002
WEIGH_SECONDS = 0.5


async def watch(stalls: list[float]) -> None:
    """Sleep in small naps; whatever a nap takes longer, the loop was busy or the process had no CPU."""
    while True:
        began = time.perf_counter()
        await asyncio.sleep(SAMPLE_SECONDS)
        stalls.append(time.perf_counter() - began - SAMPLE_SECONDS)


async def weigh(sizes: list[int]) -> None:
    """Note the resident bytes; the kernel's own peak (ru_maxrss) starts with that of the process we came from."""
    process = psutil.Process()
    while True:
        sizes.append(process.memory_info().rss)
        await asyncio.sleep(WEIGH_SECONDS)


async def main() -> dict[str, Any]:
    stalls: list[float] = []
    sizes: list[int] = []
    watching = asyncio.gather(watch(stalls), weigh(sizes))
    try:
        # Until the sandbox has the commands, it is not yet serving members.
        asyncio.get_running_loop().call_later(5, stalls.clear)
        await house.bot(load_settings())
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
    stalls.sort()
    return {
        "longest": stalls[-1],
        "p99": stalls[int(len(stalls) * 0.99)],
        "peak_bytes": max(sizes),
        "torch": "torch" in sys.modules,
    }


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(asyncio.run(main())))
