"""Vet what members upload: decode it under limits and keep plain, upright RGB pixels."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from io import BytesIO
from math import sqrt

from PIL import Image, ImageCms, ImageOps

from flux_core.errors import (
    MaskOfAnotherShape,
    MaskShowsNothing,
    PictureEmpty,
    PictureTooHeavy,
    PictureTooLarge,
    PictureUnreadable,
)
from flux_core.images.headers import PictureHeader, read_header
from flux_core.models import MAX_PIXELS

KEPT_PIXELS = 2 * MAX_PIXELS
"""Pixels worth keeping: nothing larger than MAX_PIXELS is drawn, and cropping to another aspect costs a part."""
MOST_READS = 100_000
"""Reads from a file that decoding it may take. Pillow looks at every part of a file by itself, in Python, and a part of
nothing takes three bytes: 25 MB of them would keep it busy for a minute. A real file has a part for every few kB."""
MOST_WORDS = 1_000_000
"""Bytes of what a file may say of itself in one place and be heard. EXIF is unpacked in Python, number by number, so
that 25 MB of it take seconds and hundreds of megabytes; that of a camera has 64 kB at most."""
SAYS_ORIENTATION = ("exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp")
"""Where Pillow looks for how a picture lies (the names in its ``info``)."""
# Pillow warns of every oddity in a file, in words that name it: strangers would fill the log, and Python's memory of
# what it has warned of already.
warnings.filterwarnings("ignore", module=r"PIL\.")
WHITE = 128
"""Grey of a mask from which on a place is painted anew: diffusers splits masks at one half."""
SHAPE_TOLERANCE = 0.05
"""How far a mask's width by height may lie off its picture's, relative: programs round when they make it smaller."""
BACKDROP = (255, 255, 255)
"""What shows through transparent places."""


@dataclass(frozen=True, slots=True)
class VettedPicture:
    """An upload that proved to be a picture: RGB, upright, opaque, as PNG; ``width`` × ``height`` pixels."""

    png: bytes
    width: int
    height: int


def vet(data: bytes, *, max_bytes: int, max_pixels: int) -> VettedPicture:
    """Decode an upload (PNG, JPEG, WebP or the first frame of a GIF) into plain RGB, shrunk to ``KEPT_PIXELS``.

    Busy for up to a second: call it in a thread. The file's own bytes decide what it is, never its name; its size is
    checked before any pixel is decoded. Raises PictureEmpty, PictureTooHeavy, PictureTooLarge, PictureUnreadable or
    PictureUnsupported.
    """
    if len(data) > max_bytes:
        raise PictureTooHeavy(size=len(data), limit=max_bytes)
    picture = decode(data, max_pixels=max_pixels)
    png = BytesIO()
    picture.save(png, "PNG", compress_level=3)
    return VettedPicture(png.getvalue(), picture.width, picture.height)


def check_mask(mask: VettedPicture, size: tuple[int, int]) -> None:
    """Refuse a mask for a picture of ``size`` (width, height) that says nothing. Call it in a thread.

    Raises MaskOfAnotherShape, or MaskShowsNothing for one that is nowhere nearer to white than to black.
    """
    if abs(mask.width / mask.height / (size[0] / size[1]) - 1) > SHAPE_TOLERANCE:
        raise MaskOfAnotherShape(mask=f"{mask.width}×{mask.height}", picture=f"{size[0]}×{size[1]}")
    with Image.open(BytesIO(mask.png), formats=["PNG"]) as opened:
        painted = opened.convert("L").point(lambda grey: grey >= WHITE and 255).getbbox()
    if painted is None:
        raise MaskShowsNothing()


def decode(data: bytes, *, max_pixels: int) -> Image.Image:
    """Decode a picture that somebody else made into RGB, upright and opaque, shrunk to ``KEPT_PIXELS``.

    Busy for up to a second: call it in a thread. Raises PictureEmpty, PictureTooLarge, PictureUnreadable or
    PictureUnsupported, as ``vet`` does.
    """
    if not data:
        raise PictureEmpty()
    header = read_header(data)
    _limit(header.width, header.height, max_pixels)
    try:
        picture = _plain(_decode(data, header, max_pixels))
        picture.info = {}  # comments, places and profiles of the file stay with its owner
    except PictureTooLarge:
        raise
    except Image.DecompressionBombError as error:
        raise PictureTooLarge(width=header.width, height=header.height, limit=max_pixels) from error
    except Exception as error:
        # Decoders meet hostile bytes here and raise whatever they stumble over: OSError, SyntaxError, struct.error …
        raise PictureUnreadable(f"{type(error).__name__}: {error}") from error
    return picture


class _Frugal(BytesIO):
    """A file that ends after ``MOST_READS`` reads."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._left = MOST_READS

    def read(self, size: int | None = -1, /) -> bytes:
        """Read; raises OSError after too many reads."""
        self._left -= 1
        if self._left < 0:
            raise OSError("The file is cut into more parts than pictures are.")
        return super().read(size)


def _limit(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise PictureTooLarge(width=width, height=height, limit=max_pixels)


def _decode(data: bytes, header: PictureHeader, max_pixels: int) -> Image.Image:
    if header.format == "PNG":
        with Image.open(_Frugal(data), formats=["PNG"]) as checked:
            checked.verify()  # checksums, which loading alone does not look at
    picture: Image.Image = Image.open(_Frugal(data), formats=[header.format])
    _limit(picture.width, picture.height, max_pixels)  # a GIF's first frame may reach beyond its canvas
    kept = _kept_size(picture.width, picture.height)
    if header.format == "JPEG":
        picture.draft(None, kept)  # decodes at a half, a quarter or an eighth where that is still enough
    picture.load()
    if picture.width * picture.height > KEPT_PIXELS:
        # A palette cannot be blended, and not every Pillow resamples 16-bit grey.
        picture = _true_colour(picture).resize(kept, Image.Resampling.LANCZOS, reducing_gap=3.0)
    for name in SAYS_ORIENTATION:
        if len(picture.info.get(name, "")) > MOST_WORDS:
            del picture.info[name]
    return ImageOps.exif_transpose(picture) or picture


def _kept_size(width: int, height: int) -> tuple[int, int]:
    scale = min(1.0, sqrt(KEPT_PIXELS / (width * height)))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _plain(picture: Image.Image) -> Image.Image:
    """Return opaque sRGB."""
    picture = _srgb(_true_colour(picture), picture.info.get("icc_profile"))
    if picture.mode == "RGB":
        return picture
    flat = Image.new("RGB", picture.size, BACKDROP)
    flat.paste(picture, mask=picture.getchannel("A"))
    return flat


def _true_colour(picture: Image.Image) -> Image.Image:
    """Return the picture as RGB, RGBA or CMYK with 8 bits a channel."""
    if picture.mode.startswith("I"):  # 16-bit grey: the upper eight bits are what a screen shows
        picture = picture.convert("I").point(lambda value: value / 257).convert("L")
    if picture.mode in ("RGB", "RGBA", "CMYK") and "transparency" not in picture.info:
        return picture
    return picture.convert("RGBA" if picture.has_transparency_data else "RGB")


def _srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """Translate colours from the file's own profile; a profile that makes no sense is ignored."""
    if profile:
        mode = "RGBA" if picture.mode == "RGBA" else "RGB"
        try:
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            translated = ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode=mode)
        except (ImageCms.PyCMSError, OSError):
            pass
        else:
            return picture if translated is None else translated
    return picture.convert("RGB") if picture.mode == "CMYK" else picture
