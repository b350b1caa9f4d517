"""A process that submits jobs under keys of its own and draws whatever comes, for ``test_processes``."""

from __future__ import annotations

import asyncio
import random
import sys
from contextlib import suppress
from pathlib import Path

from flux_core.errors import DrawingBroken, LeaseLost, OutOfMemory
from flux_core.jobs import Account
from tests.database.scene import SCHNELL, Scene, a_scene, pictures

GENEROUS = {"allowance": 10**9, "max_waiting": 10**6}
USERS = 5


async def submit(scene: Scene, number: int, count: int) -> None:
    """Submit ``count`` jobs; one that was submitted before this process was killed is not submitted again."""
    for serial in range(count):
        await scene.submit(Account(7, serial % USERS), key=f"{number}-{serial}")


async def draw(scene: Scene, worker: str, chance: random.Random) -> None:
    """Claim and end jobs one way or another, for ever."""
    while True:
        await scene.queue.rescue()
        job = await scene.queue.claim(worker, [SCHNELL])
        if job is None:
            await asyncio.sleep(0.01)
            continue
        with suppress(LeaseLost):
            await scene.queue.heartbeat(worker, [job.id])
            await scene.queue.progress(worker, job.id, 1, 4)
            await asyncio.sleep(chance.uniform(0, 0.01))
            fate = chance.random()
            if fate < 0.7:
                await scene.queue.succeed(worker, job.id, pictures(job), provider="local", seconds=0.01)
            elif fate < 0.8:
                await scene.queue.fail(worker, job.id, OutOfMemory())
            elif fate < 0.9:
                await scene.queue.fail(worker, job.id, DrawingBroken())
            else:
                await scene.queue.hand_back(worker, job.id)


async def main(url: str, folder: str, number: int, count: int, life: int) -> None:
    """Do both at once, on the time of the day."""
    chance = random.Random(number * 1000 + life)
    async with a_scene(url, Path(folder), **GENEROUS) as scene:
        scene.use_the_time_of_day(lease_seconds=0.5)
        drawing = asyncio.create_task(draw(scene, f"worker-{number}-{life}", chance))
        await submit(scene, number, count)
        await drawing


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], *(int(word) for word in sys.argv[3:])))
