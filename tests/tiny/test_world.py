"""The small world: the same picture from the same facts, and words and combinations that training never sees."""

import re
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from flux_core.tiny.captions import caption, training_caption
from flux_core.tiny.definition import NATIVE_SIZES
from flux_core.tiny.drawing import draw
from flux_core.tiny.held_out import COMPOSITION, held_out_prompts
from flux_core.tiny.latent_cache import Shard
from flux_core.tiny.vocabulary import WORDS
from flux_core.tiny.world import (
    RELATIONS,
    SCENES,
    SHAPES,
    ScenePicture,
    ShapePicture,
    combination_is_held_out,
    is_held_out,
    recolour,
    sample,
    sample_scene,
    sample_shapes,
)


def test_a_picture_is_drawn_the_same_every_time() -> None:
    for number in range(20):
        first, second = (sample(Random(number), scenes=0.5) for _ in range(2))
        assert first == second
        assert draw(first).tobytes() == draw(second).tobytes()


@pytest.mark.parametrize("size", NATIVE_SIZES.values())
def test_every_scene_fits_every_size(size: tuple[int, int]) -> None:
    for number, scene in enumerate(SCENES):
        image = draw(sample_scene(Random(number), scene), *size)
        assert image.size == size
        assert len(image.getcolors(maxcolors=size[0] * size[1]) or []) > 4


def test_a_recoloured_picture_keeps_its_layout() -> None:
    rng = Random("recolour")
    for _ in range(20):
        picture = sample_shapes(rng)
        other = recolour(picture, rng)
        assert isinstance(other, ShapePicture)
        if picture.backdrop.kind != "plain":
            continue
        masks = []
        for one in (picture, other):
            pixels = np.asarray(draw(one)).astype(int)
            masks.append(np.abs(pixels - pixels[1, 1]).max(axis=-1) > 30)
        assert (masks[0] == masks[1]).mean() > 0.97
        assert other.backdrop.colours[0] not in {thing.colour for thing in other.things}


def test_a_place_is_left_untold_now_and_then() -> None:
    rng = Random("untold")
    told = []
    for _ in range(300):
        picture = replace(sample_shapes(rng, "placed"), place="top left")
        told.append("left" in training_caption(picture, rng))
    assert 0.7 < sum(told) / len(told) < 0.92


def test_seeds_change_the_picture_but_not_the_facts() -> None:
    picture = sample_shapes(Random(1), "single")
    other = ShapePicture(picture.things, picture.backdrop, seed=picture.seed + 1)
    assert draw(picture).tobytes() != draw(other).tobytes()
    assert picture.combination == other.combination


def test_the_vocabulary_knows_every_word_of_the_captions() -> None:
    rng = Random(7)
    words = set()
    for _ in range(5000):
        words |= set(re.findall(r"[^\s,]+", caption(sample(rng, scenes=0.4), rng)))
    assert words <= set(WORDS)


def test_training_never_sees_a_held_out_combination_or_caption() -> None:
    rng = Random(3)
    pictures = [sample(rng, scenes=0.4) for _ in range(2000)]
    assert not any(combination_is_held_out(picture) for picture in pictures)
    assert not any(is_held_out(training_caption(picture, rng)) for picture in pictures)
    shard = Shard(False, 128, 128, 0).pictures()
    assert not any(combination_is_held_out(picture) for picture in shard)


def test_the_held_out_prompts_are_500_different_ones_from_every_family() -> None:
    prompts = held_out_prompts()
    texts = [text for text, _ in prompts]
    assert len(texts) == len(set(texts)) == 500 == sum(COMPOSITION.values())
    assert all(is_held_out(text) for text in texts)
    assert prompts == held_out_prompts()
    shapes = [picture for _, picture in prompts if isinstance(picture, ShapePicture)]
    scenes = [picture for _, picture in prompts if isinstance(picture, ScenePicture)]
    assert all(combination_is_held_out(picture) for picture in shapes)
    assert {picture.scene for picture in scenes} == set(SCENES)
    assert {picture.things[0].shape for picture in shapes} == set(SHAPES)
    assert {picture.relation for picture in shapes} == {None, *RELATIONS}


def test_captions_say_what_is_in_the_picture() -> None:
    rng = Random(11)
    picture = sample_shapes(rng, "count")
    number = {2: ("two", "2", "pair"), 3: ("three", "3"), 4: ("four", "4"), 5: ("five", "5")}[picture.count]
    assert set(number) & set(caption(picture, rng).split())
    orange = ScenePicture("cat", seed=0, colour="orange")
    assert all("an orange" in f" {text}" or "orange cat" in text for text in (caption(orange, rng) for _ in range(20)))
