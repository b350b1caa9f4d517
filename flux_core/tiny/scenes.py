"""Paint the scenes of the small world, each a short function on a canvas that fits every aspect."""

from collections.abc import Callable
from random import Random
from typing import Final

from PIL import Image

from flux_core.tiny.canvas import Canvas, Colour, mix, regular, vary
from flux_core.tiny.world import COLOURS, ScenePicture

_WHITE: Final = (250, 250, 248)
_BLACK: Final = (24, 24, 28)
_SUN: Final = (255, 214, 60)
_GRASS: Final = (86, 168, 72)
_DAY: Final = ((116, 186, 240), (206, 232, 250))
_NIGHT: Final = ((12, 16, 48), (36, 44, 96))
_SEA: Final = (36, 104, 180)
_WOOD: Final = (112, 72, 40)


def paint_scene(picture: ScenePicture, rng: Random, width: int, height: int) -> Image.Image:
    """Paint a scene at the given size in pixels."""
    canvas = Canvas(width, height, _WHITE)
    colour = vary(COLOURS[picture.colour], rng) if picture.colour else _WHITE
    _PAINTERS[picture.scene](canvas, picture, colour, rng)
    return canvas.finish()


def _sky(canvas: Canvas, time: str | None, rng: Random, sun: bool = True) -> None:
    """Paint a day sky with the sun, or a night sky with moon and stars, in the upper corners."""
    night = time == "night"
    canvas.fade(*(_NIGHT if night else _DAY), until=canvas.bottom)
    side = canvas.right - 0.2
    if night:
        _stars(canvas, rng, 12, canvas.bottom * 0.2)
    if sun:
        canvas.disc(side, -canvas.bottom + 0.18, 0.09, (244, 240, 200) if night else _SUN)


def _stars(canvas: Canvas, rng: Random, count: int, until: float) -> None:
    for index in range(count):
        x = -canvas.right + 2 * canvas.right * (index + rng.uniform(0.3, 0.7)) / count
        canvas.disc(x, rng.uniform(-canvas.bottom + 0.04, until), 0.012, _WHITE)


def _ground(canvas: Canvas, top: float, colour: Colour, night: bool) -> None:
    shade = mix(colour, (10, 14, 40), 0.55) if night else colour
    canvas.rectangle(-canvas.right, top, canvas.right, canvas.bottom, shade)


def _tree(canvas: Canvas, x: float, ground: float, night: bool) -> None:
    leaves = mix((44, 130, 56), (10, 14, 40), 0.4 if night else 0)
    canvas.rectangle(x - 0.025, ground - 0.2, x + 0.025, ground, _WOOD)
    canvas.disc(x, ground - 0.28, 0.13, leaves)


def _house(canvas: Canvas, picture: ScenePicture, roof: Colour, rng: Random) -> None:
    night = picture.time == "night"
    _sky(canvas, picture.time, rng)
    ground = 0.28
    _ground(canvas, ground, _GRASS, night)
    x = (-0.12 if picture.tree else 0.0) + rng.uniform(-0.03, 0.03)
    wall = mix((240, 222, 186), (10, 14, 40), 0.35 if night else 0)
    canvas.rectangle(x - 0.2, -0.02, x + 0.2, ground, wall)
    canvas.polygon([(x - 0.26, -0.02), (x, -0.24), (x + 0.26, -0.02)], roof)
    canvas.rectangle(x - 0.05, ground - 0.17, x + 0.05, ground, _WOOD)
    window = (255, 226, 110) if night else (130, 190, 230)
    for side in (-0.125, 0.125):
        canvas.rectangle(x + side - 0.045, 0.04, x + side + 0.045, 0.12, window)
    if picture.tree:
        _tree(canvas, 0.31 + rng.uniform(-0.02, 0.02), ground + 0.02, night)


def _water(canvas: Canvas, horizon: float, top: Colour, bottom: Colour) -> None:
    steps = 6
    for step in range(steps):
        upper = horizon + (canvas.bottom - horizon) * step / steps
        canvas.rectangle(-canvas.right, upper, canvas.right, canvas.bottom, mix(top, bottom, step / (steps - 1)))


def _sea(canvas: Canvas, picture: ScenePicture, _: Colour, rng: Random) -> None:
    canvas.fade(*_DAY)
    canvas.disc(rng.uniform(-0.06, 0.06), -0.2 + rng.uniform(-0.03, 0.03), 0.13, _SUN)
    _water(canvas, 0.1, (70, 150, 214), (24, 84, 160))


def _sunset(canvas: Canvas, picture: ScenePicture, _: Colour, rng: Random) -> None:
    canvas.fade((96, 48, 130), (255, 150, 60), until=0.1)
    canvas.disc(rng.uniform(-0.06, 0.06), 0.08, 0.17, (255, 206, 80))
    _water(canvas, 0.1, (150, 70, 110), (60, 34, 90))


def _mountains(canvas: Canvas, picture: ScenePicture, _: Colour, rng: Random) -> None:
    night = picture.time == "night"
    _sky(canvas, picture.time, rng)
    rock = mix((112, 118, 136), (10, 14, 40), 0.45 if night else 0)
    snow = mix(_WHITE, (60, 70, 130), 0.35 if night else 0)
    base = 0.32
    for x, peak, half in ((0.3, -0.05, 0.42), (-0.2, -0.24, 0.5)):
        x = x * canvas.right * 2 + rng.uniform(-0.03, 0.03)
        canvas.polygon([(x - half, base), (x, peak), (x + half, base)], rock)
        cap = 0.3
        drop = (base - peak) * cap
        canvas.polygon([(x - half * cap, peak + drop), (x, peak), (x + half * cap, peak + drop)], snow)
    _ground(canvas, base, _GRASS, night)


def _rocket(canvas: Canvas, picture: ScenePicture, colour: Colour, rng: Random) -> None:
    canvas.fade((10, 10, 34), (26, 20, 60))
    _stars(canvas, rng, 16, canvas.bottom)
    x, y = rng.uniform(-0.03, 0.03), rng.uniform(-0.04, 0.0)
    canvas.disc(-canvas.right + 0.16, canvas.bottom - 0.16, 0.11, (214, 150, 90))
    canvas.polygon([(x - 0.08, y + 0.24), (x + 0.08, y + 0.24), (x, y + 0.42)], (255, 160, 40))
    fin = mix(colour, _BLACK, 0.35)
    canvas.polygon([(x - 0.1, y + 0.02), (x - 0.22, y + 0.27), (x - 0.08, y + 0.22)], fin)
    canvas.polygon([(x + 0.1, y + 0.02), (x + 0.22, y + 0.27), (x + 0.08, y + 0.22)], fin)
    canvas.rectangle(x - 0.11, y - 0.12, x + 0.11, y + 0.24, colour)
    canvas.polygon([(x - 0.11, y - 0.115), (x, y - 0.34), (x + 0.11, y - 0.115)], colour)
    canvas.disc(x, y - 0.02, 0.06, (170, 220, 250))


def _snowman(canvas: Canvas, picture: ScenePicture, hat: Colour, rng: Random) -> None:
    canvas.fade((150, 186, 220), (196, 216, 236))
    canvas.rectangle(-canvas.right, 0.28, canvas.right, canvas.bottom, (238, 244, 250))
    x = rng.uniform(-0.03, 0.03)
    canvas.disc(x, 0.22, 0.19, _WHITE)
    canvas.disc(x, -0.08, 0.13, _WHITE)
    canvas.rectangle(x - 0.16, -0.2, x + 0.16, -0.16, hat)
    canvas.rectangle(x - 0.1, -0.36, x + 0.1, -0.18, hat)
    for eye in (-0.045, 0.045):
        canvas.disc(x + eye, -0.1, 0.017, _BLACK)
    canvas.polygon([(x, -0.075), (x, -0.04), (x + 0.1, -0.05)], (244, 130, 30))
    for button in (0.14, 0.23):
        canvas.disc(x, button, 0.018, _BLACK)


def _balloon(canvas: Canvas, picture: ScenePicture, colour: Colour, rng: Random) -> None:
    canvas.fade(*_DAY)
    for x, y in ((-canvas.right * 0.6, -canvas.bottom + 0.2), (canvas.right * 0.65, 0.24)):
        for shift in (-0.08, 0.0, 0.08):
            canvas.disc(x + shift, y, 0.06, _WHITE)
    x, y = rng.uniform(-0.04, 0.04), rng.uniform(-0.12, -0.06)
    canvas.line([(x, y + 0.27), (x + 0.03, y + 0.4), (x, y + 0.52)], 0.014, (90, 90, 96))
    canvas.ellipse(x, y, 0.2, 0.25, colour)
    canvas.polygon([(x - 0.04, y + 0.29), (x, y + 0.23), (x + 0.04, y + 0.29)], mix(colour, _BLACK, 0.25))
    canvas.ellipse(x - 0.08, y - 0.1, 0.035, 0.055, mix(colour, _WHITE, 0.6))


def _boat(canvas: Canvas, picture: ScenePicture, sail: Colour, rng: Random) -> None:
    night = picture.time == "night"
    _sky(canvas, picture.time, rng)
    dark = 0.5 if night else 0.0
    _water(canvas, 0.14, mix((70, 150, 214), (8, 12, 40), dark), mix((24, 84, 160), (8, 12, 40), dark))
    x = rng.uniform(-0.06, 0.03)
    canvas.polygon([(x - 0.28, 0.12), (x + 0.28, 0.12), (x + 0.18, 0.27), (x - 0.18, 0.27)], (128, 76, 40))
    canvas.rectangle(x - 0.015, -0.32, x + 0.015, 0.12, (84, 56, 34))
    canvas.polygon([(x + 0.03, -0.3), (x + 0.03, 0.08), (x + 0.26, 0.08)], sail)
    canvas.polygon([(x - 0.03, -0.22), (x - 0.03, 0.08), (x - 0.2, 0.08)], sail)


def _fish(canvas: Canvas, picture: ScenePicture, colour: Colour, rng: Random) -> None:
    canvas.fade((60, 160, 214), (16, 70, 140))
    x, y = rng.uniform(-0.02, 0.04), rng.uniform(-0.04, 0.04)
    canvas.polygon([(x + 0.16, y), (x + 0.36, y - 0.16), (x + 0.36, y + 0.16)], mix(colour, _BLACK, 0.15))
    canvas.ellipse(x - 0.04, y, 0.26, 0.17, colour)
    canvas.polygon([(x - 0.02, y + 0.02), (x + 0.1, y - 0.05), (x + 0.1, y + 0.09)], mix(colour, _BLACK, 0.25))
    canvas.disc(x - 0.19, y - 0.04, 0.04, _WHITE)
    canvas.disc(x - 0.2, y - 0.04, 0.02, _BLACK)
    for index, size in enumerate((0.03, 0.022, 0.016)):
        canvas.disc(x - 0.36, y - 0.1 - 0.11 * index, size, (190, 226, 246))


def _cat(canvas: Canvas, picture: ScenePicture, fur: Colour, rng: Random) -> None:
    backdrop = (250, 220, 170) if picture.colour in ("black", "white", "gray") else (176, 216, 214)
    canvas.fade(backdrop, backdrop)
    x, y = rng.uniform(-0.03, 0.03), 0.04 + rng.uniform(-0.02, 0.02)
    inner = (244, 170, 176)
    for side in (-1, 1):
        canvas.polygon([(x + side * 0.29, y - 0.08), (x + side * 0.27, y - 0.4), (x + side * 0.06, y - 0.22)], fur)
        canvas.polygon([(x + side * 0.25, y - 0.16), (x + side * 0.245, y - 0.32), (x + side * 0.14, y - 0.23)], inner)
    canvas.ellipse(x, y, 0.31, 0.27, fur)
    whisker = (236, 236, 236) if picture.colour == "black" else (60, 56, 56)
    for side in (-1, 1):
        canvas.ellipse(x + side * 0.12, y - 0.05, 0.05, 0.06, (140, 214, 90))
        canvas.ellipse(x + side * 0.12, y - 0.05, 0.02, 0.05, _BLACK)
        for tilt in (-0.02, 0.04):
            canvas.line([(x + side * 0.09, y + 0.1), (x + side * 0.38, y + 0.08 + tilt)], 0.014, whisker)
    canvas.polygon([(x - 0.035, y + 0.05), (x + 0.035, y + 0.05), (x, y + 0.09)], inner)


def _flower(canvas: Canvas, picture: ScenePicture, petals: Colour, rng: Random) -> None:
    canvas.fade((150, 206, 242), (214, 236, 250))
    canvas.rectangle(-canvas.right, 0.34, canvas.right, canvas.bottom, _GRASS)
    x, y = rng.uniform(-0.03, 0.03), -0.1
    canvas.line([(x, y), (x, 0.42)], 0.035, (40, 120, 50))
    canvas.ellipse(x + 0.09, 0.24, 0.09, 0.04, (40, 120, 50))
    for petal_x, petal_y in regular(6, x, y, 0.17, rng.uniform(-6, 6)):
        canvas.disc(petal_x, petal_y, 0.1, petals)
    canvas.disc(x, y, 0.1, (120, 72, 36) if picture.colour in ("yellow", "orange") else (252, 208, 50))


def _smiley(canvas: Canvas, picture: ScenePicture, colour: Colour, rng: Random) -> None:
    backdrop = vary(rng.choice([(250, 250, 248), (206, 226, 244), (226, 214, 240)]), rng)
    canvas.fade(backdrop, backdrop)
    x, y = rng.uniform(-0.03, 0.03), rng.uniform(-0.03, 0.03)
    canvas.disc(x, y, 0.36, colour)
    for side in (-0.13, 0.13):
        canvas.ellipse(x + side, y - 0.1, 0.04, 0.06, _BLACK)
    canvas.arc(x, y + 0.0, 0.22, 25, 155, 0.04, _BLACK)


def _car(canvas: Canvas, picture: ScenePicture, body: Colour, rng: Random) -> None:
    night = picture.time == "night"
    _sky(canvas, picture.time, rng)
    _ground(canvas, 0.16, _GRASS, night)
    canvas.rectangle(-canvas.right, 0.22, canvas.right, 0.42, (52, 52, 60) if night else (104, 106, 112))
    x = rng.uniform(-0.05, 0.05)
    canvas.polygon([(x - 0.2, 0.06), (x - 0.13, -0.1), (x + 0.13, -0.1), (x + 0.22, 0.06)], body)
    canvas.rectangle(x - 0.36, 0.04, x + 0.36, 0.22, body)
    glass = (255, 236, 150) if night else (190, 226, 246)
    canvas.polygon([(x - 0.15, 0.05), (x - 0.1, -0.06), (x - 0.015, -0.06), (x - 0.015, 0.05)], glass)
    canvas.polygon([(x + 0.015, 0.05), (x + 0.015, -0.06), (x + 0.1, -0.06), (x + 0.16, 0.05)], glass)
    for wheel in (-0.2, 0.2):
        canvas.disc(x + wheel, 0.23, 0.09, _BLACK)
        canvas.disc(x + wheel, 0.23, 0.04, (190, 190, 196))


def _rainbow(canvas: Canvas, picture: ScenePicture, _: Colour, rng: Random) -> None:
    canvas.fade(*_DAY)
    x = rng.uniform(-0.03, 0.03)
    bands = ("red", "orange", "yellow", "green", "blue", "purple")
    for index, band in enumerate(bands):
        canvas.arc(x, 0.28, 0.46 - 0.045 * index, 180, 360, 0.05, COLOURS[band])
    _ground(canvas, 0.28, _GRASS, night=False)


def _moon(canvas: Canvas, picture: ScenePicture, _: Colour, rng: Random) -> None:
    sky = (16, 20, 56)
    canvas.fade(sky, sky)
    x, y = rng.uniform(-0.04, 0.04), rng.uniform(-0.04, 0.04)
    for index in range(10):
        star_x = -canvas.right + 2 * canvas.right * (index + rng.uniform(0.3, 0.7)) / 10
        star_y = rng.uniform(-0.46, -0.3) if index % 2 else rng.uniform(0.3, 0.46)
        canvas.polygon(regular(5, star_x, star_y * canvas.bottom * 2, 0.035, 0, inner=0.015), _WHITE)
    canvas.disc(x, y, 0.24, (250, 234, 150))
    canvas.disc(x + 0.12, y - 0.06, 0.2, sky)


_Painter = Callable[[Canvas, ScenePicture, Colour, Random], None]
_PAINTERS: Final[dict[str, _Painter]] = {
    "house": _house,
    "sea": _sea,
    "sunset": _sunset,
    "mountains": _mountains,
    "rocket": _rocket,
    "snowman": _snowman,
    "balloon": _balloon,
    "boat": _boat,
    "fish": _fish,
    "cat": _cat,
    "flower": _flower,
    "smiley": _smiley,
    "car": _car,
    "rainbow": _rainbow,
    "moon": _moon,
}
