"""``make bench``: measure the queue, the bot under load, a worker full of hosted jobs. Nothing is asserted."""

from __future__ import annotations

import asyncio

from tests.bench import discord_bench, hosted_bench, queue_bench
from tests.bench.report import Row, show


async def _all() -> list[Row]:
    return [*await queue_bench.main(), *await discord_bench.main(), *await hosted_bench.main()]


if __name__ == "__main__":
    show(asyncio.run(_all()))
