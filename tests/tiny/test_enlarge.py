"""Enlarging: crisp outlines, smooth gradients, colours kept."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from flux_core.tiny.canvas import Canvas
from flux_core.tiny.enlarge import enlarge


def _disc(side: int) -> Image.Image:
    canvas = Canvas(side, side, (36, 84, 212))
    canvas.disc(0, 0, 0.3, (222, 36, 40))
    return canvas.finish()


def test_a_picture_grows_by_the_factor() -> None:
    assert enlarge(Image.new("RGB", (192, 128))).size == (768, 512)
    assert enlarge(Image.new("RGB", (128, 224)), factor=2).size == (256, 448)
    assert enlarge(Image.new("RGBA", (16, 16)), factor=1).mode == "RGB"


def test_a_factor_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="factor of 1 or more"):
        enlarge(Image.new("RGB", (16, 16)), factor=0)


def test_outlines_come_closer_to_the_true_large_form_than_plain_interpolation() -> None:
    soft, true = _disc(128).filter(ImageFilter.GaussianBlur(0.8)), np.asarray(_disc(512), float)
    crisp = np.abs(np.asarray(enlarge(soft), float) - true).mean()
    plain = np.abs(np.asarray(soft.resize((512, 512), Image.Resampling.BICUBIC), float) - true).mean()
    assert crisp < 0.6 * plain


def test_gradients_stay_smooth() -> None:
    canvas = Canvas(128, 128, (0, 0, 0))
    canvas.fade((250, 250, 248), (36, 84, 212))
    column = np.asarray(enlarge(canvas.finish()), int)[:, 256]
    assert np.abs(np.diff(column, axis=0)).max() <= 3


def test_faint_mottle_on_level_areas_is_calmed() -> None:
    noise = np.random.default_rng(0).integers(-2, 3, (128, 128, 3))
    mottled = Image.fromarray((120 + noise).astype(np.uint8), "RGB")
    assert np.asarray(enlarge(mottled), float).std() < 0.6 * np.asarray(mottled, float).std()
