"""From drawn pixels to files in the picture store."""

from __future__ import annotations

from flux_core.errors import PictureGone
from flux_core.images.encoding import EncodedPicture, encode, read_source
from flux_core.images.provenance import DigitalSource, Provenance
from flux_core.images.store import PictureStore
from flux_core.images.threads import in_picture_thread
from flux_core.insistence import insist
from flux_core.jobs import Job, Picture
from flux_core.providers.base import Drawing, Drawn

PICTURES = "pictures/"
"""What the keys of finished pictures begin with; a member's uploads lie elsewhere."""


async def store_pictures(store: PictureStore, job: Job, drawing: Drawing, *, tell_prompt: bool = True) -> list[Picture]:
    """Encode and store what was drawn for ``job``; raises StorageUnavailable when the store stays away.

    ``tell_prompt``: whether the files say which words they were drawn from.
    """
    source = await _source(store, job, drawing)
    return [
        await _store(store, job, position, drawn, source, tell_prompt)
        for position, drawn in enumerate(drawing.pictures)
    ]


async def _source(store: PictureStore, job: Job, drawing: Drawing) -> DigitalSource:
    """Say whether something that a member brought is in it. A variation of our own picture is what that one was."""
    start = job.request.input_picture
    if start is None or drawing.from_words:
        return DigitalSource.TRAINED
    if not start.key.startswith(PICTURES):
        return DigitalSource.COMPOSITE
    try:
        data = await insist(lambda: store.get(start.key))
    except PictureGone:  # deleted while this was drawn: what it came from nobody knows any more
        return DigitalSource.COMPOSITE
    return await in_picture_thread(lambda: read_source(data)) or DigitalSource.COMPOSITE


async def _store(
    store: PictureStore, job: Job, position: int, drawn: Drawn, source: DigitalSource, tell_prompt: bool
) -> Picture:
    encoded = await in_picture_thread(lambda: _encoded(job, drawn, source, tell_prompt))
    key = f"{PICTURES}{job.id}/{position}.{encoded.extension}"
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


def _encoded(job: Job, drawn: Drawn, source: DigitalSource, tell_prompt: bool) -> EncodedPicture:
    request = job.request
    made = Provenance(
        prompt=request.prompt if tell_prompt else None,
        model=request.model,
        seed=drawn.seed,
        steps=request.steps,
        width=drawn.image.width,
        height=drawn.image.height,
        guidance=request.guidance,
        strength=request.strength,
        job_id=job.id,
        source=source,
    )
    return encode(drawn.image, request.output_format, made)
