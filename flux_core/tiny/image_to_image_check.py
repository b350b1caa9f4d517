"""Measure redrawing: a weak one must keep the composition, a strong one must follow the prompt in the old place."""

import math
from random import Random
from statistics import mean

from rich.console import Console
from rich.table import Table

from flux_core.tiny.captions import caption
from flux_core.tiny.drawing import draw
from flux_core.tiny.drawing_model import DrawingModel
from flux_core.tiny.measuring import backdrop_colour, find_things, structure_similarity
from flux_core.tiny.world import COLOURS, HALVES, Backdrop, ShapePicture, Thing

_PICTURES = 40
_SAME_PLACE = 0.15
"""A thing stayed where it was if its centre moved by less than this share of the side."""


def check_image_to_image(console: Console, model: DrawingModel) -> None:
    """Print, per strength, the similarity to the picture given and how often the new colours and the old place hold."""
    rng = Random("image to image")
    given, asked = [], []
    for number in range(_PICTURES):
        colours = rng.sample(list(COLOURS), 4)
        shape, place = rng.choice(("circle", "square", "heart", "star")), rng.choice(HALVES)
        given.append(ShapePicture((Thing(shape, colours[0]),), Backdrop("plain", (colours[1],)), number, place=place))
        asked.append(ShapePicture((Thing(shape, colours[2]),), Backdrop("plain", (colours[3],)), number))
    images = [draw(picture) for picture in given]
    prompts = [caption(picture, rng) for picture in asked]
    table = Table("strength", "similarity (SSIM)", "asked colours", "given colours", "same place")
    for strength in (0.1, 0.3, 0.5, 0.7, 0.8, 0.9):
        drawn = model.redraw(images, prompts, range(_PICTURES), strength=strength, steps=20)
        similarity, asked_right, given_right, placed = [], [], [], []
        for before, after, old, new in zip(images, drawn, given, asked, strict=True):
            similarity.append(structure_similarity(before, after))
            origin, things = find_things(before)[0], find_things(after)
            seen = (things[0].colour if things else None, backdrop_colour(after))
            asked_right.append(seen == (new.things[0].colour, new.backdrop.colours[0]))
            given_right.append(seen == (old.things[0].colour, old.backdrop.colours[0]))
            placed.append(bool(things) and math.dist((things[0].x, things[0].y), (origin.x, origin.y)) < _SAME_PLACE)
        table.add_row(
            f"{strength:g}",
            f"{mean(similarity):.3f}",
            f"{mean(asked_right):.0%}",
            f"{mean(given_right):.0%}",
            f"{mean(placed):.0%}",
        )
    console.print(table)
