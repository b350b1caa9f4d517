"""The judge: right about the generator's own pictures, and not to be fooled by wrong ones."""

from dataclasses import replace
from random import Random

import numpy as np
from PIL import Image

from flux_core.tiny.drawing import draw
from flux_core.tiny.held_out import held_out_prompts
from flux_core.tiny.judging import judge_shapes
from flux_core.tiny.measuring import find_things, nearest_colour, structure_similarity
from flux_core.tiny.world import COLOURS, Backdrop, ShapePicture, Thing, sample_shapes

RED_ON_BLUE = ShapePicture((Thing("circle", "red"),), Backdrop("plain", ("blue",)), seed=5, place="left")


def test_the_generators_own_pictures_pass() -> None:
    shapes = [picture for _, picture in held_out_prompts()[::5] if isinstance(picture, ShapePicture)]
    for picture in shapes:
        verdict = judge_shapes(picture, draw(picture))
        assert not verdict.pop("swapped", False)
        assert all(verdict.values()), picture


def test_every_wrong_fact_is_noticed() -> None:
    image = draw(RED_ON_BLUE)
    wrong = {
        "subject colour": replace(RED_ON_BLUE, things=(Thing("circle", "green"),)),
        "backdrop colour": replace(RED_ON_BLUE, backdrop=Backdrop("plain", ("white",))),
        "shape": replace(RED_ON_BLUE, things=(Thing("star", "red"),)),
        "position": replace(RED_ON_BLUE, place="top left"),
        "count": replace(RED_ON_BLUE, place=None, count=3),
    }
    for measure, wanted in wrong.items():
        assert judge_shapes(wanted, image)[measure] is False, measure
    swapped = ShapePicture((Thing("circle", "blue"),), Backdrop("plain", ("red",)), seed=5)
    verdict = judge_shapes(swapped, image)
    assert verdict["swapped"]
    assert not verdict["both colours"]


def test_a_pair_in_the_wrong_order_is_noticed() -> None:
    things = (Thing("circle", "red"), Thing("square", "green"))
    pair = ShapePicture(things, Backdrop("plain", ("white",)), seed=1, relation="left of")
    image = draw(pair)
    assert judge_shapes(pair, image) == {"pair colours": True, "pair shapes": True}
    assert not judge_shapes(replace(pair, relation="right of"), image)["pair colours"]
    assert judge_shapes(replace(pair, relation="and", things=things[::-1]), image)["pair colours"]


def test_an_empty_picture_shows_nothing() -> None:
    blank = Image.new("RGB", (128, 128), COLOURS["blue"])
    assert find_things(blank) == []
    assert not any(judge_shapes(RED_ON_BLUE, blank).values())


def test_the_palette_names_itself() -> None:
    for name, levels in COLOURS.items():
        assert nearest_colour(np.array([levels])) == name


def test_structure_similarity_is_one_for_equal_pictures_only() -> None:
    first, second = (draw(sample_shapes(Random(seed), "placed")) for seed in (1, 2))
    assert structure_similarity(first, first) > 0.999
    assert structure_similarity(first, second) < 0.95
