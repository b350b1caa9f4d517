"""What members upload: everything that is a picture comes out as plain RGB, everything else is named for what it is."""

from __future__ import annotations

import random
import struct
import zlib
from contextlib import nullcontext, suppress
from io import BytesIO

import pytest
from PIL import ExifTags, Image, ImageCms, ImageDraw

from flux_core.errors import (
    InvalidPicture,
    MaskOfAnotherShape,
    MaskShowsNothing,
    PictureEmpty,
    PictureTooHeavy,
    PictureTooLarge,
    PictureUnreadable,
    PictureUnsupported,
)
from flux_core.images.headers import read_header
from flux_core.images.intake import KEPT_PIXELS, VettedPicture, check_mask, vet
from tests.images.picture_files import SIGNATURE, chunk, halves, opened, png, saved

LIMITS = {"max_bytes": 4_000_000, "max_pixels": 20_000_000}


def taken(data: bytes) -> tuple[VettedPicture, Image.Image]:
    vetted = vet(data, **LIMITS)
    image = opened(vetted.png)
    assert image.format == "PNG"
    assert image.mode == "RGB"
    assert image.size == (vetted.width, vetted.height)
    return vetted, image


def near(found: object, wanted: tuple[int, int, int], tolerance: int = 12) -> bool:
    assert isinstance(found, tuple)
    return all(abs(int(a) - b) <= tolerance for a, b in zip(found, wanted, strict=True))


def with_bad_checksum() -> bytes:
    data = bytearray(saved(halves(), "PNG"))
    at = data.index(b"IDAT")
    length = struct.unpack(">I", data[at - 4 : at])[0]
    data[at + 4 + length] ^= 0xFF
    return bytes(data)


JPEG = saved(halves(), "JPEG")
WEBP = saved(halves(), "WEBP")
GIF = saved(halves(), "GIF")
PNG = saved(halves(), "PNG")
NOISE = Image.effect_noise((200, 200), 80).convert("RGB")

BAD: dict[str, tuple[bytes, type[InvalidPicture]]] = {
    "zero bytes": (b"", PictureEmpty),
    "text with a picture's name": (b"I am not a cat.png, I am a poem.\n" * 20, PictureUnsupported),
    "HTML": (b"<!doctype html><img src=x>", PictureUnsupported),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', PictureUnsupported),
    "BMP": (saved(halves(), "BMP"), PictureUnsupported),
    "TIFF": (saved(halves(), "TIFF"), PictureUnsupported),
    "a sound in a RIFF file": (b"RIFF\x24\0\0\0WAVEfmt ", PictureUnsupported),
    "ZIP": (b"PK\x03\x04" + bytes(60), PictureUnsupported),
    "three bytes": (b"\x89PN", PictureUnsupported),
    "PNG signature alone": (SIGNATURE, PictureUnreadable),
    "PNG broken off": (saved(NOISE, "PNG")[:5000], PictureUnreadable),
    "PNG without its last bytes": (PNG[:-6], PictureUnreadable),
    "PNG with a wrong checksum": (with_bad_checksum(), PictureUnreadable),
    "PNG of no pixels": (png(0, 10, b""), PictureUnreadable),
    "PNG with nonsense for pixels": (
        SIGNATURE + PNG[8:33] + chunk(b"IDAT", b"no zlib stream") + chunk(b"IEND", b""),
        PictureUnreadable,
    ),
    "PNG that claims 4 gigapixels": (png(65_536, 65_536, bytes(10)), PictureTooLarge),
    "PNG that claims the most there is": (png(2**31 - 1, 2**31 - 1, bytes(10)), PictureTooLarge),
    "PNG bomb: 100 megapixels in 12 kB": (
        png(10_000, 10_000, bytes(10_000 * 1251), depth=1, colour=0),
        PictureTooLarge,
    ),
    "PNG text bomb: 80 MB of comment": (
        png(1, 1, bytes(4), extra=chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(80_000_000), 9))),
        PictureUnreadable,
    ),
    "JPEG start alone": (b"\xff\xd8\xff\xe0", PictureUnreadable),
    "JPEG broken off": (saved(NOISE, "JPEG")[:4000], PictureUnreadable),
    "JPEG that claims 4 gigapixels": (
        JPEG.replace(struct.pack(">HH", 32, 64), struct.pack(">HH", 65_500, 65_500), 1),
        PictureTooLarge,
    ),
    "WebP start alone": (b"RIFF\x10\0\0\0WEBPVP8X", PictureUnreadable),
    "WebP broken off": (saved(NOISE, "WEBP")[:3000], PictureUnreadable),
    "WebP of an unknown kind": (b"RIFF\x10\0\0\0WEBPVP9 " + bytes(30), PictureUnreadable),
    "WebP that claims 268 megapixels": (
        b"RIFF\x20\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xfe\x3f\0\xfe\x3f\0" + bytes(10),
        PictureTooLarge,
    ),
    "GIF start alone": (b"GIF89a", PictureUnreadable),
    "GIF without a frame": (GIF[:13], PictureUnreadable),
    "GIF broken off": (saved(NOISE, "GIF")[:9000], PictureUnreadable),
    "GIF that claims 4 gigapixels": (b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + GIF[10:], PictureTooLarge),
    "more bytes than allowed": (PNG + bytes(LIMITS["max_bytes"]), PictureTooHeavy),
}


@pytest.mark.parametrize("case", BAD, ids=str)
def test_what_is_no_picture_is_named_for_what_it_is(case: str) -> None:
    data, error = BAD[case]
    with pytest.raises(InvalidPicture) as caught:
        vet(data, **LIMITS)
    assert type(caught.value) is error


def test_a_gif_whose_frame_outgrows_its_canvas_is_measured_again() -> None:
    frame = bytearray(GIF)
    at = frame.index(b",", 13 + 3 * 2 ** ((frame[10] & 7) + 1))
    frame[at + 5 : at + 9] = struct.pack("<HH", 60_000, 60_000)
    with pytest.raises(PictureTooLarge):
        vet(bytes(frame), **LIMITS)


def test_the_errors_carry_what_their_sentences_need() -> None:
    with pytest.raises(PictureTooHeavy) as heavy:
        vet(PNG, max_bytes=10, max_pixels=100)
    assert heavy.value.facts == {"size": len(PNG), "limit": 10}
    with pytest.raises(PictureTooLarge) as large:
        vet(PNG, max_bytes=10_000, max_pixels=2047)
    assert large.value.facts == {"width": 64, "height": 32, "limit": 2047}
    assert vet(PNG, max_bytes=10_000, max_pixels=2048).width == 64


@pytest.mark.parametrize("fmt", ["PNG", "JPEG", "WEBP", "GIF"])
def test_every_accepted_format_keeps_what_it_shows(fmt: str) -> None:
    _, image = taken(saved(halves(), fmt))
    assert image.size == (64, 32)
    assert near(image.getpixel((8, 16)), (200, 20, 20))
    assert near(image.getpixel((56, 16)), (20, 20, 200))


@pytest.mark.parametrize("options", [{"lossless": True}, {"quality": 50}, {"exif": Image.Exif()}, {"method": 0}])
def test_the_header_of_each_webp_kind_is_read_as_pillow_reads_it(options: dict[str, object]) -> None:
    data = saved(halves(301, 77), "WEBP", **options)
    header = read_header(data)
    assert (header.format, header.width, header.height) == ("WEBP", 301, 77)


def test_a_webp_with_transparency_states_its_size_in_its_first_chunk() -> None:
    data = saved(Image.new("RGBA", (301, 77), (1, 2, 3, 100)), "WEBP")
    assert data[12:16] == b"VP8X"
    assert (read_header(data).width, read_header(data).height) == (301, 77)


@pytest.mark.parametrize("progressive", [True, False])
def test_the_header_of_a_jpeg_is_found_behind_its_other_segments(progressive: bool) -> None:
    data = saved(halves(300, 200), "JPEG", progressive=progressive, comment=b"x" * 5000)
    assert (read_header(data).width, read_header(data).height) == (300, 200)


@pytest.mark.parametrize("fmt", ["GIF", "WEBP", "PNG"])
def test_of_a_moving_picture_the_first_frame_is_taken(fmt: str) -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in ((0, 160, 0), (160, 0, 0), (0, 0, 160))]
    data = saved(frames[0], fmt, save_all=True, append_images=frames[1:], duration=100)
    _, image = taken(data)
    assert near(image.getpixel((20, 20)), (0, 160, 0))


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP"])
def test_a_photo_taken_sideways_stands_upright(fmt: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to show it
    vetted, image = taken(saved(halves(64, 32), fmt, exif=exif))
    assert (vetted.width, vetted.height) == (32, 64)
    assert near(image.getpixel((16, 6)), (200, 20, 20))
    assert near(image.getpixel((16, 58)), (20, 20, 200))
    assert 0x0112 not in image.getexif()


def _palette_with_hole() -> Image.Image:
    image = halves().quantize(4)
    image.info["transparency"] = image.getpixel((0, 0))
    return image


@pytest.mark.parametrize(
    "data",
    [
        saved(Image.new("RGBA", (16, 16), (255, 0, 0, 0)), "PNG"),
        saved(Image.new("RGBA", (16, 16), (255, 0, 0, 0)), "WEBP"),
        saved(Image.new("LA", (16, 16), (0, 0)), "PNG"),
        saved(_palette_with_hole(), "PNG"),
        saved(_palette_with_hole(), "GIF"),
        saved(Image.new("RGB", (16, 16), (9, 9, 9)), "PNG", transparency=(9, 9, 9)),
    ],
    ids=["rgba png", "rgba webp", "grey with alpha", "palette png", "palette gif", "colour key"],
)
def test_transparency_becomes_white(data: bytes) -> None:
    _, image = taken(data)
    assert near(image.getpixel((2, 2)), (255, 255, 255), 2)


def test_half_transparent_colour_is_mixed_with_white() -> None:
    _, image = taken(saved(Image.new("RGBA", (8, 8), (200, 0, 0, 128)), "PNG"))
    assert near(image.getpixel((2, 2)), (227, 127, 127), 2)


@pytest.mark.parametrize(
    ("image", "fmt", "wanted"),
    [
        (Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", (255, 0, 0)),
        (Image.new("L", (16, 16), 90), "JPEG", (90, 90, 90)),
        (Image.new("L", (16, 16), 90), "PNG", (90, 90, 90)),
        (Image.new("1", (16, 16), 1), "PNG", (255, 255, 255)),
        (Image.new("I;16", (16, 16), 40_000), "PNG", (155, 155, 155)),
        (halves().quantize(8), "PNG", (200, 20, 20)),
    ],
    ids=["CMYK", "grey JPEG", "grey PNG", "one bit", "16-bit grey", "palette"],
)
def test_every_colour_model_becomes_rgb(image: Image.Image, fmt: str, wanted: tuple[int, int, int]) -> None:
    _, found = taken(saved(image, fmt))
    assert near(found.getpixel((4, 4)), wanted, 16)


def test_sixteen_bits_a_channel_become_eight() -> None:
    row = b"\0" + struct.pack(">HHH", 0xC8C8, 0x1414, 0x0A0A) * 8
    _, image = taken(png(8, 8, row * 8, depth=16))
    assert near(image.getpixel((4, 4)), (200, 20, 10), 1)


def test_a_colour_profile_is_applied_and_a_senseless_one_is_ignored() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (srgb, b"no profile at all"):
        _, image = taken(saved(halves(), "PNG", icc_profile=profile))
        assert near(image.getpixel((8, 16)), (200, 20, 20), 2)
        assert "icc_profile" not in image.info


@pytest.mark.parametrize(("fmt", "mode"), [("JPEG", "RGB"), ("PNG", "P"), ("PNG", "I;16"), ("WEBP", "RGBA")])
def test_more_pixels_than_are_ever_drawn_are_not_kept(fmt: str, mode: str) -> None:
    image = halves(4000, 2000)
    image = image.quantize(8) if mode == "P" else image.convert("L").convert("I;16") if mode == "I;16" else image
    vetted, _ = taken(saved(image.convert(mode) if mode == "RGBA" else image, fmt))
    assert KEPT_PIXELS * 0.9 < vetted.width * vetted.height <= KEPT_PIXELS * 1.001
    assert vetted.width / vetted.height == pytest.approx(2, rel=0.01)


def test_where_a_photo_was_taken_is_not_kept() -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)  # GPS latitude
    data = saved(halves(), "JPEG", exif=exif, comment=b"at home")
    assert Image.open(BytesIO(data)).getexif().get_ifd(0x8825)
    _, image = taken(data)
    assert not image.info
    assert not image.getexif()


@pytest.mark.parametrize("fmt", ["PNG", "JPEG", "WEBP", "GIF"])
def test_damage_anywhere_is_either_survived_or_named(fmt: str) -> None:
    whole = saved(NOISE.resize((40, 40)), fmt)
    dice = random.Random(1)
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(dice.choice((1, 3, 30))):
            data[dice.randrange(len(data))] = dice.randrange(256)
        if dice.random() < 0.3:
            del data[dice.randrange(len(data)) :]
        with suppress(InvalidPicture):
            vet(bytes(data), max_bytes=1_000_000, max_pixels=1_000_000)


def test_a_line_of_pixels_is_a_picture() -> None:
    vetted, _ = taken(saved(Image.new("RGB", (10_000, 1), "green"), "PNG"))
    assert (vetted.width, vetted.height) == (10_000, 1)


def test_vetting_what_was_vetted_changes_nothing() -> None:
    drawing = halves(90, 50)
    ImageDraw.Draw(drawing).ellipse((10, 10, 40, 40), fill=(1, 99, 3))
    first, image = taken(saved(drawing, "PNG"))
    second, again = taken(first.png)
    assert image.tobytes() == again.tobytes() == drawing.tobytes()
    assert first.png == second.png


@pytest.mark.parametrize(("grey", "shows"), [(0, False), (127, False), (128, True), (255, True)])
def test_a_mask_has_to_show_something(grey: int, shows: bool) -> None:
    picture = Image.new("L", (64, 64))
    picture.putpixel((3, 60), grey)
    with nullcontext() if shows else pytest.raises(MaskShowsNothing):
        check_mask(vet(saved(picture, "PNG"), **LIMITS), (640, 640))


@pytest.mark.parametrize(
    ("size", "fits"),
    [((640, 480), True), ((163, 121), True), ((480, 640), False), ((700, 480), False)],
)
def test_a_mask_has_the_shape_of_its_picture(size: tuple[int, int], fits: bool) -> None:
    mask = vet(saved(Image.new("L", size, 255), "PNG"), **LIMITS)
    with nullcontext() if fits else pytest.raises(MaskOfAnotherShape):
        check_mask(mask, (2048, 1536))


def test_a_mask_lies_as_its_picture_does() -> None:
    """Saved by a camera on its side, both of them, or only one: what counts is how they are seen."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    lying = BytesIO()
    Image.new("L", (60, 40), 255).save(lying, "JPEG", exif=exif)
    check_mask(vet(lying.getvalue(), **LIMITS), (40, 60))


def test_transparent_places_of_a_mask_are_painted_anew() -> None:
    mask = Image.new("RGBA", (64, 64), (0, 0, 0, 255))
    mask.putpixel((5, 5), (0, 0, 0, 0))
    check_mask(vet(saved(mask, "PNG"), **LIMITS), (64, 64))
