"""From drawn pixels to files in the picture store."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from flux_core.errors import FluxError, GenerationFailed, PictureGone
from flux_core.images.encoding import EncodedPicture, encode, read_source
from flux_core.images.provenance import DigitalSource, Provenance
from flux_core.images.store import PictureStore
from flux_core.images.threads import in_picture_thread
from flux_core.insistence import insist
from flux_core.jobs import Job, Picture
from flux_core.models import Mode
from flux_core.moderation.output import CERTAIN, OutputCheck, fate, needs_check
from flux_core.policy.guild import OutputRule
from flux_core.providers.base import Drawing, Drawn

log = logging.getLogger(__name__)

PICTURES = "pictures/"
"""What the keys of finished pictures begin with; a member's uploads lie elsewhere."""


async def store_pictures(
    store: PictureStore,
    job: Job,
    drawing: Drawing,
    *,
    tell_prompt: bool = True,
    unsafe: Sequence[float | None] | None = None,
) -> list[Picture]:
    """Encode and store what was drawn for ``job``; raises StorageUnavailable when the store stays away.

    ``tell_prompt``: whether the files say which words they were drawn from. ``unsafe``: what ``looked_at`` returned.
    """
    source = await _source(store, job, drawing)
    known = [None] * len(drawing.pictures) if unsafe is None else unsafe
    return [
        replace(await _store(store, job, position, drawn, source, tell_prompt, drawing.mode), unsafe=sure)
        for position, (drawn, sure) in enumerate(zip(drawing.pictures, known, strict=True))
    ]


async def looked_at(check: OutputCheck | None, drawing: Drawing, rule: OutputRule, job: Job) -> list[float | None]:
    """Return for each picture how sure the check, or the provider, is that it is not for everybody; None: not checked.

    Where there is a check that does not work, and the community's ``rule`` would have it refuse pictures, this raises
    GenerationFailed: none is shown that nobody looked at. Where it would have it hide them, all count as to be hidden.
    Elsewhere they pass unchecked.
    """
    told: list[float | None] = [CERTAIN if drawn.flagged else None for drawn in drawing.pictures]
    if check is None:
        return told
    try:
        seen = await check.unsafe([drawn.image for drawn in drawing.pictures])
    except FluxError as error:
        if needs_check(rule, age_restricted=job.age_restricted):
            raise GenerationFailed(f"The pictures could not be checked, so they are not shown: {error}") from error
        if fate(rule, [CERTAIN], age_restricted=job.age_restricted) == "spoiler":
            log.warning("The pictures of job %s could not be checked, so they are hidden: %s", job.id, error)
            return [CERTAIN for _ in told]
        log.warning("The pictures of job %s are shown unchecked: %s", job.id, error)
        return told
    return [sure if known is None else max(known, sure) for known, sure in zip(told, seen, strict=True)]


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
    store: PictureStore,
    job: Job,
    position: int,
    drawn: Drawn,
    source: DigitalSource,
    tell_prompt: bool,
    mode: Mode,
) -> Picture:
    encoded = await in_picture_thread(lambda: _encoded(job, drawn, source, tell_prompt, mode))
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


def _encoded(job: Job, drawn: Drawn, source: DigitalSource, tell_prompt: bool, mode: Mode) -> EncodedPicture:
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
        lora=None if request.lora is None else str(request.lora),
        job_id=job.id,
        source=source,
        mode=mode,
    )
    return encode(drawn.image, request.output_format, made)
