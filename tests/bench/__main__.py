"""``make bench``: the queue, the bot under load, a full hosted worker, drawing together, the engine against a loop."""

from __future__ import annotations

import asyncio

from tests.bench import batching_bench, discord_bench, engine_bench, hosted_bench, queue_bench, server_bench
from tests.bench.report import Row, show


async def _all() -> list[Row]:
    parts = (queue_bench, server_bench, discord_bench, hosted_bench, batching_bench, engine_bench)
    return [row for part in parts for row in await part.main()]


if __name__ == "__main__":
    show(asyncio.run(_all()))
