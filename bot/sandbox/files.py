"""The bytes of attachments and uploads, within a budget."""

from __future__ import annotations

import io
import mimetypes
import re
import warnings
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from PIL import Image


@dataclass(frozen=True, slots=True)
class SentFile:
    """A file as it came in: name and bytes."""

    filename: str
    data: bytes


def safe_filename(name: str) -> str:
    """Rewrite a name the way Discord does: letters, digits, dots, dashes and underscores stay."""
    cleaned = re.sub(r"[^\w.\-]", "_", name.replace("\\", "/").rsplit("/", 1)[-1]).strip(".")
    return cleaned[-120:] or "unknown"


def content_type(filename: str) -> str:
    """Return the media type that a file's name promises."""
    return mimetypes.guess_type(filename)[0] or "application/octet-stream"


def picture_size(data: bytes) -> tuple[int, int] | None:
    """Read width and height in pixels from an image's header without decoding it; None when it is no image."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as image:
                return image.size
    except Exception:  # Pillow raises many kinds for hostile files; Discord then simply gives no size
        return None


class FileStore:
    """Keep file bytes up to a total; the oldest go first, as Discord's links expire."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget = budget_bytes
        self._total = 0
        self._files: OrderedDict[str, SentFile] = OrderedDict()

    def put(self, key: str, file: SentFile) -> None:
        self._files[key] = file
        self._total += len(file.data)
        while self._total > self._budget and len(self._files) > 1:
            _, oldest = self._files.popitem(last=False)
            self._total -= len(oldest.data)

    def get(self, key: str) -> SentFile | None:
        return self._files.get(key)

    def drop(self, key: str) -> None:
        file = self._files.pop(key, None)
        if file is not None:
            self._total -= len(file.data)


def describe(
    attachment_id: str, file: SentFile, *, cdn_base: str, folder: str, channel_id: str, ephemeral: bool
) -> dict[str, Any]:
    """Build Discord's attachment object for a file; the content type follows the name, as it does there."""
    filename = safe_filename(file.filename)
    url = f"{cdn_base}/{folder}/{channel_id}/{attachment_id}/{filename}"
    attachment: dict[str, Any] = {
        "id": attachment_id,
        "filename": filename,
        "size": len(file.data),
        "url": url,
        "proxy_url": url,
        "content_type": content_type(filename),
    }
    size = picture_size(file.data)
    if size is not None:
        attachment["width"], attachment["height"] = size
    if ephemeral:
        attachment["ephemeral"] = True
    return attachment
