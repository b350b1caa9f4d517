"""Describe the pictures flux-tiny learns: what is in them, independent of words and of pixels.

A picture is drawn from it by `flux_core.tiny.drawing` and put into words by `flux_core.tiny.captions`. The facts in
it are the ground truth that the evaluation measures against.
"""

import hashlib
from dataclasses import dataclass, replace
from random import Random
from typing import Final

COLOURS: Final[dict[str, tuple[int, int, int]]] = {
    "red": (222, 36, 40),
    "orange": (252, 140, 20),
    "yellow": (252, 222, 40),
    "green": (40, 160, 60),
    "blue": (36, 84, 212),
    "purple": (136, 52, 180),
    "pink": (250, 140, 190),
    "brown": (120, 72, 36),
    "black": (20, 20, 24),
    "white": (250, 250, 248),
    "gray": (136, 138, 142),
    "cyan": (60, 212, 222),
}
SHAPES: Final = ("circle", "square", "triangle", "star", "heart", "diamond", "cross", "ring")
SIZES: Final = ("small", "medium", "large")
HALVES: Final = ("left", "right", "top", "bottom")
CORNERS: Final = ("top left", "top right", "bottom left", "bottom right")
RELATIONS: Final = ("left of", "right of", "above", "below", "and")
BACKDROPS: Final = ("plain", "gradient", "striped", "checkered", "dotted")
COUNTS: Final = (2, 3, 4, 5)

SCENE_COLOURS: Final[dict[str, tuple[str, ...]]] = {
    "house": ("red", "orange", "green", "blue", "purple", "brown", "gray", "pink"),
    "sea": (),
    "sunset": (),
    "mountains": (),
    "rocket": ("red", "orange", "green", "blue", "purple", "white", "pink", "yellow"),
    "snowman": ("red", "green", "blue", "purple", "black", "orange"),
    "balloon": ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white"),
    "boat": ("red", "orange", "yellow", "white", "purple", "green", "pink"),
    "fish": ("red", "orange", "yellow", "green", "purple", "pink", "white"),
    "cat": ("orange", "black", "white", "gray", "brown"),
    "flower": ("red", "orange", "yellow", "blue", "purple", "pink", "white"),
    "smiley": ("yellow", "green", "blue", "pink", "orange", "red"),
    "car": ("red", "orange", "yellow", "green", "blue", "purple", "black", "white", "pink"),
    "rainbow": (),
    "moon": (),
}
"""Scene → colours its main thing may have (the roof, the hull's sail, the petals…); empty where it has only one."""
SCENES: Final = tuple(SCENE_COLOURS)
TIMES: Final = ("day", "night")
TIMED_SCENES: Final = ("house", "mountains", "boat", "car")


@dataclass(frozen=True)
class Thing:
    """One coloured shape; `size` is None where the caption leaves it open."""

    shape: str
    colour: str
    size: str | None = None


@dataclass(frozen=True)
class Backdrop:
    """What lies behind: one colour when plain, otherwise two; `named` says whether the caption tells."""

    kind: str
    colours: tuple[str, ...]
    named: bool = True


@dataclass(frozen=True)
class ShapePicture:
    """One thing, several equal things (`count`), or two things in a `relation`; `seed` fixes the small variations."""

    things: tuple[Thing, ...]
    backdrop: Backdrop
    seed: int
    place: str | None = None
    relation: str | None = None
    count: int = 1

    @property
    def combination(self) -> str:
        """Name what has to be understood together; whole combinations are kept from training."""
        things = "|".join(f"{thing.shape} {thing.colour}" for thing in self.things)
        return f"{things}|{self.place}|{self.count}|{' '.join(self.backdrop.colours)}"


@dataclass(frozen=True)
class ScenePicture:
    """A scene with the colour of its main thing and the time of day, either None where there is nothing to choose."""

    scene: str
    seed: int
    colour: str | None = None
    colour_named: bool = True
    time: str | None = None
    tree: bool = False

    @property
    def combination(self) -> str:
        """Name the combination; scenes without a choice have only one, and keep phrasings from training instead."""
        return f"{self.scene}|{self.colour}|{self.time}|{self.tree}"


Picture = ShapePicture | ScenePicture


def is_held_out(text: str, one_in: int = 12) -> bool:
    """Decide by hash, the same on every machine, whether a combination or caption is kept from training."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % one_in == 0


def combination_is_held_out(picture: Picture) -> bool:
    """Say whether the picture's combination is kept from training."""
    if isinstance(picture, ScenePicture) and (picture.colour is None or not picture.colour_named):
        return False
    return is_held_out(picture.combination)


FAMILIES: Final[dict[str, float]] = {"single": 0.22, "sized": 0.14, "placed": 0.21, "count": 0.15, "pair": 0.28}
"""Family of shape pictures → how often it is drawn in training."""


def sample_shapes(rng: Random, family: str | None = None) -> ShapePicture:
    """Draw a shape picture from the whole world, held-out combinations included."""
    family = family or rng.choices(list(FAMILIES), weights=list(FAMILIES.values()))[0]
    seed = rng.getrandbits(32)
    palette = list(COLOURS)
    if family == "pair":
        first, second = rng.sample(palette, 2)
        both = (Thing(rng.choice(SHAPES), first), Thing(rng.choice(SHAPES), second))
        return ShapePicture(both, _sample_backdrop(rng, both, seed, 0.95), seed, relation=rng.choice(RELATIONS))
    colour = rng.choice(palette)
    shape = rng.choice(SHAPES)
    things = (Thing(shape, colour),)
    if family == "count":
        return ShapePicture(things, _sample_backdrop(rng, things, seed, 0.95), seed, count=rng.choice(COUNTS))
    if family == "placed":
        place = rng.choice(HALVES if rng.random() < 0.5 else CORNERS)
        size = rng.choice(("small", "large")) if rng.random() < 0.15 else None
        things = (Thing(shape, colour, size),)
        return ShapePicture(things, _sample_backdrop(rng, things, seed, 0.9), seed, place=place)
    if family == "sized":
        things = (Thing(shape, colour, rng.choice(SIZES)),)
        return ShapePicture(things, _sample_backdrop(rng, things, seed, 0.85), seed)
    return ShapePicture(things, _sample_backdrop(rng, things, seed, 0.72), seed)


def _sample_backdrop(rng: Random, things: tuple[Thing, ...], seed: int, plain: float) -> Backdrop:
    """Draw a backdrop; only the usual one may go unnamed.

    Where the caption left the backdrop open, the model learned the muddy mean of all colours.
    """
    taken = [thing.colour for thing in things]
    free = [colour for colour in COLOURS if colour not in taken]
    if rng.random() < plain:
        colour = rng.choice(free)
        rng.random()  # spent so that shards encoded before this rule keep their pictures
        usual = "black" if "white" in taken else "white"
        return Backdrop("plain", (colour,), named=colour != usual or seed % 5 < 2)
    first, second = rng.sample(free, 2)
    return Backdrop(rng.choice(BACKDROPS[1:]), (first, second))


def sample_scene(rng: Random, scene: str | None = None) -> ScenePicture:
    """Draw a scene from the whole world, held-out combinations included."""
    scene = scene or rng.choice(SCENES)
    colours = SCENE_COLOURS[scene]
    colour = rng.choice(colours) if colours else None
    usual = {"smiley": "yellow"}.get(scene)
    named = rng.random() < 0.75
    if usual and not named:
        colour = usual
    time = rng.choice(TIMES) if scene in TIMED_SCENES else None
    return ScenePicture(
        scene,
        rng.getrandbits(32),
        colour=colour,
        colour_named=named,
        time=time,
        tree=scene == "house" and rng.random() < 0.6,
    )


def sample(rng: Random, scenes: float, *, held_out: bool = False) -> Picture:
    """Draw a picture that is (or is not) kept from training; `scenes` is the share of scenes, 0 to 1."""
    while True:
        picture: Picture = sample_scene(rng) if rng.random() < scenes else sample_shapes(rng)
        if combination_is_held_out(picture) == held_out:
            return picture


def recolour(picture: Picture, rng: Random) -> Picture:
    """Return a picture of shapes in the same layout with all its colours drawn anew, any other picture as it is."""
    if isinstance(picture, ScenePicture):
        return picture
    colours = rng.sample(list(COLOURS), len(picture.things) + len(picture.backdrop.colours))
    things = tuple(replace(thing, colour=colours.pop()) for thing in picture.things)
    return replace(picture, things=things, backdrop=replace(picture.backdrop, colours=tuple(colours)))
