"""Measure the queue: jobs a second from submit to finish, and what a claim costs however many jobs wait."""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy import Connection

from flux_core.catalogue import Catalogue
from flux_core.database import turns
from flux_core.database.connecting import connect
from flux_core.database.engine import Database
from flux_core.database.jobs import values_of
from flux_core.database.queue import JobQueue, WorkerInfo
from flux_core.database.tables import jobs
from flux_core.generation import GenerationRequest, RequestOptions, resolve
from flux_core.images.store import PictureStore
from flux_core.jobs import Account, Job, Origin, Picture, ReplyTo
from flux_core.models import CREDIT
from flux_core.offers import Offer
from flux_core.quota import QuotaRules
from flux_core.router import LOCAL
from flux_core.service import Studio, Submission

MODEL = "flux-schnell"
CATALOGUE = Catalogue({MODEL: "weights"})
CYCLES = 3000
SUBMITTERS = 4
FEW, MANY = 1_000, 1_000_000
CLAIMS = 300
ACCOUNTS = 500
GUILDS = 20
RULES = QuotaRules(allowance=1000 * CREDIT, zone=ZoneInfo("UTC"), max_waiting=100)


def a_request() -> GenerationRequest:
    """Four pictures of one megapixel."""
    return resolve(RequestOptions(prompt="a red circle on a blue background", seed=7), CATALOGUE)


def a_reply() -> ReplyTo:
    """An answer in a channel, as every job of the bot has one."""
    return ReplyTo(application_id=1, channel_id=2, interaction_token="t" * 200, token_expires_at=time.time() + 900)


def pictures_of(job: Job) -> list[Picture]:
    """What a worker stores for a job."""
    shape = {"width": 1024, "height": 1024, "content_type": "image/webp", "size": 100_000}
    return [Picture(position=i, key=f"pictures/{job.id}/{i}.webp", seed=7 + i, **shape) for i in range(4)]  # type: ignore[arg-type]


async def cycles(db: Database, folder: Path, first: int, count: int, *, deliver: bool = False) -> None:
    """Submit, claim and end ``count`` jobs with four pictures each, settled; they are numbered from ``first`` on.

    ``deliver``: also do as a bot does that posts them.
    """
    studio = Studio(db, PictureStore(str(folder)), CATALOGUE, RULES)
    queue = JobQueue(db, max_attempts=3, lease_seconds=30.0)
    request, reply = a_request(), a_reply()

    async def cycle(number: int) -> None:
        account = Account(1, number % ACCOUNTS)
        submission = Submission(
            account=account, request=request, origin=Origin.IMAGINE, reply_to=reply, key=f"interaction-{number}"
        )
        await studio.submit(submission)
        job = await queue.claim("worker", [MODEL])
        assert job is not None
        await queue.succeed("worker", job.id, pictures_of(job), provider="local", seconds=1.0)
        if deliver:
            await studio.claim_delivery(job.id, "bot", seconds=60)
            await studio.pictures(job.id)
            await studio.delivered(job.id)

    async def some(part: int) -> None:
        for number in range(first + part, first + count, SUBMITTERS):
            await cycle(number)

    await asyncio.gather(*(some(part) for part in range(SUBMITTERS)))


async def cycles_per_second(folder: Path) -> float:
    """Return how many jobs a second one process submits, claims and ends."""
    db = await connect(f"sqlite:///{folder / 'cycles.db'}")
    await cycles(db, folder, 0, 200)
    began = time.perf_counter()
    await cycles(db, folder, 200, CYCLES)
    elapsed = time.perf_counter() - began
    await db.close()
    return CYCLES / elapsed


def waiting_rows(count: int) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of ``count`` waiting jobs of many accounts in several guilds, ten thousand at a time."""
    request = a_request()
    template = values_of(
        Job(
            id="",
            account=Account(1, 1),
            request=request,
            origin=Origin.SHELL,
            cost=4000,
            price=4000,
            created_at=time.time(),
        )
    )
    rows: list[dict[str, Any]] = []
    for number in range(count):
        account = number % ACCOUNTS
        start = float(number // ACCOUNTS) * 4000
        rows.append(
            template
            | {"id": f"{number:024x}", "guild_id": account % GUILDS, "user_id": account}
            | {"start_tag": start, "finish_tag": start + 4000}
        )
        if len(rows) == 10_000:
            yield rows
            rows = []
    if rows:
        yield rows


def load(connection: Connection, rows: list[dict[str, Any]]) -> None:
    """Insert waiting jobs."""
    connection.execute(sa.insert(jobs), rows)


async def waiting_database(folder: Path, count: int) -> Database:
    """Open a database in which ``count`` jobs wait."""
    db = await connect(f"sqlite:///{folder / f'waiting-{count}.db'}")
    for guild in range(GUILDS):
        await db.write(turns.enter, guild)
    for rows in waiting_rows(count):
        await db.write(load, rows)
    return db


async def claim_seconds(queue: JobQueue, claims: int) -> list[float]:
    """Return what each of ``claims`` claims took."""
    taken = []
    for _ in range(claims):
        began = time.perf_counter()
        job = await queue.claim("worker", [MODEL])
        taken.append(time.perf_counter() - began)
        assert job is not None
    return taken


async def main() -> list[tuple[str, str, str]]:
    """Measure everything; return rows of (what, measured, aim)."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        speed = await cycles_per_second(folder)
        began = time.perf_counter()
        few, many = await waiting_database(folder, FEW), await waiting_database(folder, MANY)
        loaded = time.perf_counter() - began
        queues = [JobQueue(db, max_attempts=3, lease_seconds=30.0) for db in (few, many)]
        taken: tuple[list[float], list[float]] = ([], [])
        for queue in queues:
            await claim_seconds(queue, 20)
        # In turns, so that other load on the machine meets both alike.
        for _ in range(CLAIMS // 20):
            for queue, times in zip(queues, taken, strict=True):
                times.extend(await claim_seconds(queue, 20))
        of_few, of_many = (statistics.median(times) for times in taken)
        place = await place_seconds(many, folder)
        await few.close()
        await many.close()
    return [
        ("queue: submit + claim + finish", f"{speed:,.0f} / s", "≥ 600 / s"),
        (f"queue: a claim among {FEW:,} waiting jobs", f"{of_few * 1e3:.2f} ms", ""),
        (f"queue: a claim among {MANY:,} waiting jobs", f"{of_many * 1e3:.2f} ms", ""),
        ("queue: claim cost, many to few", f"{of_many / of_few:.2f} ×", "≤ 1.5 ×"),
        (f"queue: place of the last of {MANY:,}", f"{place * 1e3:.1f} ms", ""),
        (f"queue: loading {MANY:,} jobs", f"{loaded:.0f} s", "< 120 s"),
    ]


async def place_seconds(db: Database, folder: Path) -> float:
    """Return how long the last of all waiting jobs takes to learn its place."""
    studio = Studio(db, PictureStore(str(folder)), CATALOGUE, RULES)
    queue = JobQueue(db, max_attempts=3, lease_seconds=30.0)
    offers = {MODEL: Offer(theirs=MODEL)}
    await queue.register(WorkerInfo(id="w", host="here", pid=1, device="cpu", offers=offers, started_at=0.0))
    await queue.record_speed(LOCAL, MODEL, 16.0, 1.0)
    last = f"{MANY - 1:024x}"
    taken = []
    for _ in range(20):
        began = time.perf_counter()
        await studio.place(last)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


if __name__ == "__main__":
    for what, measured, aim in asyncio.run(main()):
        sys.stdout.write(f"{what:45} {measured:>12}   {aim}\n")
