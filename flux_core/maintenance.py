"""Chores that keep a studio sound: rescue what stalled, prune what is old. Any process, and several, may run them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from flux_core.database import outbox, pictures, workers
from flux_core.database.engine import Database
from flux_core.database.queue import JobQueue
from flux_core.errors import StorageUnavailable
from flux_core.service import PictureStore

log = logging.getLogger(__name__)

MINUTE = 60.0
WORKER_FORGOTTEN = 10 * MINUTE
"""Silence after which a worker leaves the list; it stopped counting as alive long before."""
PREVIEW_KEPT = MINUTE
"""After a job's end, while a message may still show the preview."""
INPUT_KEPT = 24 * 60 * MINUTE
"""For an uploaded picture that no job came of."""
BATCH = 500


@dataclass(frozen=True, slots=True)
class Chore:
    """One thing done again and again; ``work`` returns how many things it put right."""

    name: str
    every: float
    """Seconds between two rounds."""
    work: Callable[[], Awaitable[int]]

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop``; what went wrong is tried again in the next round."""
        while not stop.is_set():
            try:
                done = await self.work()
            except StorageUnavailable as error:
                log.warning("%s has to wait: %s", self.name, error)
            except Exception:
                # Nobody would notice that it ended, and it would take the other chores along: jobs would stay lost.
                log.exception("%s: a round broke off", self.name)
            else:
                if done:
                    log.info("%s: %d", self.name, done)
            with suppress(TimeoutError):
                # Not wait_for: in Python 3.11 it can swallow the cancellation that ends this loop.
                async with asyncio.timeout(self.every):
                    await stop.wait()


def chores(db: Database, queue: JobQueue, store: PictureStore) -> list[Chore]:
    """Return everything that has to be done from time to time."""

    async def rescue() -> int:
        return len(await queue.rescue())

    async def abandon_bound() -> int:
        return len(await queue.abandon_bound())

    async def forget_workers() -> int:
        return len(await db.write(workers.prune, db.clock() - WORKER_FORGOTTEN))

    async def drop_previews() -> int:
        now = db.clock()
        return await db.write(pictures.drop_previews, now - PREVIEW_KEPT, now, BATCH)

    async def drop_inputs() -> int:
        now = db.clock()
        return await db.write(pictures.drop_inputs, now - INPUT_KEPT, now, BATCH)

    async def forget_tokens() -> int:
        return await db.write(outbox.forget_expired_tokens, db.clock())

    async def delete_discarded() -> int:
        keys = await db.read(pictures.discarded_keys, BATCH)
        if keys:
            await store.delete(keys)
            await db.write(pictures.swept, keys)
        return len(keys)

    return [
        Chore("jobs rescued from lost workers", min(5.0, queue.lease_seconds / 3), rescue),
        Chore("jobs of hosted providers left to our own cards", min(5.0, queue.lease_seconds / 3), queue.admit_local),
        Chore("jobs given up whose provider is gone", MINUTE / 2, abandon_bound),
        Chore("workers forgotten", MINUTE, forget_workers),
        Chore("previews of ended jobs dropped", MINUTE / 2, drop_previews),
        Chore("unused uploads dropped", 60 * MINUTE, drop_inputs),
        Chore("expired interaction tokens forgotten", MINUTE, forget_tokens),
        Chore("discarded pictures deleted", MINUTE / 4, delete_discarded),
    ]


async def maintain(db: Database, queue: JobQueue, store: PictureStore, stop: asyncio.Event) -> None:
    """Run all chores until ``stop``."""
    async with asyncio.TaskGroup() as group:
        for chore in chores(db, queue, store):
            group.create_task(chore.run(stop), name=f"maintenance: {chore.name}")
