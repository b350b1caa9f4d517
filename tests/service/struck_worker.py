"""A worker that stores what it has drawn, says so and never tells the database: for ``test_strays``, which kills it.

``python -m tests.service.struck_worker <database URL> <folder>``
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import obstore

from flux_core.images.store import PictureStore
from tests.database.scene import a_scene


async def one_half() -> AsyncIterator[bytes]:
    """Send the first part of a picture, and no more."""
    yield bytes(6 * 1024 * 1024)  # more than one part of an upload
    sys.stdout.write("stored\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


async def main(url: str, folder: Path) -> None:
    """Work until killed."""
    async with a_scene(url, folder) as scene:
        job = await scene.claim("struck")
        await scene.store.put(f"previews/{job.id}/first.webp", b"shown", "image/webp")
        await scene.queue.progress("struck", job.id, 1, 4, f"previews/{job.id}/first.webp")
        await scene.store.put(f"previews/{job.id}/second.webp", b"never told of", "image/webp")
        await scene.store.put(f"pictures/{job.id}/0.png", b"never told of", "image/png")
        await scene.store.put(f"pictures/{job.id}/1.webp", b"drawn in the first attempt", "image/webp")
        await obstore.put_async(PictureStore(str(folder / "pictures"))._store, f"pictures/{job.id}/2.webp", one_half())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
