"""From drawn pixels to files in the picture store."""

from __future__ import annotations

import asyncio

from flux_core.images.encoding import EncodedPicture, encode
from flux_core.images.provenance import Provenance
from flux_core.images.store import PictureStore
from flux_core.insistence import insist
from flux_core.jobs import Job, Picture
from flux_core.providers.base import Drawing, Drawn


async def store_pictures(store: PictureStore, job: Job, drawing: Drawing) -> list[Picture]:
    """Encode and store what was drawn for ``job``; raises StorageUnavailable when the store stays away."""
    return [await _store(store, job, position, drawn) for position, drawn in enumerate(drawing.pictures)]


async def _store(store: PictureStore, job: Job, position: int, drawn: Drawn) -> Picture:
    encoded = await asyncio.to_thread(_encoded, job, drawn)
    key = f"pictures/{job.id}/{position}.{encoded.extension}"
    await insist(lambda: store.put(key, encoded.data, encoded.content_type))
    return Picture(
        position=position,
        key=key,
        width=drawn.image.width,
        height=drawn.image.height,
        seed=drawn.seed,
        content_type=encoded.content_type,
        size=len(encoded.data),
    )


def _encoded(job: Job, drawn: Drawn) -> EncodedPicture:
    request = job.request
    made = Provenance(
        prompt=request.prompt,
        model=request.model,
        seed=drawn.seed,
        steps=request.steps,
        width=drawn.image.width,
        height=drawn.image.height,
        guidance=request.guidance,
        strength=request.strength,
        job_id=job.id,
    )
    return encode(drawn.image, request.output_format, made)
