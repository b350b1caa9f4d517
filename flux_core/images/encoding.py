"""Turn pixels into files that say how they were drawn, and make them fit an upload limit."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from math import sqrt
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from flux_core.generation import OutputFormat
from flux_core.images.provenance import (
    DigitalSource,
    Provenance,
    comment_in,
    exif_of,
    parameters_of,
    source_in,
    xmp_of,
)

QUALITY = 90
"""Of WebP and JPEG: not told from the original at a card's size, at about a tenth of a PNG."""
FITTED_QUALITIES = (90, 80, 70, 60)
LEAST_SIDE = 16
PREVIEW_SIDE = 512
PREVIEW_QUALITY = 70
CONTENT_TYPES = {OutputFormat.WEBP: "image/webp", OutputFormat.PNG: "image/png", OutputFormat.JPEG: "image/jpeg"}
EXTENSIONS = {OutputFormat.WEBP: "webp", OutputFormat.PNG: "png", OutputFormat.JPEG: "jpg"}


@dataclass(frozen=True, slots=True)
class EncodedPicture:
    """A picture file, its media type, and its file extension without the dot."""

    data: bytes
    content_type: str
    extension: str


def encode(image: Image.Image, fmt: OutputFormat, metadata: Provenance) -> EncodedPicture:
    """Encode RGB pixels as ``fmt`` with ``metadata`` inside. Busy for up to a second: call it in a thread."""
    return _file(image, fmt, QUALITY, _tags(fmt, parameters_of(metadata), metadata.source))


def encode_preview(image: Image.Image) -> EncodedPicture:
    """Encode a small WebP whose longer side is ``PREVIEW_SIDE`` pixels."""
    scale = PREVIEW_SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    shown = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    return _file(shown, OutputFormat.WEBP, PREVIEW_QUALITY, {}, effort=2)


def fit(data: bytes, limit: int) -> EncodedPicture:
    """Return one of our pictures in at most ``limit`` bytes: as it is, or in lower quality, or in the end smaller.

    JPEG stays JPEG, everything else becomes WebP; what the file says of itself is kept. Busy: call it in a thread.
    Raises ValueError when not even a thumbnail fits.
    """
    picture: Image.Image = Image.open(BytesIO(data), formats=["PNG", "JPEG", "WEBP"])
    fmt = OutputFormat(str(picture.format).lower())
    if len(data) <= limit:
        return EncodedPicture(data, CONTENT_TYPES[fmt], EXTENSIONS[fmt])
    fmt = fmt if fmt is OutputFormat.JPEG else OutputFormat.WEBP
    tags = _tags(fmt, _text_in(picture), _source_in(picture))
    picture = picture.convert("RGB")
    for quality in FITTED_QUALITIES:
        fitted = _file(picture, fmt, quality, tags)
        if len(fitted.data) <= limit:
            return fitted
    while min(picture.size) > LEAST_SIDE:
        # Bytes grow about with the area; a little below the estimate saves another round.
        scale = max(0.25, min(0.9, 0.95 * sqrt(limit / len(fitted.data))))
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
        fitted = _file(picture, fmt, FITTED_QUALITIES[-1], tags)
        if len(fitted.data) <= limit:
            return fitted
    raise ValueError(f"No picture fits into {limit} bytes.")


def read_provenance(data: bytes) -> str | None:
    """Return the "parameters" text that a picture file carries, or None."""
    return _text_in(Image.open(BytesIO(data), formats=["PNG", "JPEG", "WEBP"]))


def read_source(data: bytes) -> DigitalSource | None:
    """Return how one of our pictures says that it came about, or None."""
    return _source_in(Image.open(BytesIO(data), formats=["PNG", "JPEG", "WEBP"]))


def _text_in(picture: Image.Image) -> str | None:
    if picture.format == "PNG":
        picture.load()  # text may stand after the pixels
        text = picture.info.get("parameters")
        return None if text is None else str(text)
    return comment_in(picture.getexif())


def _source_in(picture: Image.Image) -> DigitalSource | None:
    xmp = picture.info.get("xmp")
    return source_in(xmp) if isinstance(xmp, bytes) else None


def _tags(fmt: OutputFormat, text: str | None, source: DigitalSource | None) -> dict[str, Any]:
    """Return what Pillow's writer of ``fmt`` takes to put ``text`` and ``source`` into the file."""
    tags: dict[str, Any] = {}
    if fmt is OutputFormat.PNG:
        info = tags["pnginfo"] = PngInfo()
        if text is not None:
            info.add_itxt("parameters", text)
        if source is not None:
            info.add_itxt("XML:com.adobe.xmp", xmp_of(source))
        return tags
    if text is not None:
        tags["exif"] = exif_of(text).tobytes()
    if source is not None:
        tags["xmp"] = xmp_of(source).encode()
    return tags


def _file(
    image: Image.Image, fmt: OutputFormat, quality: int, tags: dict[str, Any], *, effort: int = 4
) -> EncodedPicture:
    options: dict[OutputFormat, dict[str, Any]] = {
        OutputFormat.WEBP: {"quality": quality, "method": effort},
        OutputFormat.JPEG: {"quality": quality, "subsampling": 0 if quality >= QUALITY else 2, "optimize": True},
        OutputFormat.PNG: {"compress_level": 6},
    }
    file = BytesIO()
    image.save(file, fmt.value.upper(), **options[fmt], **tags)
    return EncodedPicture(file.getvalue(), CONTENT_TYPES[fmt], EXTENSIONS[fmt])
