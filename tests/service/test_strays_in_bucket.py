"""The sweep in a bucket: what a killed worker stored is found, and what is shown stays."""

from __future__ import annotations

import time
from pathlib import Path

from flux_core.database.connecting import connect
from flux_core.database.queue import JobQueue
from flux_core.images.store import PictureStore
from flux_core.maintenance import STRAY_KEPT, chores
from flux_core.service import Studio
from tests.bucket import BucketServer
from tests.database.scene import AT_ONCE, CATALOGUE, Clock, Scene, rules


async def test_what_a_killed_worker_stored_goes_and_what_is_shown_stays(
    bucket: str, bucket_server: BucketServer, tmp_path: Path
) -> None:
    store, clock = PictureStore(f"{bucket}/house"), Clock()
    clock.now = time.time() - 60  # a bucket's clock cannot be set, and tells whole seconds
    db = await connect(f"sqlite:///{tmp_path / 'flux-bot.db'}", clock=clock)
    try:
        queue = JobQueue(db, max_attempts=3, lease_seconds=30.0, policy=AT_ONCE, zone=rules().zone)
        scene = Scene(db, Studio(db, store, CATALOGUE, rules(), policy=AT_ONCE), queue, store, clock)
        job = await scene.submit()
        await scene.claim("killed")
        for name in ("0.png", "1.webp"):
            await store.put(f"pictures/{job.id}/{name}", b"never told of", "image/webp")
        clock.now += 31
        await queue.rescue()
        await scene.claim("w2")
        await store.put(f"pictures/{job.id}/0.webp", b"pixels", "image/webp")
        await scene.succeed(job, "w2")
        await store.put(f"inputs/{1:064x}.png", b"of nobody", "image/png")
        work = {chore.name: chore.work for chore in chores(db, queue, store)}
        assert await work["stray files dropped"]() == 0, "it was written just now"
        clock.now += STRAY_KEPT + 120
        assert await work["stray files dropped"]() == 3
        assert await work["discarded pictures deleted"]() == 3
        [shown] = await scene.studio.pictures(job.id)
        assert bucket_server.keys(bucket) == {f"house/{shown.key}"}
        assert await store.get(str(shown.key)) == b"pixels"
    finally:
        await db.close()
