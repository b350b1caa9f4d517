"""Measure the queue on a PostgreSQL server of its own: with several client processes, beside procrastinate in the same
minutes, and with many jobs that wait.

The server writes to the disk as PostgreSQL does by default (fsync, full pages, synchronous commits), for both. Both are
given as many client processes, connections and jobs at once; ours also keeps a ledger, turns and pictures.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

import psutil
import sqlalchemy as sa
from sqlalchemy import Connection

from flux_core.database import turns
from flux_core.database.connecting import connect
from flux_core.database.engine import Database
from flux_core.database.jobs import values_of
from flux_core.database.queue import JobQueue
from flux_core.database.tables import jobs
from flux_core.jobs import Account, Job, Origin
from tests.bench import procrastinate_client, queue_bench
from tests.bench.queue_bench import ACCOUNTS, CLAIMS, FEW, GUILDS
from tests.database.postgres import Server

CYCLES, CLIENTS = 600, 4
ROUNDS = 3
"""Times that each of the two is measured, in turns: other load on the machine meets both alike."""
ROUND_SECONDS = 300.0
"""Far more than a round takes: whoever is not done by then hangs."""
MANY = 1_000_000
AT_ONCE = 50_000
STRIDE = 10**6 + ACCOUNTS // CLIENTS
"""From the jobs of one client to those of the next: so that no two serve the same member at the same moment."""
DURABLE = ("fsync=on", "full_page_writes=on", "max_wal_size=1GB")
OURS, THEIRS = "tests.bench.server_bench", "tests.bench.procrastinate_client"


async def client(url: str, number: int, cycles: int) -> None:
    """Wait for a line on the standard input, then do ``cycles`` jobs from submit to finish.

    Say how many seconds it took, and how many of a processor.
    """
    with tempfile.TemporaryDirectory() as folder:
        db = await connect(url)
        await queue_bench.cycles(db, Path(folder), number * STRIDE, 50)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)
        began, worked = time.perf_counter(), time.process_time()
        await queue_bench.cycles(db, Path(folder), number * STRIDE + 50, cycles)
        sys.stdout.write(f"{time.perf_counter() - began} {time.process_time() - worked}\n")
        await db.close()


@dataclass(frozen=True)
class Pace:
    """What jobs took."""

    rate: float
    """Jobs a second."""
    client: float
    """Seconds of a processor that a job took of its client."""
    server: float
    """The same of the server."""


def worked(server: Server) -> float:
    """Return the seconds of a processor that a server has used so far, with all of its processes."""
    pid = int((server.folder / "data" / "postmaster.pid").read_text().split()[0])
    postmaster = psutil.Process(pid)
    used = postmaster.cpu_times()
    total = used.user + used.system + used.children_user + used.children_system
    for process in postmaster.children():
        with suppress(psutil.NoSuchProcess):  # ended just now; it is the postmaster's then
            used = process.cpu_times()
            total += used.user + used.system
    return float(total)


async def pace(program: str, server: Server, url: str, clients: int) -> Pace:
    """Measure how quickly ``clients`` processes of a program submit, claim and end jobs together."""
    words = [sys.executable, "-m", program, url]
    pipe = asyncio.subprocess.PIPE
    processes = [
        await asyncio.create_subprocess_exec(*words, str(number), str(CYCLES), stdin=pipe, stdout=pipe)
        for number in range(clients)
    ]
    try:
        async with asyncio.timeout(ROUND_SECONDS):
            for process in processes:
                assert process.stdout is not None
                assert await process.stdout.readline() == b"ready\n"
            before = worked(server)
            told = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
            used = worked(server) - before
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
                await process.wait()
    seconds, of_clients = zip(*(map(float, out.split()) for out, _ in told), strict=True)
    done = clients * CYCLES
    return Pace(rate=done / max(seconds), client=sum(of_clients) / done, server=used / done)


async def side_by_side(server: Server, clients: int) -> tuple[Pace, Pace]:
    """Return our pace and procrastinate's: the medians of several rounds in turns."""
    ours: list[Pace] = []
    theirs: list[Pace] = []
    for _ in range(ROUNDS):
        ours.append(await pace(OURS, server, await server.new_database(), clients))
        url = await server.new_database(migrated=False)
        await procrastinate_client.set_up(url)
        theirs.append(await pace(THEIRS, server, url, clients))
    return _median(ours), _median(theirs)


def _median(paces: list[Pace]) -> Pace:
    middle = {field.name: statistics.median(getattr(one, field.name) for one in paces) for field in fields(Pace)}
    return Pace(**middle)


def load(connection: Connection, first: int, last: int) -> None:
    """Insert waiting jobs with these numbers, as ``queue_bench.waiting_rows`` makes them."""
    account = Account(1, 1)
    request = queue_bench.a_request()
    job = Job(id="", account=account, request=request, origin=Origin.SHELL, cost=4000, price=4000, created_at=1.0)
    number = sa.func.generate_series(first, last - 1, type_=sa.Integer).column_valued("number")
    of = number % ACCOUNTS
    start = sa.cast(number // ACCOUNTS * 4000, sa.Double)
    values = {name: sa.literal(value, jobs.c[name].type) for name, value in values_of(job).items()}
    values |= {
        "id": sa.func.lpad(sa.func.to_hex(number), 24, "0"),
        "guild_id": of % GUILDS,
        "user_id": of,
        "start_tag": start,
        "finish_tag": start + 4000,
    }
    connection.execute(sa.insert(jobs).from_select(list(values), sa.select(*values.values()), include_defaults=False))


async def waiting_database(server: Server, count: int) -> Database:
    """Open a database in which ``count`` jobs wait."""
    db = await connect(await server.new_database())
    for guild in range(GUILDS):
        await db.write(turns.enter, guild)
    for first in range(0, count, AT_ONCE):
        await db.write(load, first, min(first + AT_ONCE, count))
    # As the server does by itself after a while.
    await db.write(lambda connection: connection.exec_driver_sql("ANALYZE jobs, guilds").close())
    return db


async def claim_costs(server: Server) -> tuple[float, float]:
    """Return the median seconds of a claim among few and among many waiting jobs."""
    databases = [await waiting_database(server, count) for count in (FEW, MANY)]
    queues = [JobQueue(db, max_attempts=3, lease_seconds=30.0) for db in databases]
    taken: tuple[list[float], list[float]] = ([], [])
    for queue in queues:
        await queue_bench.claim_seconds(queue, 20)
    for _ in range(CLAIMS // 20):
        for queue, times in zip(queues, taken, strict=True):
            times.extend(await queue_bench.claim_seconds(queue, 20))
    for db in databases:
        await db.close()
    of_few, of_many = (statistics.median(times) for times in taken)
    return of_few, of_many


async def main() -> list[tuple[str, str, str]]:
    """Measure everything; return rows of (what, measured, aim)."""
    server = Server(*DURABLE)
    try:
        rates = {clients: await side_by_side(server, clients) for clients in (1, CLIENTS)}
        of_few, of_many = await claim_costs(server)
    finally:
        server.close()
    rows = []
    for clients, (ours, theirs) in rates.items():
        many = clients > 1
        name = f"PostgreSQL, {clients} client{'s' * many}"
        rows += [
            (f"{name}: submit + claim + finish", f"{ours.rate:,.0f} / s", "≥ 1,000 / s" if many else ""),
            (f"{name}: the same by procrastinate", f"{theirs.rate:,.0f} / s", ""),
            (f"{name}: ours to procrastinate's", f"{ours.rate / theirs.rate:.2f} ×", "≥ 2 ×" if many else ""),
            (f"{name}: processor a job, client + server", _of_processor(ours), ""),
            (f"{name}: the same by procrastinate", _of_processor(theirs), ""),
        ]
    return [
        *rows,
        (f"PostgreSQL: a claim among {FEW:,} waiting jobs", f"{of_few * 1e3:.2f} ms", ""),
        (f"PostgreSQL: a claim among {MANY:,} waiting jobs", f"{of_many * 1e3:.2f} ms", ""),
        ("PostgreSQL: claim cost, many to few", f"{of_many / of_few:.2f} ×", "≤ 1.5 ×"),
    ]


def _of_processor(pace: Pace) -> str:
    return f"{pace.client * 1e3:.2f} + {pace.server * 1e3:.2f} ms"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(client(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
    else:
        for what, measured, aim in asyncio.run(main()):
            sys.stdout.write(f"{what:50} {measured:>15}   {aim}\n")
