"""``make bench``: measure the queue, then the bot under load. Nothing is asserted: machines differ."""

from __future__ import annotations

import asyncio

from tests.bench import discord_bench, queue_bench
from tests.bench.report import Row, show


async def _all() -> list[Row]:
    return [*await queue_bench.main(), *await discord_bench.main()]


if __name__ == "__main__":
    show(asyncio.run(_all()))
