"""Finished pictures on their way to Discord: read from the store and made to fit the upload limit."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import discord

from bot.layouts.cards import Shown, picture_name
from flux_core.errors import PictureGone
from flux_core.images.encoding import CONTENT_TYPES, EXTENSIONS, fit
from flux_core.jobs import Job, Picture
from flux_core.service import Studio

_EXTENSIONS = {CONTENT_TYPES[kind]: EXTENSIONS[kind] for kind in CONTENT_TYPES}


@dataclass(frozen=True, slots=True)
class Upload:
    """A picture as a card shows it, with the bytes to send."""

    shown: Shown
    data: bytes


async def load(studio: Studio, job: Job, *, limit: int) -> list[Upload]:
    """Return the pictures of ``job`` that still exist, each in at most ``limit`` bytes. Raises StorageUnavailable."""
    # All at once: a bucket takes a while for each.
    found = await asyncio.gather(*(_load(studio, job, one, limit) for one in await studio.pictures(job.id)))
    return [upload for upload in found if upload is not None]


async def _load(studio: Studio, job: Job, picture: Picture, limit: int) -> Upload | None:
    if picture.key is None:
        return None
    try:
        data = await studio.picture_bytes(picture.key)
    except PictureGone:
        return None
    extension = _EXTENSIONS.get(picture.content_type, "webp")
    if len(data) > limit:
        fitted = await asyncio.to_thread(fit, data, limit)
        data, extension = fitted.data, fitted.extension
    return Upload(Shown(picture, picture_name(job, picture, extension)), data)


def files(uploads: Sequence[Upload]) -> list[discord.File]:
    """Return fresh files for one request; discord.py closes them after it."""
    return [discord.File(BytesIO(upload.data), upload.shown.filename) for upload in uploads]
