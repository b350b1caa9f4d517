"""A process that claims and ends jobs beside others while members order, cancel and are limited, for ``test_hammer``.

Whoever holds a job writes it down: ``+`` once it is claimed, ``-`` before it is given back or ended.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from flux_core.errors import DrawingBroken, LeaseLost, MemberError, QueuePaused
from flux_core.jobs import Account, JobState
from flux_core.policy.guild import Limits
from tests.database.laborer import GENEROUS
from tests.database.scene import DEV, SCHNELL, Scene, a_scene

GUILDS, USERS, WORKERS, MOST = (7, 8), 5, 3, 2
LIMITED = tuple(Account(guild, user) for guild in GUILDS for user in (1, 2))
"""Members who may have ``MOST`` jobs running, throughout."""
MODELS = (SCHNELL, DEV)


async def crowd(scene: Scene, number: int, count: int, chance: random.Random) -> None:
    """Submit ``count`` jobs; meanwhile do what moves, holds or ends those that wait."""
    ids: list[str] = []
    for serial in range(count):
        account = Account(chance.choice(GUILDS), chance.randrange(1, USERS + 1))
        wish: dict[str, Any] = {
            "model": chance.choice(MODELS),
            "key": f"{number}-{serial}",
            "count": chance.choice((1, 2)),
        }
        while True:
            try:
                ids.append((await scene.submit(account, **wish)).id)
                break
            except QueuePaused:
                await scene.studio.line.resume(account.guild_id, by=1)
        with suppress(MemberError):
            await meddle(scene, chance, chance.choice(ids[-5:]))
    for guild in GUILDS:
        await scene.studio.line.resume(guild, by=1)


async def meddle(scene: Scene, chance: random.Random, job_id: str) -> None:
    """Do one thing or another to what waits, or nothing."""
    fate = chance.random()
    if fate < 0.15:
        await scene.studio.cancel(job_id, by=1, moderator=True)
    elif fate < 0.25:
        job = await scene.studio.job(job_id)
        await scene.studio.move_up(job.id, by=job.account.user_id)
    elif fate < 0.3:
        await scene.studio.line.pause(chance.choice(GUILDS), by=1, reason="a moment", drains=False)
    elif fate < 0.4:
        await scene.studio.line.resume(chance.choice(GUILDS), by=1)
    elif fate < 0.5:  # the limits of somebody else come and go
        most = chance.choice((None, 1))
        account = Account(chance.choice(GUILDS), USERS)
        await scene.studio.members.change_limits(account, lambda _: Limits(max_running=most), by=1)


async def draw(scene: Scene, worker: str, book: int, chance: random.Random) -> None:
    """Claim and end jobs one way or another, for ever."""
    while True:
        loaded = {chance.choice(MODELS)} if chance.random() < 0.2 else None
        job = await scene.queue.claim(worker, MODELS, loaded)
        if job is None:
            await asyncio.sleep(0.01)
            continue
        os.write(book, f"+ {job.id} {worker}\n".encode())
        await asyncio.sleep(chance.uniform(0, 0.01))
        wanted = await scene.queue.heartbeat(worker, [job.id])
        os.write(book, f"- {job.id} {worker}\n".encode())
        fate = chance.random()
        with suppress(LeaseLost):
            if wanted[job.id]:
                await scene.queue.cancelled(worker, job.id)
            elif fate < 0.8:
                ended = await scene.succeed(job, worker)
                assert ended.state is JobState.SUCCEEDED
            elif fate < 0.9:
                await scene.queue.fail(worker, job.id, DrawingBroken())
            else:
                await scene.queue.hand_back(worker, job.id)


async def main(url: str, folder: str, number: int, count: int, seed: int) -> None:
    """Do both at once."""
    chance = random.Random(seed * 100 + number)
    book = os.open(Path(folder) / "book", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    async with a_scene(url, Path(folder), pool=WORKERS + 2, **GENEROUS) as scene, asyncio.TaskGroup() as group:
        scene.use_the_time_of_day(lease_seconds=3600)
        for worker in range(WORKERS):
            group.create_task(draw(scene, f"worker-{number}-{worker}", book, random.Random(chance.random())))
        await crowd(scene, number, count, chance)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], *(int(word) for word in sys.argv[3:])))
