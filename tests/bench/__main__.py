"""``make bench``: the queue on both databases, many workers and members, the bot, a hosted worker, batches, the engine.

``python -m tests.bench PART …`` runs some of it: queue, server, load, discord, hosted, batching, engine.
"""

from __future__ import annotations

import asyncio
import sys
import time
import traceback
from collections.abc import Sequence

from tests.bench import batching_bench, discord_bench, engine_bench, hosted_bench, load_bench, queue_bench, server_bench
from tests.bench.report import Row, show

PARTS = {
    "queue": queue_bench,
    "server": server_bench,
    "load": load_bench,
    "discord": discord_bench,
    "hosted": hosted_bench,
    "batching": batching_bench,
    "engine": engine_bench,
}
PART_SECONDS = 3600.0
"""Whatever hangs: what the other parts have measured is shown."""


async def _all(names: Sequence[str]) -> tuple[list[Row], bool]:
    """Return the rows of these parts, and whether all of them came to their end."""
    rows: list[Row] = []
    whole = True
    for name in names:
        began = time.monotonic()
        try:
            async with asyncio.timeout(PART_SECONDS):
                rows += await PARTS[name].main()
        except Exception as error:  # what was measured in many minutes is shown all the same
            traceback.print_exc()
            rows.append((f"{name}: no figures", type(error).__name__, ""))
            whole = False
        rows.append((f"{name}: the whole part took", f"{time.monotonic() - began:.0f} s", ""))
    return rows, whole


if __name__ == "__main__":
    wanted = sys.argv[1:] or list(PARTS)
    if unknown := set(wanted) - set(PARTS):
        sys.exit(f"There is no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}.")
    measured, complete = asyncio.run(_all(wanted))
    show(measured)
    sys.exit(0 if complete else 1)
