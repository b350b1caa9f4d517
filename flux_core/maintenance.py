"""Chores that keep a studio sound: rescue what stalled, prune what is old. Any process, and several, may run them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from flux_core.database import bans, bookkeeping, old_records, outbox, pictures, retention, strays, verdicts, workers
from flux_core.database.engine import Database
from flux_core.database.queue import JobQueue
from flux_core.errors import StorageUnavailable
from flux_core.images.store import PictureStore
from flux_core.waiting import happened

log = logging.getLogger(__name__)

MINUTE = 60.0
DAY = 24 * 60 * MINUTE
WORKER_FORGOTTEN = 10 * MINUTE
"""Silence after which a worker leaves the list; it stopped counting as alive long before."""
PREVIEW_KEPT = MINUTE
"""After a job's end, while a message may still show the preview."""
INPUT_KEPT = DAY
"""For an uploaded picture that no job came of."""
STRAY_KEPT = DAY
"""For a file that nothing refers to: whoever has just written it may be about to say so."""
APPROVAL_WAITS = 72 * 60 * MINUTE
"""For a moderator; then the member gets the credits back."""
BOOKS_CHECKED_AFTER = 5 * MINUTE
"""Of running; then once a day."""
BATCH = 500
STUCK = 3
"""Pictures that cannot be deleted, after which a round ends."""
JOBS_AT_ONCE = 100
"""Of those whose time is over: few, since each has several pictures and nobody else can write meanwhile."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long things are kept after their job has ended, in days; 0: for ever."""

    pictures_days: int = 0
    jobs_days: int = 0
    """What a job says of its member: its words, above all. The pictures, which carry them, go with them."""
    reviews_days: int = 0
    """After the verdict."""
    audit_days: int = 0
    """After the entry was written."""


FOR_EVER = Retention()


@dataclass(frozen=True, slots=True)
class Chore:
    """One thing done again and again; ``work`` returns how many things it put right."""

    name: str
    every: float
    """Seconds between two rounds."""
    work: Callable[[], Awaitable[int]]
    after: float = 0.0
    """Seconds before the first round: what takes long is no business of a command that ends at once."""

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop``; what went wrong is tried again in the next round."""
        await happened(stop, self.after)
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
            await happened(stop, self.every)


def chores(db: Database, queue: JobQueue, store: PictureStore, kept: Retention = FOR_EVER) -> list[Chore]:
    """Return everything that has to be done from time to time."""

    away, patient_until = False, 0.0

    async def rescue() -> int:
        nonlocal away, patient_until
        try:
            if away:  # leases ran out because nobody could keep them: whoever lives gets the time to say so
                await db.read(workers.alive, db.clock())
                away, patient_until = False, db.clock() + queue.lease_seconds / 2
            return 0 if db.clock() < patient_until else len(await queue.rescue())
        except StorageUnavailable:
            away = True
            raise

    async def abandon_bound() -> int:
        return len(await queue.abandon_bound())

    async def forget_workers() -> int:
        return len(await db.write(workers.prune, db.clock() - WORKER_FORGOTTEN))

    async def forget_bans() -> int:
        return await db.write(bans.prune, db.clock())

    async def drop_previews() -> int:
        now = db.clock()
        return await db.write(pictures.drop_previews, now - PREVIEW_KEPT, now, BATCH)

    async def drop_inputs() -> int:
        now = db.clock()
        return await db.write(pictures.drop_inputs, now - INPUT_KEPT, now, BATCH)

    async def forget_tokens() -> int:
        return await db.write(outbox.forget_expired_tokens, db.clock())

    async def delete_discarded() -> int:
        gone, stuck = list[str](), dict[str, StorageUnavailable]()
        for key in await db.read(pictures.discarded_keys, BATCH):
            try:
                # Until it is its turn in a bucket, many seconds may have gone by.
                if not await db.read(pictures.is_discarded, key):
                    continue
                await store.delete([key])
                gone.append(key)
            except StorageUnavailable as error:
                stuck[key] = error
                if len(stuck) == STUCK:
                    break  # it is the store that is away
        if gone:
            await db.write(pictures.swept, gone)
        if stuck:
            # Behind all others: one that somebody has locked must not keep the rest on the disk.
            await db.write(pictures.put_off, list(stuck), db.clock())
            raise next(iter(stuck.values()))
        return len(gone)

    async def drop_pictures() -> int:
        now = db.clock()
        return await db.write(retention.drop_pictures, now - kept.pictures_days * DAY, now, JOBS_AT_ONCE)

    async def forget_jobs() -> int:
        now = db.clock()
        return await db.write(retention.forget_jobs, now - kept.jobs_days * DAY, now, JOBS_AT_ONCE)

    async def expire_approvals() -> int:
        now = db.clock()
        return await db.write(verdicts.expire, now - APPROVAL_WAITS, now, JOBS_AT_ONCE)

    async def drop_reviews() -> int:
        return await db.write(old_records.drop_reviews, db.clock() - kept.reviews_days * DAY, BATCH)

    async def drop_entries() -> int:
        return await db.write(old_records.drop_entries, db.clock() - kept.audit_days * DAY, BATCH)

    async def sweep() -> int:
        found, before = 0, db.clock() - STRAY_KEPT
        for folder in strays.FOLDERS:
            found += await store.drop_unfinished(folder, before)
            async for page in store.pages(folder, BATCH):
                old = [file for file in page if file.modified_at < before]
                if old and (stray := await db.read(strays.among, old)):
                    found += await db.write(strays.drop, stray, db.clock())
        return found

    async def check_books() -> int:
        for found in await db.read(bookkeeping.discrepancies):
            log.error("The books do not agree: %s. %s", found, found.advice)
        return 0

    timely = []
    if kept.pictures_days:
        timely.append(Chore("jobs whose pictures were kept long enough", MINUTE / 2, drop_pictures))
    if kept.jobs_days:
        timely.append(Chore("jobs forgotten that were kept long enough", MINUTE / 2, forget_jobs))
    if kept.reviews_days:
        timely.append(Chore("reviews dropped that were kept long enough", 60 * MINUTE, drop_reviews))
    if kept.audit_days:
        timely.append(Chore("entries of the audit log dropped that were kept long enough", 60 * MINUTE, drop_entries))
    return [
        *timely,
        Chore("jobs rescued from lost workers", min(5.0, queue.lease_seconds / 3), rescue),
        Chore("jobs of hosted providers left to our own cards", min(5.0, queue.lease_seconds / 3), queue.admit_local),
        Chore("jobs given up whose provider is gone", MINUTE / 2, abandon_bound),
        Chore("workers forgotten", MINUTE, forget_workers),
        Chore("bans forgotten that are over", 60 * MINUTE, forget_bans),
        Chore("previews of ended jobs dropped", MINUTE / 2, drop_previews),
        Chore("unused uploads dropped", 60 * MINUTE, drop_inputs),
        Chore("expired interaction tokens forgotten", MINUTE, forget_tokens),
        Chore("jobs that no moderator approved in time", MINUTE, expire_approvals),
        Chore("stray files dropped", 60 * MINUTE, sweep),
        Chore("discarded pictures deleted", MINUTE / 4, delete_discarded),
        Chore("the books checked", DAY, check_books, after=BOOKS_CHECKED_AFTER),
    ]


async def maintain(
    db: Database, queue: JobQueue, store: PictureStore, stop: asyncio.Event, kept: Retention = FOR_EVER
) -> None:
    """Run all chores until ``stop``."""
    async with asyncio.TaskGroup() as group:
        for chore in chores(db, queue, store, kept):
            group.create_task(chore.run(stop), name=f"maintenance: {chore.name}")
