"""List the 500 prompts the model is judged by. Training never sees them, neither as words nor as combination."""

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Final

from flux_core.tiny.captions import held_out_caption
from flux_core.tiny.world import (
    SCENES,
    Backdrop,
    Picture,
    ScenePicture,
    ShapePicture,
    combination_is_held_out,
    sample_scene,
    sample_shapes,
)

COMPOSITION: Final = {"single": 100, "sized": 50, "placed": 100, "count": 75, "pair": 75, "scene": 100}
"""Family → number of prompts. Shapes stand on plain backdrops here, the only ones whose facts can be measured."""


def held_out_prompts(seed: int = 2026) -> list[tuple[str, Picture]]:
    """Return the prompts with what they ask for, the same list on every machine."""
    rng = Random(f"held out {seed}")
    prompts: dict[str, Picture] = {}
    for family, count in COMPOSITION.items():
        pictures: Iterator[Picture] = _scenes(rng) if family == "scene" else _shapes(rng, family)
        wanted = len(prompts) + count
        while len(prompts) < wanted:
            picture = next(pictures)
            prompts.setdefault(held_out_caption(picture, rng), picture)
    return list(prompts.items())


def _shapes(rng: Random, family: str) -> Iterator[ShapePicture]:
    while True:
        picture = sample_shapes(rng, family)
        picture = replace(picture, backdrop=Backdrop("plain", picture.backdrop.colours[:1]))
        if combination_is_held_out(picture):
            yield picture


def _scenes(rng: Random) -> Iterator[ScenePicture]:
    """Draw every scene equally often, in a held-out combination where the scene has one; the words always are."""
    while True:
        for scene in SCENES:
            tries = [sample_scene(rng, scene) for _ in range(60)]
            yield next(filter(combination_is_held_out, tries), tries[0])
