"""Paint flat forms on a picture measured in its short side, so that one drawing serves every aspect."""

import math
from collections.abc import Iterable, Sequence
from random import Random

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]

_OVERSAMPLING = 3
"""Forms are painted this much larger and reduced, which makes their edges smooth."""


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Blend two colours; `share` of the second, 0 to 1."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def vary(colour: Colour, rng: Random, amount: int = 5) -> Colour:
    """Shift a colour a little, as no two reds are the same."""
    red, green, blue = (min(255, max(0, channel + rng.randint(-amount, amount))) for channel in colour)
    return red, green, blue


class Canvas:
    """A picture of `width` × `height` pixels. The short side is 1 long and the origin lies in the centre, y down."""

    def __init__(self, width: int, height: int, colour: Colour) -> None:
        self._pixels = (width * _OVERSAMPLING, height * _OVERSAMPLING)
        self._unit = min(self._pixels)
        self.right = width / min(width, height) / 2
        self.bottom = height / min(width, height) / 2
        self._image = Image.new("RGB", self._pixels, colour)
        self._draw = ImageDraw.Draw(self._image)

    def _at(self, point: Point) -> Point:
        return point[0] * self._unit + self._pixels[0] / 2, point[1] * self._unit + self._pixels[1] / 2

    def fade(self, top: Colour, bottom: Colour, until: float | None = None) -> None:
        """Fill from the top edge down to `until` (default: everything) with a vertical gradient."""
        end = self._pixels[1] if until is None else round(self._at((0, until))[1])
        rows = np.linspace(np.array(top, float), np.array(bottom, float), max(end, 1))
        strip = Image.fromarray(np.round(rows)[:, None, :].astype(np.uint8), "RGB")
        self._image.paste(strip.resize((self._pixels[0], max(end, 1)), Image.Resampling.NEAREST), (0, 0))

    def rectangle(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """Fill an upright rectangle."""
        self._draw.rectangle([self._at((left, top)), self._at((right, bottom))], fill=colour)

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        """Fill an ellipse around (x, y)."""
        self._draw.ellipse([self._at((x - rx, y - ry)), self._at((x + rx, y + ry))], fill=colour)

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """Fill a circle around (x, y)."""
        self.ellipse(x, y, radius, radius, colour)

    def polygon(self, points: Iterable[Point], colour: Colour) -> None:
        """Fill a polygon."""
        self._draw.polygon([self._at(point) for point in points], fill=colour)

    def line(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """Draw a line of the given thickness with rounded joints."""
        self._draw.line(
            [self._at(point) for point in points], fill=colour, width=max(1, round(width * self._unit)), joint="curve"
        )

    def arc(self, x: float, y: float, radius: float, start: float, end: float, width: float, colour: Colour) -> None:
        """Draw an arc clockwise from `start` to `end` degrees (0 is right, 90 is down)."""
        box = [self._at((x - radius, y - radius)), self._at((x + radius, y + radius))]
        self._draw.arc(box, start, end, fill=colour, width=max(1, round(width * self._unit)))

    def finish(self) -> Image.Image:
        """Return the picture at its real size."""
        return self._image.reduce(_OVERSAMPLING)


def regular(corners: int, x: float, y: float, radius: float, turn: float, inner: float | None = None) -> list[Point]:
    """Return a regular polygon's corners, or a star's when `inner` radius is given; `turn` in degrees, 0 points up."""
    radii = [radius] if inner is None else [radius, inner]
    count = corners * len(radii)
    points = []
    for index in range(count):
        angle = math.radians(turn - 90 + 360 * index / count)
        points.append(
            (x + radii[index % len(radii)] * math.cos(angle), y + radii[index % len(radii)] * math.sin(angle))
        )
    return points
