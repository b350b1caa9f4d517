"""The model that ships: it loads offline, and what it draws is what the prompt says."""

import json
import socket

import numpy as np
import pytest
import torch
from PIL import Image

from flux_core.tiny.definition import ENLARGE, GUIDANCE, MAX_SEQUENCE_LENGTH, NATIVE_SIZES, WEIGHTS
from flux_core.tiny.drawing_model import DrawingModel
from flux_core.tiny.enlarge import enlarge
from flux_core.tiny.measuring import backdrop_colour, find_things, structure_similarity
from flux_core.tiny.world import SHAPES


@pytest.fixture(scope="module")
def model() -> DrawingModel:
    """The shipped weights, loaded while no connection can be opened."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("loading the shipped model opened a connection")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        return DrawingModel()


def _levels(image: Image.Image) -> np.ndarray:
    return np.asarray(image, int)


def test_it_is_a_flux_in_every_part(model: DrawingModel) -> None:
    index = json.loads((WEIGHTS / "model_index.json").read_text())
    assert index["_class_name"] == "FluxPipeline"
    assert {part: name for part, (_, name) in ((k, v) for k, v in index.items() if isinstance(v, list)) if name} == {
        "scheduler": "FlowMatchEulerDiscreteScheduler",
        "text_encoder": "CLIPTextModel",
        "text_encoder_2": "T5EncoderModel",
        "tokenizer": "PreTrainedTokenizerFast",
        "tokenizer_2": "PreTrainedTokenizerFast",
        "transformer": "FluxTransformer2DModel",
        "vae": "AutoencoderKL",
    }
    assert model.pipeline.transformer.config.guidance_embeds
    assert model.pipeline.vae_scale_factor == 8
    assert model.pipeline.vae.config.latent_channels == 16


@pytest.mark.parametrize(
    ("prompt", "subject", "backdrop"),
    [
        ("a red circle on a blue background", "red", "blue"),
        ("a blue square on a red background", "blue", "red"),
        ("a yellow star on a purple background", "yellow", "purple"),
        ("a green heart on a white background", "green", "white"),
        ("a white triangle on a black background", "white", "black"),
    ],
)
def test_colours_follow_the_prompt(model: DrawingModel, prompt: str, subject: str, backdrop: str) -> None:
    image = model.draw([prompt], [1])[0]
    assert backdrop_colour(image) == backdrop
    assert find_things(image)[0].colour == subject


@pytest.mark.parametrize(("place", "x", "y"), [("left", 0.25, 0.5), ("right", 0.75, 0.5), ("top", 0.5, 0.25)])
def test_places_follow_the_prompt(model: DrawingModel, place: str, x: float, y: float) -> None:
    preposition = "at the" if place == "top" else "on the"
    thing = find_things(model.draw([f"a red circle {preposition} {place} on a white background"], [2])[0])[0]
    assert (thing.x, thing.y) == (pytest.approx(x, abs=0.12), pytest.approx(y, abs=0.12))


def test_outlines_follow_the_prompt(model: DrawingModel) -> None:
    prompts = [f"a {colour} {shape} on a white background" for shape in SHAPES for colour in ("red", "blue")]
    drawn = model.draw(prompts, range(len(prompts)))
    seen = [find_things(image)[0].shape for image in drawn]
    wanted = [shape for shape in SHAPES for _ in range(2)]
    assert sum(one == other for one, other in zip(seen, wanted, strict=True)) >= 14, list(
        zip(wanted, seen, strict=True)
    )


def test_the_two_of_a_pair_keep_their_colours_and_sides(model: DrawingModel) -> None:
    [image] = model.draw(["a red circle left of a green square on a white background"], [1])
    left, right = sorted(find_things(image), key=lambda thing: thing.x)
    assert (left.colour, left.shape, right.colour, right.shape) == ("red", "circle", "green", "square")


def test_the_prompt_decides_more_than_the_seed(model: DrawingModel) -> None:
    red = model.draw(["a red circle on a blue background"] * 2, [1, 2])
    green = model.draw(["a green square on a yellow background"], [1])[0]
    among_seeds = np.abs(_levels(red[0]) - _levels(red[1])).mean()
    among_prompts = np.abs(_levels(red[0]) - _levels(green)).mean()
    assert 0 < among_seeds < among_prompts / 3


def test_the_same_seed_draws_the_same_bytes_and_another_seed_another_picture(model: DrawingModel) -> None:
    prompt = ["a house and a tree at night"]
    first, again, other = (model.draw(prompt, [seed], steps=4)[0] for seed in (7, 7, 8))
    assert first.tobytes() == again.tobytes()
    assert np.abs(_levels(first) - _levels(other)).mean() > 1


def test_a_batch_draws_what_single_runs_draw_within_one_level(model: DrawingModel) -> None:
    prompts = ["a red circle on a blue background", "a boat on the sea", "two green stars on white"]
    together = model.draw(prompts, [3, 4, 5], steps=4)
    for prompt, seed, image in zip(prompts, (3, 4, 5), together, strict=True):
        single = model.draw([prompt], [seed], steps=4)[0]
        assert np.abs(_levels(single) - _levels(image)).max() <= 1


@pytest.mark.parametrize("aspect", NATIVE_SIZES)
def test_every_aspect_is_drawn_and_enlarged_to_512_or_more(model: DrawingModel, aspect: str) -> None:
    size = NATIVE_SIZES[aspect]
    image = model.draw(["a red circle on a blue background"], [1], steps=4, size=size)[0]
    assert image.size == size
    large = enlarge(image)
    assert large.size == (size[0] * ENLARGE, size[1] * ENLARGE)
    assert min(large.size) >= 512
    if aspect in ("1:1", "3:2", "2:3", "16:9", "9:16"):
        assert backdrop_colour(image) == "blue"
        assert find_things(image)[0].colour == "red"


def test_day_is_brighter_than_night(model: DrawingModel) -> None:
    day, night = model.draw(["a house by day", "a house at night"], [1, 1])
    assert _levels(day)[:40].mean() > 1.5 * _levels(night)[:40].mean()


def test_steps_and_guidance_change_the_picture(model: DrawingModel) -> None:
    prompt, seed = ["three pink hearts on a black background"], [4]
    four, eight = (model.draw(prompt, seed, steps=steps)[0] for steps in (4, 8))
    weak, strong = (model.draw(prompt, seed, guidance=guidance)[0] for guidance in (1.0, 5.0))
    assert four.tobytes() != eight.tobytes()
    assert weak.tobytes() != strong.tobytes()


def test_a_weak_redraw_keeps_the_composition_and_a_strong_one_follows_the_prompt(model: DrawingModel) -> None:
    source = model.draw(["a red circle on the left on a white background"], [2])
    prompt = ["a blue circle on a yellow background"]
    weak, strong = (model.redraw(source, prompt, [3], strength=strength, steps=20)[0] for strength in (0.3, 0.8))
    assert structure_similarity(source[0], weak) > 0.8
    assert structure_similarity(source[0], weak) > structure_similarity(source[0], strong)
    assert backdrop_colour(weak) == "white"
    assert backdrop_colour(strong) == "yellow"


def test_prompts_outside_its_world_still_give_a_picture(model: DrawingModel) -> None:
    prompts = ["a dragon reading a newspaper in a library", "", "日本の庭園", "red " * 200]
    for image in model.draw(prompts, range(len(prompts)), steps=4):
        assert image.size == (128, 128)
        assert _levels(image).std() > 3


def test_it_is_loaded_in_single_precision_and_reads_32_tokens(model: DrawingModel) -> None:
    for part in ("transformer", "vae", "text_encoder", "text_encoder_2"):
        assert getattr(model.pipeline, part).dtype == torch.float32
    embeds, pooled, _ = model.pipeline.encode_prompt("a cat", None, max_sequence_length=MAX_SEQUENCE_LENGTH)
    assert embeds.shape == (1, 32, 128)
    assert pooled.shape == (1, 96)
    assert GUIDANCE > 1
