"""Read colours, places, counts and shapes back from pixels, to compare them with what a prompt asked for.

Nothing here is learned: colours are the nearest of the palette in CIELAB, shapes the best overlap with the
generator's own outlines. On the generator's own pictures these measures are right nearly always; the evaluation
prints how often.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from flux_core.tiny.drawing import draw
from flux_core.tiny.world import COLOURS, SHAPES, Backdrop, ShapePicture, Thing

Array = NDArray[Any]
_BORDER = 4
_OUTLINE = 32
_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_WHITE_POINT = np.array([0.9505, 1.0, 1.089])


@dataclass(frozen=True)
class Found:
    """One coherent form: its colour's name, its centre as shares of width and height, its shape's name."""

    colour: str
    x: float
    y: float
    shape: str


def lab(pixels: Array) -> Array:
    """Convert sRGB levels (…, 3) of 0 to 255 to CIELAB (D65)."""
    levels = np.asarray(pixels, float) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    xyz = linear @ _XYZ.T / _WHITE_POINT
    root = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = root[..., 0], root[..., 1], root[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def nearest_colour(pixels: Array) -> str:
    """Name the palette's colour nearest to the median of some pixels (N, 3)."""
    median = lab(np.median(pixels.reshape(-1, 3), axis=0))
    return min(COLOURS, key=lambda name: float(np.linalg.norm(lab(np.array(COLOURS[name])) - median)))


def backdrop_colour(image: Image.Image) -> str:
    """Name the colour along the picture's border."""
    return nearest_colour(_border(np.asarray(image.convert("RGB"))))


def find_things(image: Image.Image) -> list[Found]:
    """Find the forms that stand out from the border's colour, largest first; specks are left out."""
    pixels = np.asarray(image.convert("RGB"))
    distance = np.linalg.norm(lab(pixels) - lab(np.median(_border(pixels), axis=0)), axis=-1)
    mask = distance > 0.45 * _distance_to_next_colour(backdrop_colour(image))
    forms = _components(mask)
    if not forms:
        return []
    largest = forms[0].sum()
    return [_describe(pixels, form) for form in forms if form.sum() >= max(0.25 * largest, 30)]


@cache
def _distance_to_next_colour(name: str) -> float:
    """Return how far the palette's next colour lies from the named one, in CIELAB."""
    own = lab(np.array(COLOURS[name]))
    return min(float(np.linalg.norm(lab(np.array(level)) - own)) for other, level in COLOURS.items() if other != name)


def _border(pixels: Array) -> Array:
    inside = np.zeros(pixels.shape[:2], bool)
    inside[_BORDER:-_BORDER, _BORDER:-_BORDER] = True
    return np.asarray(pixels[~inside])


def _components(mask: Array) -> list[Array]:
    """Split a mask into its connected parts, largest first, by spreading each part's highest label."""
    labels = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0)
    while True:
        padded = np.pad(labels, 1)
        spread = np.maximum.reduce([labels, padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]])
        spread = np.where(mask, spread, 0)
        if np.array_equal(spread, labels):
            break
        labels = spread
    names, sizes = np.unique(labels[mask], return_counts=True)
    return [labels == names[index] for index in np.argsort(-sizes)]


def _describe(pixels: Array, form: Array) -> Found:
    core = np.asarray(Image.fromarray(form.astype(np.uint8) * 255).filter(ImageFilter.MinFilter(3))) > 0
    rows, columns = np.nonzero(form)
    height, width = form.shape
    return Found(
        colour=nearest_colour(pixels[core if core.sum() >= 12 else form]),
        x=(columns.min() + columns.max() + 1) / 2 / width,
        y=(rows.min() + rows.max() + 1) / 2 / height,
        shape=_nearest_shape(form),
    )


def _outline(form: Array) -> Array:
    """Cut a form out and bring it to 32 × 32 without changing its proportions."""
    rows, columns = np.nonzero(form)
    cut = form[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].astype(np.uint8) * 255
    side = max(cut.shape)
    square = Image.new("L", (side, side))
    square.paste(Image.fromarray(cut), ((side - cut.shape[1]) // 2, (side - cut.shape[0]) // 2))
    return np.asarray(square.resize((_OUTLINE, _OUTLINE), Image.Resampling.BOX), float) / 255


@cache
def _outlines() -> tuple[tuple[str, Array], ...]:
    """Return the generator's outlines, each shape at several small turns."""
    examples = []
    for shape in SHAPES:
        for seed in range(6):
            picture = ShapePicture((Thing(shape, "black", "large"),), Backdrop("plain", ("white",)), seed)
            black = np.asarray(draw(picture).convert("L")) < 128
            examples.append((shape, _outline(black)))
    return tuple(examples)


def _nearest_shape(form: Array) -> str:
    outline = _outline(form)
    return max(
        _outlines(), key=lambda named: float(np.minimum(named[1], outline).sum() / np.maximum(named[1], outline).sum())
    )[0]


def structure_similarity(first: Image.Image, second: Image.Image) -> float:
    """Return the mean SSIM of two pictures' luminance, 1 when equal (Wang et al. 2004, 9 × 9 box windows)."""
    a, b = (np.asarray(image.convert("L"), np.float32) for image in (first, second))

    def mean(levels: Array) -> Array:
        return np.asarray(sliding_window_view(levels, (9, 9)).mean(axis=(-1, -2)))

    mean_a, mean_b = mean(a), mean(b)
    variance_a, variance_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    covariance = mean(a * b) - mean_a * mean_b
    light, contrast = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    numerator = (2 * mean_a * mean_b + light) * (2 * covariance + contrast)
    denominator = (mean_a**2 + mean_b**2 + light) * (variance_a + variance_b + contrast)
    return float((numerator / denominator).mean())
