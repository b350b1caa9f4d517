"""A bot or a hosted worker as in production, with a stopwatch on its event loop.

``python -m tests.bench.watched_process bot|hosted FILE``: what it saw is written to FILE at its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from flux_core.settings import load_settings

SETTLE_SECONDS = 5
"""After the start, while modules are imported and connections made, stalls do not count."""

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


async def serve(part: str) -> None:
    if part == "bot":
        from bot.command_line import house

        await house.bot(load_settings())
    else:
        from flux_core.worker.process import run_hosted

        await run_hosted(load_settings(), ["all"], worker_id="hosted")


async def main(part: str) -> dict[str, Any]:
    stalls: list[float] = []
    sizes: list[int] = []
    watching = asyncio.gather(watch(stalls), weigh(sizes))
    try:
        asyncio.get_running_loop().call_later(SETTLE_SECONDS, stalls.clear)
        await serve(part)
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
    stalls.sort()
    return {
        "longest": stalls[-1],
        "p99": stalls[int(len(stalls) * 0.99)],
        "first_bytes": sizes[min(len(sizes) - 1, round(SETTLE_SECONDS / WEIGH_SECONDS))],
        "peak_bytes": max(sizes),
        "torch": "torch" in sys.modules,
    }


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(asyncio.run(main(sys.argv[1]))))
