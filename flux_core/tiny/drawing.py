"""Draw the pictures of the small world: shapes on backdrops here, scenes in `flux_core.tiny.scenes`."""

import math
from random import Random

from PIL import Image

from flux_core.tiny.canvas import Canvas, Colour, Point, regular, vary
from flux_core.tiny.scenes import paint_scene
from flux_core.tiny.world import COLOURS, Backdrop, Picture, ScenePicture, ShapePicture

_RADIUS = {None: (0.265, 0.295), "small": (0.135, 0.15), "medium": (0.235, 0.255), "large": (0.365, 0.39)}
_PLACED_RADIUS = {None: (0.17, 0.2), "small": (0.11, 0.125), "medium": (0.17, 0.19), "large": (0.215, 0.23)}
_PLACES = {
    "left": (-0.25, 0.0),
    "right": (0.25, 0.0),
    "top": (0.0, -0.25),
    "bottom": (0.0, 0.25),
    "top left": (-0.25, -0.25),
    "top right": (0.25, -0.25),
    "bottom left": (-0.25, 0.25),
    "bottom right": (0.25, 0.25),
}
_RELATIVE = {
    "left of": ((-0.24, 0.0), (0.24, 0.0)),
    "right of": ((0.24, 0.0), (-0.24, 0.0)),
    "above": ((0.0, -0.24), (0.0, 0.24)),
    "below": ((0.0, 0.24), (0.0, -0.24)),
    "and": ((-0.24, 0.0), (0.24, 0.0)),
}
_COUNTED: dict[int, tuple[float, tuple[Point, ...]]] = {
    2: (0.18, ((-0.23, 0.0), (0.23, 0.0))),
    3: (0.16, ((0.0, -0.22), (-0.24, 0.2), (0.24, 0.2))),
    4: (0.16, ((-0.22, -0.22), (0.22, -0.22), (-0.22, 0.22), (0.22, 0.22))),
    5: (0.13, ((-0.28, -0.28), (0.28, -0.28), (0.0, 0.0), (-0.28, 0.28), (0.28, 0.28))),
}


def draw(picture: Picture, width: int = 128, height: int = 128) -> Image.Image:
    """Draw a picture in RGB, the same pixels for the same picture and size on every machine."""
    rng = Random(picture.seed)
    if isinstance(picture, ScenePicture):
        return paint_scene(picture, rng, width, height)
    canvas = Canvas(width, height, (0, 0, 0))
    _paint_backdrop(canvas, picture.backdrop, rng)
    for shape, colour, (x, y), radius in _layout(picture, rng, canvas):
        _paint_shape(canvas, shape, vary(COLOURS[colour], rng), x, y, radius, rng)
    return canvas.finish()


def _layout(picture: ShapePicture, rng: Random, canvas: Canvas) -> list[tuple[str, str, Point, float]]:
    """Place the picture's things: (shape, colour, centre, radius) each."""
    wide, tall = canvas.right * 2, canvas.bottom * 2

    def near(point: Point, jitter: float = 0.012) -> Point:
        return (
            point[0] * wide + rng.uniform(-jitter, jitter),
            point[1] * tall + rng.uniform(-jitter, jitter),
        )

    first = picture.things[0]
    if picture.relation is not None:
        radius = rng.uniform(0.18, 0.192)
        places = _RELATIVE[picture.relation]
        return [
            (thing.shape, thing.colour, near(place), radius)
            for thing, place in zip(picture.things, places, strict=True)
        ]
    if picture.count > 1:
        radius, places_counted = _COUNTED[picture.count]
        radius *= rng.uniform(0.96, 1.03)
        return [(first.shape, first.colour, near(place, 0.01), radius) for place in places_counted]
    if picture.place is not None:
        return [(first.shape, first.colour, near(_PLACES[picture.place]), rng.uniform(*_PLACED_RADIUS[first.size]))]
    return [(first.shape, first.colour, near((0.0, 0.0), 0.016), rng.uniform(*_RADIUS[first.size]))]


def _paint_shape(canvas: Canvas, shape: str, colour: Colour, x: float, y: float, radius: float, rng: Random) -> None:
    turn = rng.uniform(-2, 2)
    if shape == "circle":
        canvas.disc(x, y, radius, colour)
    elif shape == "square":
        canvas.polygon(regular(4, x, y, radius * 1.2, 45 + turn), colour)
    elif shape == "triangle":
        canvas.polygon(regular(3, x, y + radius * 0.2, radius * 1.22, turn), colour)
    elif shape == "star":
        canvas.polygon(regular(5, x, y + radius * 0.06, radius * 1.22, turn, inner=radius * 0.5), colour)
    elif shape == "diamond":
        long, short = radius * 1.2, radius * 0.8
        canvas.polygon([(x, y - long), (x + short, y), (x, y + long), (x - short, y)], colour)
    elif shape == "heart":
        canvas.polygon(_heart(x, y, radius), colour)
    elif shape == "cross":
        arm = radius * 0.36
        canvas.rectangle(x - radius, y - arm, x + radius, y + arm, colour)
        canvas.rectangle(x - arm, y - radius, x + arm, y + radius, colour)
    elif shape == "ring":
        canvas.arc(x, y, radius, 0, 360, radius * 0.45, colour)
    else:
        raise ValueError(f"no such shape: {shape}")


def _heart(x: float, y: float, radius: float) -> list[Point]:
    """Return a heart's outline, from the well-known sine curve, `radius` to each side."""
    points = []
    for step in range(60):
        angle = 2 * math.pi * step / 60
        across = 16 * math.sin(angle) ** 3
        up = 13 * math.cos(angle) - 5 * math.cos(2 * angle) - 2 * math.cos(3 * angle) - math.cos(4 * angle)
        points.append((x + across / 15 * radius, y - (up + 2.5) / 15 * radius))
    return points


def _paint_backdrop(canvas: Canvas, backdrop: Backdrop, rng: Random) -> None:
    first = vary(COLOURS[backdrop.colours[0]], rng)
    right, bottom = canvas.right, canvas.bottom
    canvas.fade(first, first)
    if backdrop.kind == "plain":
        return
    second = vary(COLOURS[backdrop.colours[1]], rng)
    if backdrop.kind == "gradient":
        canvas.fade(first, second)
        return
    cell = 0.125
    columns, rows = math.ceil(right * 2 / cell), math.ceil(bottom * 2 / cell)
    for row in range(rows):
        top = row * cell - bottom
        if backdrop.kind == "striped" and row % 2:
            canvas.rectangle(-right, top, right, top + cell, second)
        for column in range(columns):
            left = column * cell - right
            if backdrop.kind == "checkered" and (row // 2 + column // 2) % 2:
                canvas.rectangle(left, top, left + cell, top + cell, second)
            if backdrop.kind == "dotted" and row % 2 == 0 and column % 2 == 0:
                canvas.disc(left + cell, top + cell, 0.04, second)
