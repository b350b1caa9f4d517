"""Finished pictures: right pixels, honest about their making, small enough to post."""

from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image

from flux_core.generation import OutputFormat
from flux_core.images.encoding import PREVIEW_SIDE, encode, encode_preview, fit, read_provenance
from flux_core.images.provenance import UNICODE, Provenance, parameters_of
from tests.images.picture_files import halves, opened, saved

PROMPT = "a red circle, “très” grand, 猫 🎈\nand a second line: Steps: 99"
MADE = Provenance(
    prompt=PROMPT, model="flux-tiny", seed=4_294_967_298, steps=8, width=512, height=256, guidance=3.5, job_id="0af3"
)
FORMATS = list(OutputFormat)


def noisy(side: int) -> Image.Image:
    return Image.effect_noise((side, side), 90).convert("RGB")


def test_the_parameters_are_written_as_the_tools_of_the_field_read_them() -> None:
    assert parameters_of(MADE) == (
        f"{PROMPT}\nSteps: 8, Sampler: Euler, CFG scale: 1, Distilled CFG Scale: 3.5, Seed: 4294967298, "
        "Size: 512x256, Model: flux-tiny, Version: flux-bot, Job: 0af3"
    )
    bare = Provenance(prompt="p", model="flux-schnell", seed=1, steps=4, width=16, height=16, strength=0.25)
    assert parameters_of(bare) == (
        "p\nSteps: 4, Sampler: Euler, CFG scale: 1, Seed: 1, Size: 16x16, Model: flux-schnell, "
        "Denoising strength: 0.25, Version: flux-bot"
    )


@pytest.mark.parametrize("fmt", FORMATS)
def test_a_file_is_what_it_says_and_tells_how_it_was_drawn(fmt: OutputFormat) -> None:
    encoded = encode(halves(512, 256), fmt, MADE)
    image = opened(encoded.data)
    assert str(image.format).lower() == fmt.value
    assert encoded.content_type == f"image/{fmt.value}"
    assert encoded.extension == {"webp": "webp", "png": "png", "jpeg": "jpg"}[fmt.value]
    assert image.size == (512, 256)
    left = image.convert("RGB").getpixel((60, 128))
    assert isinstance(left, tuple)
    assert left[0] > 180 > 60 > left[2]
    assert read_provenance(encoded.data) == parameters_of(MADE)


def test_a_png_is_exact_and_keeps_its_text_under_the_usual_name() -> None:
    image = noisy(64)
    found = opened(encode(image, OutputFormat.PNG, MADE).data)
    assert found.tobytes() == image.tobytes()
    assert found.info["parameters"] == parameters_of(MADE)


def test_the_same_picture_gives_the_same_bytes() -> None:
    for fmt in FORMATS:
        assert encode(noisy_once, fmt, MADE) == encode(noisy_once, fmt, MADE)


noisy_once = noisy(64)


def test_the_comment_of_other_tools_is_read_in_either_byte_order() -> None:
    for endian, encoding in ((">", "utf-16-be"), ("<", "utf-16-le")):
        exif = Image.Exif()
        exif.endian = endian
        exif.get_ifd(0x8769)[0x9286] = UNICODE + "ein Bär".encode(encoding)
        assert read_provenance(saved(halves(), "JPEG", exif=exif)) == "ein Bär"


@pytest.mark.parametrize("fmt", ["PNG", "JPEG", "WEBP"])
def test_a_file_that_says_nothing_is_no_error(fmt: str) -> None:
    assert read_provenance(saved(halves(), fmt)) is None
    fitted = fit(saved(noisy(128), fmt), 6_000)
    assert len(fitted.data) <= 6_000
    assert read_provenance(fitted.data) is None


@pytest.mark.parametrize("fmt", FORMATS)
def test_a_file_that_fits_is_left_alone(fmt: OutputFormat) -> None:
    encoded = encode(noisy(64), fmt, MADE)
    assert fit(encoded.data, len(encoded.data)) == encoded


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("share", [0.9, 0.3, 0.05])
def test_a_file_that_is_too_heavy_loses_quality_then_size_but_not_its_words(fmt: OutputFormat, share: float) -> None:
    encoded = encode(noisy(256), fmt, MADE)
    limit = max(3_000, int(len(encoded.data) * share))
    fitted = fit(encoded.data, limit)
    assert len(fitted.data) <= limit
    assert fitted.content_type == ("image/jpeg" if fmt is OutputFormat.JPEG else "image/webp")
    image = opened(fitted.data)
    assert f"image/{str(image.format).lower()}" == fitted.content_type
    assert image.width == image.height <= 256
    assert read_provenance(fitted.data) == parameters_of(MADE)


def test_quality_goes_before_size() -> None:
    encoded = encode(noisy(256), OutputFormat.PNG, MADE)
    assert opened(fit(encoded.data, len(encoded.data) // 2).data).size == (256, 256)


def test_an_impossible_limit_is_an_error_and_ends() -> None:
    with pytest.raises(ValueError, match="10 bytes"):
        fit(encode(noisy(256), OutputFormat.PNG, MADE).data, 10)


@pytest.mark.parametrize("size", [(16, 16), (1024, 512), (28, 16)])
def test_a_preview_is_small_and_keeps_its_shape(size: tuple[int, int]) -> None:
    preview = encode_preview(halves(*size))
    image = Image.open(BytesIO(preview.data))
    assert (preview.content_type, preview.extension, image.format) == ("image/webp", "webp", "WEBP")
    assert max(image.size) == PREVIEW_SIDE
    assert image.width / image.height == pytest.approx(size[0] / size[1], rel=0.01)
    assert len(preview.data) < 20_000
