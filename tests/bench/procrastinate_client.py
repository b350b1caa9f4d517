"""What ``server_bench.client`` does, by procrastinate: another queue in PostgreSQL, with as little around it.

A job of it is deferred, fetched and finished, each in one transaction through a pool of as many connections as ours.
There is no member, ledger, turn or picture to it.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time

from procrastinate import App, PsycopgConnector
from procrastinate.jobs import Status

from flux_core.database.connecting import POOL
from tests.bench.queue_bench import SUBMITTERS, a_request


async def open_app(url: str) -> App:
    """Return an open app on the database at ``url``."""
    app = App(connector=PsycopgConnector(conninfo=url, min_size=POOL, max_size=POOL))
    await app.open_async()
    return app


async def set_up(url: str) -> None:
    """Create its tables in an empty database."""
    app = await open_app(url)
    await app.schema_manager.apply_schema_async()
    await app.close_async()


async def cycles(app: App, worker: int, count: int) -> None:
    """Defer, fetch and finish ``count`` jobs."""
    request = a_request().model_dump(mode="json")
    task = app.configure_task("draw", allow_unknown=True)
    manager = app.job_manager

    async def some(part: int) -> None:
        for _ in range(part, count, SUBMITTERS):
            await task.defer_async(request=request)
            job = await manager.fetch_job(queues=None, worker_id=worker)
            assert job is not None
            await manager.finish_job(job, status=Status.SUCCEEDED, delete_job=False)

    await asyncio.gather(*(some(part) for part in range(SUBMITTERS)))


async def client(url: str, count: int) -> None:
    """Wait for a line on the standard input, then do ``count`` jobs; say what ``server_bench.client`` says."""
    app = await open_app(url)
    worker = await app.job_manager.register_worker()
    await cycles(app, worker, 50)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.readline)
    began, worked = time.perf_counter(), time.process_time()
    await cycles(app, worker, count)
    sys.stdout.write(f"{time.perf_counter() - began} {time.process_time() - worked}\n")
    await app.close_async()


if __name__ == "__main__":
    logging.getLogger("procrastinate").setLevel(logging.ERROR)  # it warns of apps in a program's main module
    asyncio.run(client(sys.argv[1], int(sys.argv[3])))
