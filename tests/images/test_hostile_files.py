"""Files made to hurt: the whole corpus is vetted by a process that may use so much memory and time, and no more.

It is made here, and tiny where it lies on a disk: files that swell, that are cut into a million parts, that are two
things at once, that lie about themselves.
"""

from __future__ import annotations

import json
import random
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from flux_core.errors import InvalidPicture
from flux_core.images.headers import read_header
from flux_core.images.intake import KEPT_PIXELS, vet
from flux_core.settings import child_environment
from tests.images.picture_files import SIGNATURE, chunk, halves, png, saved

LIMITS = {"max_bytes": 25_000_000, "max_pixels": 50_000_000}
MEMORY = 1_500_000_000
"""Bytes of address space for the whole process; Python with Pillow takes a quarter of it."""
CPU_SECONDS = 4.0
"""For one file. None takes more than a quarter of a second; before there were limits, these took seven to thousands."""
ALL_SECONDS = 120
"""For the whole corpus, after which the process is ended."""
PNG, JPEG, GIF, WEBP = (saved(halves(), fmt) for fmt in ("PNG", "JPEG", "GIF", "WEBP"))
SMALL_SWELLS = zlib.compress(bytes(50_000_000), 9)
PICTURE = "a picture"
UNREADABLE, UNSUPPORTED, TOO_LARGE = "PictureUnreadable", "PictureUnsupported", "PictureTooLarge"


def jpeg_with_scans(side: int, scans: int) -> bytes:
    """Return a progressive JPEG whose last pass over the pixels is repeated."""
    data = saved(Image.new("L", (side, side), 100), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + b"\xff\xd9"


def gif_with(blocks: bytes) -> bytes:
    """Return a GIF with these blocks before its first frame."""
    at = 13 + 3 * 2 ** ((GIF[10] & 7) + 1)
    return GIF[:at] + blocks + GIF[at:]


def jpeg_with(segments: bytes) -> bytes:
    """Return a JPEG with these segments at its beginning."""
    return JPEG[:2] + segments + JPEG[2:]


def exif(entries: int, value: int, *, next_at: int = 0) -> bytes:
    """Return an EXIF segment whose directory names itself as the next one, or as what its entries point to."""
    body = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", entries)
    body += b"".join(struct.pack("<HHII", tag, 4, 2**31, value) for tag in range(0x0100, 0x0100 + entries))
    body += struct.pack("<I", next_at)
    return b"\xff\xe1" + struct.pack(">H", len(body) + 8) + b"Exif\0\0" + body


def numbers(tag: int, kind: int, size: int) -> bytes:
    """Return 24 MB of EXIF: one entry, of as many numbers (TIFF's ``kind``, ``size`` bytes each) as there is room."""
    head = b"II*\0" + struct.pack("<IHHHII", 8, 1, tag, kind, 24_000_000 // size, 100)
    return head.ljust(100, b"\0") + b"\1\0\0\0" * 6_000_000


def in_segments(body: bytes) -> bytes:
    """Return EXIF in as many segments as it takes."""
    parts = [body[at : at + 65_000] for at in range(0, len(body), 65_000)]
    return b"".join(b"\xff\xe1" + struct.pack(">H", len(part) + 8) + b"Exif\0\0" + part for part in parts)


def orientation(value: int, kind: int = 3) -> bytes:
    """Return an EXIF segment that says how the picture lies."""
    body = b"II*\0" + struct.pack("<IHHHII", 8, 1, 0x0112, kind, 1, value) + bytes(4)
    return b"\xff\xe1" + struct.pack(">H", len(body) + 8) + b"Exif\0\0" + body


def zipped() -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x.html", "<script>alert(1)</script>")
    return file.getvalue()


def moving(fmt: str, frames: int = 60) -> bytes:
    first, *rest = [Image.new("RGB", (200, 200), (n, 0, 0)) for n in range(frames)]
    return saved(first, fmt, save_all=True, append_images=rest, duration=10)


def icc(size: int) -> bytes:
    """Return a colour profile that says it is larger than it is, and is noise."""
    return struct.pack(">I", size) + random.Random(1).randbytes(3000)


CORPUS: dict[str, tuple[Callable[[], bytes], str]] = {
    "a JPEG of ten passes": (lambda: jpeg_with_scans(64, 1), PICTURE),
    "a JPEG of 100,000 passes over 4 megapixels": (lambda: jpeg_with_scans(2000, 100_000), UNREADABLE),
    "a JPEG of a million comments": (lambda: jpeg_with(b"\xff\xfe\0\2" * 1_000_000), UNREADABLE),
    "a JPEG of 10 million fill bytes": (lambda: jpeg_with(b"\xff" * 10_000_000), UNREADABLE),
    "a JPEG of a million restarts": (lambda: jpeg_with(b"\xff\xd0" * 1_000_000), UNREADABLE),
    "a JPEG of 20 MB of EXIF": (lambda: jpeg_with((b"\xff\xe1\xff\xffExif\0\0" + bytes(65_527)) * 300), UNREADABLE),
    "a JPEG of three million fractions to an inch": (lambda: jpeg_with(in_segments(numbers(0x011A, 5, 8))), UNREADABLE),
    "a PNG that lies in three million ways": (
        lambda: png(1, 1, bytes(4), extra=chunk(b"eXIf", numbers(0x0112, 5, 8))),
        PICTURE,
    ),
    "a PNG that says so in letters": (
        lambda: png(
            1,
            1,
            bytes(4),
            extra=chunk(
                b"tEXt", b"Raw profile type exif\0\nexif\n8\n" + numbers(0x0112, 5, 8).hex()[:24_000_000].encode()
            ),
        ),
        PICTURE,
    ),
    "a JPEG with a film behind it": (lambda: JPEG + b"\xff\xda\0\2" * 1_000_000, PICTURE),
    "a JPEG of EXIF that points to itself": (lambda: jpeg_with(exif(100, 8, next_at=8)), PICTURE),
    "a JPEG of EXIF that points far away": (lambda: jpeg_with(exif(100, 2**32 - 1, next_at=2**32 - 1)), PICTURE),
    "a JPEG that lies in no way there is": (lambda: jpeg_with(orientation(65_535)), PICTURE),
    "a JPEG whose orientation is a fraction": (lambda: jpeg_with(orientation(0, kind=5)), PICTURE),
    "a JPEG of CMYK without Adobe's word": (lambda: saved(Image.new("CMYK", (9, 9), (1, 2, 3, 4)), "JPEG"), PICTURE),
    "a PNG of a million chunks": (lambda: png(1, 1, bytes(4), extra=chunk(b"abCd", b"") * 1_000_000), UNREADABLE),
    "a PNG of half a million texts": (lambda: png(1, 1, bytes(4), extra=chunk(b"tEXt", b"a\0b") * 500_000), UNREADABLE),
    "a PNG of a profile of 50 MB": (
        lambda: png(1, 1, bytes(4), extra=chunk(b"iCCP", b"x\0\0" + SMALL_SWELLS)),
        UNREADABLE,
    ),
    "a PNG of a text of 50 MB": (
        lambda: png(1, 1, bytes(4), extra=chunk(b"iTXt", b"x\0\1\0\0\0" + SMALL_SWELLS)),
        UNREADABLE,
    ),
    "a PNG of more pixels than it says": (lambda: _png_stream(SMALL_SWELLS), PICTURE),
    "a PNG of a colour type that is none": (lambda: png(4, 4, bytes(99), depth=16, colour=3), UNREADABLE),
    "a PNG of 16 bits a channel": (lambda: png(1, 1, bytes(9), depth=16, colour=6), PICTURE),
    "a PNG of one pixel": (lambda: png(1, 1, bytes(4)), PICTURE),
    "a PNG of one pixel's width and 40 million's height": (lambda: png(1, 40_000_000, bytes(10)), UNREADABLE),
    "a PNG of a senseless profile": (lambda: saved(halves(), "PNG", icc_profile=icc(2**32 - 1)), PICTURE),
    "a PNG that moves": (lambda: moving("PNG"), PICTURE),
    "a GIF that moves": (lambda: moving("GIF"), PICTURE),
    "a WebP that moves": (lambda: moving("WEBP", 30), PICTURE),
    "a GIF of four million comments": (lambda: gif_with(b"\x21\xfe\1a\0" * 4_000_000), UNREADABLE),
    "a GIF of one comment in ten million pieces": (
        lambda: gif_with(b"\x21\xfe" + b"\1a" * 10_000_000 + b"\0"),
        UNREADABLE,
    ),
    "a GIF of a million bytes that mean nothing": (lambda: gif_with(bytes(1_000_000)), UNREADABLE),
    "a WebP of 268 megapixels in 30 bytes": (
        lambda: b"RIFF\x20\0\0\0WEBPVP8L\x0d\0\0\0\x2f" + struct.pack("<I", 0x0FFF_FFFF) + bytes(9),
        TOO_LARGE,
    ),
    "a TIFF of a gigapixel": (
        lambda: b"II*\0\x08\0\0\0\2\0" + struct.pack("<HHIIHHII", 256, 4, 1, 32_000, 257, 4, 1, 32_000) + bytes(4),
        UNSUPPORTED,
    ),
    "a PNG that is an archive": (lambda: PNG + zipped(), PICTURE),
    "a GIF that is a script": (lambda: GIF + b"/*<script>alert(1)</script>*/", PICTURE),
    "a JPEG that is a PDF": (lambda: jpeg_with(b"\xff\xfe\0\x0b%PDF-1.7\n") + b"%%EOF", PICTURE),
    "an archive that is a picture": (lambda: zipped() + PNG, UNSUPPORTED),
    "a page that shows a picture": (lambda: b"<html>" + PNG, UNSUPPORTED),
    "SVG that reads a file": (
        lambda: b'<!DOCTYPE x [<!ENTITY y SYSTEM "file:///etc/passwd">]><svg>&y;</svg>',
        UNSUPPORTED,
    ),
    "PostScript": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", UNSUPPORTED),
    "a file of text that names a font": (lambda: b"%PDF-1.4\n1 0 obj<</Type/Font>>endobj", UNSUPPORTED),
}

VET = """
import json, resource, sys, time
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[2]),) * 2)
from flux_core.errors import InvalidPicture
from flux_core.images.intake import vet
from tests.images.test_hostile_files import CORPUS, LIMITS, PICTURE
for name, (make, _) in CORPUS.items():
    data = make()
    began = time.process_time()
    try:
        vetted = vet(data, **LIMITS)
        found = [PICTURE, vetted.width, vetted.height, "script" in repr(vetted.png)]
    except InvalidPicture as error:
        found = [type(error).__name__, 0, 0, False]
    print(json.dumps([name, *found, time.process_time() - began]), flush=True)
"""


def _png_stream(packed: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    return SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def test_no_file_costs_more_than_a_picture() -> None:
    command = [sys.executable, "-c", VET, str(MEMORY), str(ALL_SECONDS)]
    ran = subprocess.run(command, capture_output=True, text=True, env=child_environment(), check=False)
    said = {line[0]: line[1:] for line in map(json.loads, ran.stdout.splitlines())}
    assert ran.returncode == 0, (list(said)[-1:], ran.stderr[-2000:])
    assert {name: found[0] for name, found in said.items()} == {name: wanted for name, (_, wanted) in CORPUS.items()}
    assert "Warning" not in ran.stderr, "strangers write into the log"
    for name, (_, width, height, kept, seconds) in said.items():
        assert seconds < CPU_SECONDS, name
        assert width * height <= KEPT_PIXELS * 1.001, name
        assert not kept, f"{name}: what came with the pixels is still there"


def test_the_corpus_is_run_under_its_limits() -> None:
    """A process that swells is ended: else the test above would prove nothing."""
    swells = VET.partition("from flux_core")[0] + "bytearray(int(sys.argv[1]))"
    command = [sys.executable, "-c", swells, str(MEMORY), str(ALL_SECONDS)]
    ran = subprocess.run(command, capture_output=True, text=True, env=child_environment(), check=False)
    assert "MemoryError" in ran.stderr


def broken_off(data: bytes) -> st.SearchStrategy[bytes]:
    """Return parts of a file, put together wrongly, with other bytes in between."""
    cuts = st.integers(0, len(data))
    parts = st.tuples(cuts, cuts).map(lambda ends: data[min(ends) : max(ends)])
    return st.lists(parts | st.binary(max_size=12) | st.just(data[:40]), max_size=5).map(b"".join)


files = st.one_of(
    st.binary(max_size=200),
    *(st.binary(max_size=60).map(lambda tail, head=data[:24]: head + tail) for data in (PNG, JPEG, GIF, WEBP)),
    *(broken_off(data) for data in (PNG, JPEG, GIF, WEBP)),
    *(broken_off(data).map(lambda rest, head=data[:40]: head + rest) for data in (PNG, JPEG, GIF, WEBP)),
)


@settings(max_examples=300, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(files)
def test_whatever_the_bytes_they_are_a_picture_or_named(data: bytes) -> None:
    try:
        vetted = vet(data, max_bytes=1_000_000, max_pixels=1_000_000)
    except InvalidPicture:
        return
    header = read_header(data)
    assert 0 < vetted.width * vetted.height <= 1_000_000
    assert header.width * header.height <= 1_000_000


@pytest.mark.parametrize("fmt", ["PNG", "JPEG", "GIF"])
def test_ordinary_pictures_are_within_the_limits(fmt: str) -> None:
    """A photo, with noise that packs badly, in the many parts that encoders make of it."""
    noise: Any = Image.effect_noise((1200, 900), 90).convert("RGB")
    options = {"progressive": True, "optimize": True} if fmt == "JPEG" else {}
    data = saved(noise, fmt, **options)
    assert vet(data, max_bytes=len(data), max_pixels=50_000_000).width == 1200
