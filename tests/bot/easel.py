"""A worker in the hands of a test: it takes the next job and draws it when it is told to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from PIL import Image

from flux_core.catalogue import Catalogue
from flux_core.database.queue import JobQueue, WorkerInfo
from flux_core.errors import GenerationFailed
from flux_core.images.encoding import encode, encode_preview
from flux_core.images.provenance import Provenance
from flux_core.images.store import PictureStore
from flux_core.jobs import Job, Picture
from flux_core.offers import Offer
from flux_core.providers.scripted import colour_of
from flux_core.skills import skills_of

WORKER = "easel"


class Easel:
    """Claims, reports and finishes jobs through the real queue and the real picture store."""

    def __init__(self, queue: JobQueue, store: PictureStore, catalogue: Catalogue) -> None:
        self.queue = queue
        self.store = store
        self.catalogue = catalogue
        known = catalogue.known_loras
        self.offers = {
            spec.id: Offer(theirs=spec.id, loras=tuple(lora for lora, models in known.items() if spec.id in models))
            for spec in catalogue
            if spec.local
        }

    @property
    def skills(self) -> list[str]:
        """What it claims jobs for."""
        return skills_of(self.offers)

    async def register(self) -> None:
        """Become known as a living worker."""
        await self.queue.register(
            WorkerInfo(
                id=WORKER,
                host="test",
                pid=1,
                device="cpu",
                offers=self.offers,
                started_at=time.time(),
            )
        )

    async def take(self, within: float = 30.0) -> Job:
        """Wait for the next job and claim it."""
        async with asyncio.timeout(within):
            while True:
                job = await self.queue.claim(WORKER, self.skills)
                if job is not None:
                    return job
                await asyncio.sleep(0.01)

    async def step(self, job: Job, done: int, *, preview: bool = False) -> None:
        """Report a step, with a preview where asked for."""
        key = None
        if preview:
            key = f"previews/{job.id}/{done}.webp"
            picture = encode_preview(Image.new("RGB", (64, 64), colour_of(done)))
            await self.store.put(key, picture.data, picture.content_type)
        await self.queue.progress(WORKER, job.id, done, job.request.steps, key)

    async def finish(
        self, job: Job, *, noisy: bool = False, unsafe: float | None = None, provider: str = WORKER, **outcome: Any
    ) -> Job:
        """Draw and store the pictures of a claimed job: in its seeds' colours, or noise, which makes large files.

        ``unsafe``: how sure the output check is of each that it is not for everybody. ``provider`` is also the id of
        the worker that has the job. ``outcome``: what else it tells of the drawing.
        """
        request, spec = job.request, self.catalogue[job.request.model]
        size = (request.width * spec.enlarge, request.height * spec.enlarge)
        pictures = []
        for position, seed in enumerate(request.seeds[: request.count - outcome.get("missing", 0)]):
            drawn = await asyncio.to_thread(
                encode,
                Image.effect_noise(size, 90).convert("RGB") if noisy else Image.new("RGB", size, colour_of(seed)),
                request.output_format,
                Provenance(
                    prompt=request.prompt,
                    model=request.model,
                    seed=seed,
                    steps=request.steps,
                    guidance=request.guidance,
                    width=size[0],
                    height=size[1],
                    job_id=job.id,
                    strength=request.strength,
                ),
            )
            key = f"pictures/{job.id}/{position}.{drawn.extension}"
            await self.store.put(key, drawn.data, drawn.content_type)
            pictures.append(
                Picture(
                    position=position,
                    key=key,
                    width=size[0],
                    height=size[1],
                    seed=seed,
                    content_type=drawn.content_type,
                    size=len(drawn.data),
                    unsafe=unsafe,
                )
            )
        return await self.queue.succeed(provider, job.id, pictures, provider=provider, seconds=0.1, **outcome)

    async def fail(self, job: Job, error: GenerationFailed) -> Job:
        """End a claimed job with ``error``."""
        return await self.queue.fail(WORKER, job.id, error)

    @asynccontextmanager
    async def painting(self) -> AsyncIterator[None]:
        """Draw everything that comes, at once, until the end of the block."""

        async def paint() -> None:
            while True:
                await self.finish(await self.take(within=3600))

        task = asyncio.create_task(paint(), name="easel")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
