"""``make bench``: the queue on both databases, many workers and members, the bot, a hosted worker, batches, the engine.

``python -m tests.bench PART …`` runs some of it: queue, server, load, discord, hosted, batching, engine.
"""

from __future__ import annotations

import asyncio
import sys
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


async def _all(names: Sequence[str]) -> list[Row]:
    return [row for name in names for row in await PARTS[name].main()]


if __name__ == "__main__":
    wanted = sys.argv[1:] or list(PARTS)
    if unknown := set(wanted) - set(PARTS):
        sys.exit(f"There is no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}.")
    show(asyncio.run(_all(wanted)))
