"""Put the pictures of the small world into words, in several phrasings each."""

import re
from dataclasses import replace
from random import Random
from typing import Final

from flux_core.tiny.world import (
    Backdrop,
    Picture,
    ScenePicture,
    ShapePicture,
    Thing,
    combination_is_held_out,
    is_held_out,
)

_PLACE_UNTOLD: Final = 0.2
"""Share of the placed pictures whose training caption does not say where."""

_COLOUR_WORDS: Final = {
    "red": ("crimson", "scarlet"),
    "yellow": ("golden",),
    "purple": ("violet",),
    "gray": ("grey", "silver"),
    "cyan": ("turquoise", "teal"),
    "pink": ("magenta",),
}
_SHAPE_WORDS: Final = {
    "circle": ("disc", "dot", "ball"),
    "square": ("box",),
    "diamond": ("rhombus",),
    "cross": ("plus",),
    "ring": ("donut",),
}
_SIZE_WORDS: Final = {"small": ("tiny", "little"), "medium": (), "large": ("big", "huge", "giant")}
_PLURALS: Final = {"box": "boxes", "cross": "crosses", "rhombus": "rhombuses", "plus": "pluses"}
_NUMBERS: Final = {2: ("two", "2", "a pair of"), 3: ("three", "3"), 4: ("four", "4"), 5: ("five", "5")}
_PREFIXES: Final = (
    "a picture of", "an image of", "a drawing of", "a painting of", "a photo of", "an illustration of", "draw",
    "show me", "a simple", "a flat icon of", "a cartoon of", "minimalist poster of", "a cute",
)  # fmt: skip
_SUFFIXES: Final = (
    "simple", "flat style", "high quality", "highly detailed", "minimalist", "digital art", "4k", "bright colors",
    "vector art", "beautiful", "oil painting", "watercolor", "in the style of a childrens book", "please",
)  # fmt: skip
_PLACES: Final = {
    "left": ("on the left", "on the left side", "in the left half", "at the left"),
    "right": ("on the right", "on the right side", "in the right half", "at the right"),
    "top": ("at the top", "in the upper half", "in the top half", "on top"),
    "bottom": ("at the bottom", "in the lower half", "in the bottom half"),
    "top left": ("in the top left corner", "in the upper left corner", "at the top left"),
    "top right": ("in the top right corner", "in the upper right corner", "at the top right"),
    "bottom left": ("in the bottom left corner", "in the lower left corner", "at the bottom left"),
    "bottom right": ("in the bottom right corner", "in the lower right corner", "at the bottom right"),
}
_RELATIONS: Final = {
    "left of": ("left of", "to the left of", "on the left of"),
    "right of": ("right of", "to the right of", "on the right of"),
    "above": ("above", "over", "on top of"),
    "below": ("below", "under", "beneath"),
    "and": ("and", "next to", "beside", "and"),
}
_SCENES: Final[dict[str, tuple[str, ...]]] = {
    "house": ("a house with a {c} roof", "a {c} house", "a cottage with a {c} roof"),
    "sea": ("the sun over the sea", "the sun above the ocean", "a sunny sea", "sun over water", "a sunny beach view",
            "the ocean under a sunny sky"),
    "sunset": ("a sunset over the sea", "a sunset", "sundown over the ocean", "the sea at sunset", "an evening sea",
               "a beautiful sunset at the beach"),
    "mountains": ("mountains with snow", "snowy mountains", "a mountain landscape", "snowy peaks"),
    "rocket": ("a {c} rocket in space", "a {c} spaceship flying through space", "a {c} rocket between stars",
               "a {c} rocket with a planet"),
    "snowman": ("a snowman with a {c} hat", "a smiling snowman in the snow with a {c} hat",
                "a winter scene with a snowman in a {c} hat"),
    "balloon": ("a {c} balloon in the sky", "a {c} balloon floating in the air", "a {c} balloon",
                "a flying {c} balloon"),
    "boat": ("a boat with a {c} sail on the sea", "a sailboat with {c} sails",
             "a sailing boat with {c} sails on the water", "a {c} sailboat on the ocean"),
    "fish": ("a {c} fish", "a {c} fish in the sea", "a {c} fish swimming underwater", "a {c} fish in water"),
    "cat": ("a {c} cat", "a {c} cat face", "the face of a {c} cat", "a {c} kitten", "the head of a {c} cat"),
    "flower": ("a {c} flower", "a flower with {c} petals", "a {c} flower in a meadow", "a {c} daisy on green grass"),
    "smiley": ("a {c} smiley", "a {c} smiling face", "a happy {c} face", "a {c} smiley face", "a {c} smile emoji"),
    "car": ("a {c} car", "a {c} car on the road", "a {c} car driving on a street", "a {c} automobile"),
    "rainbow": ("a rainbow", "a rainbow in the sky", "a rainbow over green hills", "a rainbow over a meadow",
                "a colorful rainbow landscape"),
    "moon": ("the moon and stars", "a crescent moon with stars", "a starry sky with the moon",
             "moon and stars in the sky", "a glowing moon at night"),
}  # fmt: skip
_TIMES: Final = {
    "day": ("by day", "during the day", "on a sunny day", "in the daytime", ""),
    "night": ("at night", "by night", "under a starry sky", "at midnight"),
}


def caption(picture: Picture, rng: Random) -> str:
    """Phrase the picture, lower case, now and then wrapped in the words people add ("a photo of …, 4k")."""
    text = _scene(picture, rng) if isinstance(picture, ScenePicture) else _shapes(picture, rng)
    if rng.random() < 0.14:
        prefix = rng.choice(_PREFIXES)
        bare = text.removeprefix("a ").removeprefix("an ").removeprefix("the ")
        text = f"{prefix} {bare if prefix.startswith('a') and not prefix.endswith('of') else text}"
    if rng.random() < 0.14:
        text = f"{text}, {rng.choice(_SUFFIXES)}"
    return text


def training_caption(picture: Picture, rng: Random) -> str:
    """Phrase the picture in words that are not held out; now and then a place is left for the picture to tell.

    Where no caption left a place open, a strong redrawing moved everything to the centre.
    """
    if isinstance(picture, ShapePicture) and picture.place and rng.random() < _PLACE_UNTOLD:
        untold = replace(picture, place=None)
        if not combination_is_held_out(untold):
            picture = untold
    while is_held_out(text := caption(picture, rng)):
        pass
    return text


def held_out_caption(picture: Picture, rng: Random) -> str:
    """Phrase a picture of the held-out set in words that training never saw, neither as text nor as combination.

    Scenes without a choice of colour have one combination only; for those the text is what is held out.
    """
    while not is_held_out(text := caption(picture, rng)):
        pass
    return text


def _word(name: str, words: dict[str, tuple[str, ...]], rng: Random) -> str:
    """Return the usual word three times in four, otherwise another one for the same."""
    others = words.get(name, ())
    return rng.choice(others) if others and rng.random() < 0.25 else name


def _with_article(text: str) -> str:
    return f"{'an' if text[0] in 'aeio' else 'a'} {text}"


def _named(thing: Thing, rng: Random) -> str:
    size = f"{_word(thing.size, _SIZE_WORDS, rng)} " if thing.size else ""
    return f"{size}{_word(thing.colour, _COLOUR_WORDS, rng)} {_word(thing.shape, _SHAPE_WORDS, rng)}"


def _plural(text: str) -> str:
    last = text.rsplit(" ", 1)[-1]
    return text.removesuffix(last) + _PLURALS.get(last, f"{last}s")


def _shapes(picture: ShapePicture, rng: Random) -> str:
    first = picture.things[0]
    if picture.relation:
        second = picture.things[1]
        relation = rng.choice(_RELATIONS[picture.relation])
        subject = f"{_with_article(_named(first, rng))} {relation} {_with_article(_named(second, rng))}"
    elif picture.count > 1:
        subject = f"{rng.choice(_NUMBERS[picture.count])} {_plural(_named(first, rng))}"
    else:
        named = _named(first, rng)
        subject = _with_article(named) if rng.random() < 0.92 else named
    place = rng.choice(_PLACES[picture.place]) if picture.place else ""
    backdrop = _backdrop(picture.backdrop, rng) if picture.backdrop.named else ""
    parts = [subject, backdrop, place] if rng.random() < 0.3 else [subject, place, backdrop]
    return " ".join(part for part in parts if part)


def _backdrop(backdrop: Backdrop, rng: Random) -> str:
    first, *rest = (_word(colour, _COLOUR_WORDS, rng) for colour in backdrop.colours)
    ground = "background" if rng.random() < 0.8 else "backdrop"
    if backdrop.kind == "plain":
        return rng.choice(
            (
                f"on {_with_article(first)} {ground}",
                f"on {_with_article(first)} {ground}",
                f"on a plain {first} {ground}",
                f"on {first}",
                f"with {_with_article(first)} {ground}",
                f"against {_with_article(first)} {ground}",
                f"in front of {_with_article(first)} {ground}",
            )
        )
    second = rest[0]
    phrasings = {
        "gradient": (
            f"on {_with_article(first)} to {second} gradient",
            f"on a gradient {ground} from {first} to {second}",
            f"on {_with_article(first)} {ground} fading to {second}",
        ),
        "striped": (
            f"on {_with_article(first)} and {second} striped {ground}",
            f"on {_with_article(first)} {ground} with {second} stripes",
        ),
        "checkered": (
            f"on {_with_article(first)} and {second} checkered {ground}",
            f"on {_with_article(first)} and {second} checkerboard",
        ),
        "dotted": (
            f"on {_with_article(first)} {ground} with {second} dots",
            f"on a dotted {first} and {second} {ground}",
        ),
    }
    return rng.choice(phrasings[backdrop.kind])


def _scene(picture: ScenePicture, rng: Random) -> str:
    text = rng.choice(_SCENES[picture.scene])
    if "{c}" in text:
        if picture.colour and picture.colour_named:
            text = text.replace("{c}", _word(picture.colour, _COLOUR_WORDS, rng))
        else:
            text = _without_colour(text)
    text = re.sub(r"\ba (?=[aeio])", "an ", text)
    if picture.tree:
        text += rng.choice((" and a tree", " next to a tree", " and a green tree"))
    if picture.time:
        text = f"{text} {rng.choice(_TIMES[picture.time])}".strip()
    return text


def _without_colour(text: str) -> str:
    """Leave the colour open; a part that was there only for its colour goes with it."""
    for part in (" with a {c} roof", " with a {c} hat", " in a {c} hat", " with {c} sails", " with a {c} sail",
                 " with {c} petals"):  # fmt: skip
        text = text.replace(part, "")
    return text.replace("{c} ", "")
