"""A process that submits jobs under keys of its own and draws whatever comes, for ``test_processes``.

It draws some itself, several together where they come so, and orders others from a vendor, whose order book is a file.
"""

from __future__ import annotations

import asyncio
import random
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from flux_core.batching import TRIALS, shape_of
from flux_core.errors import DrawingBroken, LeaseLost, OutcomeUnknown, OutOfMemory
from flux_core.jobs import Account, Job
from tests.database.scene import SCHNELL, Scene, a_request, a_scene, pictures

GENEROUS: dict[str, Any] = {"allowance": 10**9, "max_waiting": 10**6}
USERS = 5
CARD, TOGETHER = "a card", 3


async def submit(scene: Scene, number: int, count: int) -> None:
    """Submit ``count`` jobs; one that was submitted before this process was killed is not submitted again."""
    for serial in range(count):
        await scene.submit(Account(7, serial % USERS), key=f"{number}-{serial}")


async def draw(scene: Scene, worker: str, parties: Path, chance: random.Random) -> None:
    """Claim and end jobs one way or another, for ever."""
    while True:
        await scene.queue.rescue()
        jobs = await scene.queue.claim_together(worker, [SCHNELL], CARD, TOGETHER)
        if not jobs:
            await asyncio.sleep(0.01)
        if len(jobs) > 1:
            with parties.open("a") as known:
                known.write(f"{len(jobs)}\n")
        for job in jobs:
            with suppress(LeaseLost):
                await scene.queue.heartbeat(worker, [job.id for job in jobs])
                await scene.queue.progress(worker, job.id, 1, 4)
                await asyncio.sleep(chance.uniform(0, 0.01))
                await end(scene, worker, job, chance.random())


async def end(scene: Scene, worker: str, job: Job, fate: float) -> None:
    """End a job in one of four ways."""
    if fate < 0.7:
        await scene.queue.succeed(worker, job.id, pictures(job), provider="local", seconds=0.01)
    elif fate < 0.8:
        await scene.queue.fail(worker, job.id, OutOfMemory())
    elif fate < 0.9:
        await scene.queue.fail(worker, job.id, DrawingBroken())
    else:
        await scene.queue.hand_back(worker, job.id)


async def learn(scene: Scene) -> None:
    """Have seen a card on which a drawing takes as long whatever the number of its pictures."""
    shape = shape_of(a_request())
    assert shape is not None
    for number in range(1, TOGETHER + 1):
        for _ in range(TRIALS):
            await scene.queue.record_pace(CARD, shape, number, float(number), 1.0)


async def order(scene: Scene, worker: str, book: Path, chance: random.Random) -> None:
    """Claim jobs for a hosted provider and end them one way or another, for ever: each is ordered once at most."""
    await scene.vendor("acme", SCHNELL, worker=worker)
    while True:
        await scene.queue.beat(worker)
        job = await scene.queue.claim_hosted(worker)
        if job is None:
            await asyncio.sleep(0.01)
            continue
        with suppress(LeaseLost):
            await scene.queue.heartbeat(worker, [job.id])
            if job.provider_job_id == "about to order":
                await scene.queue.fail(worker, job.id, OutcomeUnknown())
                continue
            if job.provider_job_id is None:
                await scene.queue.submitted(worker, job.id, "acme", "about to order")
                with book.open("a") as orders:
                    orders.write(f"{job.id}\n")
                await asyncio.sleep(chance.uniform(0, 0.01))
                await scene.queue.submitted(worker, job.id, "acme", f"order-{job.id}")
            await asyncio.sleep(chance.uniform(0, 0.01))
            if chance.random() < 0.8:
                await scene.queue.succeed(worker, job.id, pictures(job), provider="acme", seconds=0.01)
            else:
                await scene.queue.hand_back(worker, job.id)


async def main(url: str, folder: str, number: int, count: int, life: int) -> None:
    """Do both at once, on the time of the day."""
    chance = random.Random(number * 1000 + life)
    async with a_scene(url, Path(folder), **GENEROUS) as scene:
        scene.use_the_time_of_day(lease_seconds=0.5)
        await learn(scene)
        async with asyncio.TaskGroup() as group:
            group.create_task(draw(scene, f"worker-{number}-{life}", Path(folder) / "parties", chance))
            group.create_task(order(scene, f"acme-{number}-{life}", Path(folder) / "orders", chance))
            await submit(scene, number, count)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], *(int(word) for word in sys.argv[3:])))
