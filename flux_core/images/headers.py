"""Read what a picture file says of itself in its first bytes, before any decoder runs."""

from __future__ import annotations

import re
from dataclasses import dataclass

from flux_core.errors import PictureUnreadable, PictureUnsupported

EXIF_BEGINS = b"Exif\0\0"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIZE_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Start-of-frame markers (ITU T.81, table B.1); C4, C8 and CC are tables and extensions."""
JPEG_BARE_MARKERS = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers that no length follows: TEM, RST0–7 and SOI."""
JPEG_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd9-\xfe]")
"""A marker with a length behind it, or the end; among coded pixels FF stands before 00 and restarts only."""
MOST_SEGMENTS = 20_000
"""Of a JPEG before it states its size; fill bytes count as well. A real one has some tens."""
MOST_SCANS = 100
"""Passes over all pixels that decoding a progressive JPEG may take. Thirty bytes are enough for one, so a file of a few
megabytes could ask for hours; encoders write about ten."""
MOST_EXIF = 16
"""EXIF segments of a JPEG, those of pictures within it included. Pillow puts them together and makes an object in
Python of each number in there: megabytes of them would keep it busy for many seconds. Cameras write one."""


@dataclass(frozen=True, slots=True)
class PictureHeader:
    """The format (as Pillow names it) and the size in pixels that a file claims."""

    format: str
    width: int
    height: int


def read_header(data: bytes) -> PictureHeader:
    """Read format and size from magic numbers.

    Raises PictureUnsupported for anything but PNG, JPEG, GIF and WebP, PictureUnreadable where the header is broken.
    """
    try:
        header = _read(data)
    except (IndexError, ValueError) as error:
        raise PictureUnreadable() from error
    if header is None:
        raise PictureUnsupported()
    if header.width < 1 or header.height < 1:
        raise PictureUnreadable()
    return header


def _read(data: bytes) -> PictureHeader | None:
    if data.startswith(PNG_SIGNATURE):
        if data[12:16] != b"IHDR":
            raise ValueError("A PNG starts with its IHDR chunk.")
        return PictureHeader("PNG", _big(data, 16, 4), _big(data, 20, 4))
    if data.startswith((b"GIF87a", b"GIF89a")):
        return PictureHeader("GIF", _little(data, 6, 2), _little(data, 8, 2))
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return PictureHeader("WEBP", *_webp_size(data))
    if data.startswith(b"\xff\xd8\xff"):
        return PictureHeader("JPEG", *_jpeg_size(data))
    return None


def _webp_size(data: bytes) -> tuple[int, int]:
    """Return the canvas size from the first chunk (WebP container specification, RFC 9649)."""
    kind = data[12:16]
    if kind == b"VP8X":  # 24 bits each, minus one
        return 1 + _little(data, 24, 3), 1 + _little(data, 27, 3)
    if kind == b"VP8L":  # 14 bits each, minus one, after the signature byte
        bits = _little(data, 21, 4)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":  # 14 bits each after a three-byte start code
        return _little(data, 26, 2) & 0x3FFF, _little(data, 28, 2) & 0x3FFF
    raise ValueError("A WebP starts with VP8X, VP8L or VP8.")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Walk the segments up to the first start of frame."""
    at = 2
    for _ in range(MOST_SEGMENTS):
        if data[at] != 0xFF:
            raise ValueError("A JPEG segment starts with FF.")
        at += 1
        marker = data[at]
        if marker == 0xFF:  # any number of fill bytes may stand before a marker
            continue
        at += 1
        if marker in JPEG_BARE_MARKERS:
            continue
        if marker in JPEG_SIZE_MARKERS:
            _count_scans(data, at - 2)
            if data.count(EXIF_BEGINS) > MOST_EXIF:
                raise ValueError("A JPEG has one EXIF segment.")
            return _big(data, at + 5, 2), _big(data, at + 3, 2)
        if marker in (0xD9, 0xDA):
            raise ValueError("A JPEG states its size before its pixels.")
        at += _big(data, at, 2)
    raise ValueError("A JPEG states its size among its first segments.")


def _count_scans(data: bytes, at: int) -> None:
    """Walk the segments and scans behind the marker at ``at``, to the end or to where the file breaks off."""
    scans = 0
    for _ in range(MOST_SEGMENTS):
        found = JPEG_MARKER.search(data, at)
        if found is None or found[0] == b"\xff\xd9" or len(data) - found.end() < 2:
            return
        scans += found[0] == b"\xff\xda"
        if scans > MOST_SCANS:
            raise ValueError("A JPEG has a few scans.")
        at = found.end() + _big(data, found.end(), 2)
    raise ValueError("A JPEG has fewer segments.")


def _big(data: bytes, at: int, length: int) -> int:
    return int.from_bytes(_slice(data, at, length), "big")


def _little(data: bytes, at: int, length: int) -> int:
    return int.from_bytes(_slice(data, at, length), "little")


def _slice(data: bytes, at: int, length: int) -> bytes:
    part = data[at : at + length]
    if len(part) < length:
        raise ValueError("The header breaks off.")
    return part
