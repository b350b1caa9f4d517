"""The engine draws with the real FLUX pipelines, on a tiny model with random weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from PIL import Image, ImageChops

from flux_core.catalogue import Catalogue
from flux_core.errors import Cancelled, DrawingBroken, LeaseLost, ModelUnavailable, OutOfMemory
from flux_core.generation import GenerationRequest
from flux_core.gpu import engine as engine_module
from flux_core.gpu import shelf
from flux_core.gpu.engine import Engine
from flux_core.gpu.loading import load
from flux_core.models import steps_taken
from tests.gpu.conftest import Watcher

Ask = Callable[..., GenerationRequest]


def difference(one: Image.Image, other: Image.Image) -> int:
    """Return the largest difference of any pixel, in levels of 8 bits."""
    extrema = ImageChops.difference(one, other).getextrema()
    return max(high for _, high in extrema)


def gradient() -> Image.Image:
    ramp = Image.linear_gradient("L").resize((60, 60))
    return Image.merge("RGB", (ramp, ImageChops.invert(ramp), ramp.rotate(90)))


def draw(
    engine: Engine, catalogue: Catalogue, request: GenerationRequest, picture: Image.Image | None = None
) -> list[Image.Image]:
    return engine.draw(catalogue[request.model], request, picture, Watcher())


def test_the_same_request_gives_the_same_bytes(engine: Engine, catalogue: Catalogue, ask: Ask) -> None:
    request = ask(count=3)
    first, second = draw(engine, catalogue, request), draw(engine, catalogue, request)
    assert [picture.tobytes() for picture in first] == [picture.tobytes() for picture in second]
    another = Engine(torch.device("cpu"))
    assert [picture.tobytes() for picture in draw(another, catalogue, request)] == [p.tobytes() for p in first]


@pytest.mark.parametrize("picture", [None, gradient()], ids=["text", "picture"])
def test_a_picture_of_a_batch_is_the_single_picture_of_its_seed(
    engine: Engine, catalogue: Catalogue, ask: Ask, picture: Image.Image | None
) -> None:
    options = {"picture": True, "strength": 0.5} if picture else {}
    batch = draw(engine, catalogue, ask(count=4, seed=20, **options), picture)
    for i, found in enumerate(batch):
        (single,) = draw(engine, catalogue, ask(count=1, seed=20 + i, **options), picture)
        assert difference(found, single) <= 1
    assert all(difference(batch[0], other) > 8 for other in batch[1:])


def test_drawing_in_several_batches_draws_the_same(
    engine: Engine, catalogue: Catalogue, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = ask(count=4, steps=2)
    whole = draw(engine, catalogue, request)
    monkeypatch.setitem(engine_module.BATCH_PIXELS, "cpu", 2 * 128 * 128)
    watcher = Watcher()
    parts = engine.draw(catalogue[request.model], request, None, watcher)
    assert all(difference(one, other) <= 1 for one, other in zip(whole, parts, strict=True))
    assert watcher.steps == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize("change", [{"seed": 8}, {"prompt": "a blue square"}, {"steps": 5}, {"guidance": 1.0}])
def test_everything_asked_for_has_a_say(
    engine: Engine, catalogue: Catalogue, ask: Ask, change: dict[str, object]
) -> None:
    (base,) = draw(engine, catalogue, ask())
    (other,) = draw(engine, catalogue, ask(**change))
    assert difference(base, other) > 0


def test_the_largest_seed_of_a_batch_is_drawn(engine: Engine, catalogue: Catalogue, ask: Ask) -> None:
    assert len(draw(engine, catalogue, ask(seed=2**32 - 1, count=4, steps=1))) == 4


@pytest.mark.parametrize(("aspect", "size"), [("1:1", (128, 128)), ("16:9", (224, 128)), ("9:21", (128, 304))])
def test_a_picture_has_the_size_asked_for(
    engine: Engine, catalogue: Catalogue, ask: Ask, aspect: str, size: tuple[int, int]
) -> None:
    request = ask(aspect=aspect, steps=1)
    (picture,) = draw(engine, catalogue, request)
    assert picture.size == (request.width, request.height) == size
    assert picture.mode == "RGB"


def test_steps_are_told_from_the_beginning_to_the_end(engine: Engine, catalogue: Catalogue, ask: Ask) -> None:
    watcher = Watcher()
    engine.draw(catalogue["flux-tiny"], ask(count=2, steps=5), None, watcher)
    assert watcher.steps == [(n, 5) for n in range(6)]


@pytest.mark.parametrize(("steps", "strength"), [(4, 0.05), (1, 0.05), (8, 0.3), (8, 0.55), (28, 0.6), (7, 1.0)])
def test_from_a_picture_the_steps_really_taken_are_told(
    engine: Engine, catalogue: Catalogue, ask: Ask, steps: int, strength: float
) -> None:
    watcher = Watcher()
    request = ask(picture=True, steps=steps, strength=strength)
    engine.draw(catalogue["flux-tiny"], request, gradient(), watcher)
    total = watcher.steps[-1][1]
    assert watcher.steps == [(n, total) for n in range(total + 1)]
    assert total == max(1, -int(-steps * strength // 1))


def test_a_low_strength_keeps_more_of_the_picture(engine: Engine, catalogue: Catalogue, ask: Ask) -> None:
    def distance(strength: float) -> float:
        request = ask(picture=True, strength=strength, steps=10)
        (drawn,) = draw(engine, catalogue, request, gradient())
        (redrawn,) = draw(engine, catalogue, ask(picture=True, strength=0.05, steps=20), gradient())
        return float(numpy.abs(numpy.asarray(drawn, float) - numpy.asarray(redrawn, float)).mean())

    assert distance(0.1) < distance(0.5) < distance(1.0)


def test_any_picture_is_cropped_to_the_drawn_size(engine: Engine, catalogue: Catalogue, ask: Ask) -> None:
    request = ask(picture=True, aspect="3:2", strength=0.3)
    for mode, size in (("RGB", (500, 20)), ("L", (3, 400)), ("RGBA", (64, 64))):
        (drawn,) = draw(engine, catalogue, request, Image.new(mode, size, 90))
        assert drawn.size == (192, 128)


@pytest.mark.parametrize("error", [Cancelled(), LeaseLost()])
@pytest.mark.parametrize("picture", [None, gradient()], ids=["text", "picture"])
def test_a_drawing_stops_within_one_step_and_the_next_is_unharmed(
    engine: Engine, catalogue: Catalogue, ask: Ask, error: Cancelled | LeaseLost, picture: Image.Image | None
) -> None:
    request = ask(picture=picture is not None, steps=8)
    before = draw(engine, catalogue, request, picture)
    watcher = Watcher(stop_at=2, error=error)
    with pytest.raises(type(error)) as caught:
        engine.draw(catalogue[request.model], request, picture, watcher)
    assert caught.value is error
    assert watcher.steps[-1][0] == 2
    after = draw(engine, catalogue, request, picture)
    assert before[0].tobytes() == after[0].tobytes()


def test_a_drawing_that_nobody_wants_does_not_begin(engine: Engine, catalogue: Catalogue, ask: Ask) -> None:
    watcher = Watcher(stop_at=0, error=Cancelled())
    with pytest.raises(Cancelled):
        engine.draw(catalogue["flux-tiny"], ask(), None, watcher)
    assert watcher.steps == [(0, 4)]


def test_models_stay_loaded_side_by_side_while_memory_allows(
    catalogue: Catalogue, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(torch.device("cpu"))
    draw(engine, catalogue, ask(steps=1))
    draw(engine, catalogue, ask(steps=1, model="flux-schnell", size="256x256"))
    assert engine.loaded == ["flux-tiny", "flux-schnell"]
    draw(engine, catalogue, ask(steps=1))
    assert engine.loaded == ["flux-schnell", "flux-tiny"]
    engine.unload()
    assert engine.loaded == []
    monkeypatch.setattr(shelf, "free_bytes", lambda device: 1_000_000)
    draw(engine, catalogue, ask(steps=1))
    draw(engine, catalogue, ask(steps=1, model="flux-schnell", size="256x256"))
    assert engine.loaded == ["flux-schnell"]


def test_a_model_without_guidance_draws_its_own_size(engine: Engine, catalogue: Catalogue, ask: Ask) -> None:
    request = ask(model="flux-schnell", size="320x256", steps=1, guidance=9.0)
    assert request.guidance is None
    assert draw(engine, catalogue, request)[0].size == (320, 256)


def test_memory_that_does_not_suffice_halves_the_batch(
    engine: Engine, catalogue: Catalogue, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = ask(count=4, steps=2)
    whole = draw(engine, catalogue, request)
    sizes: list[int] = []
    drawn = Engine._draw_batch

    def small_card(self: Engine, model: Any, pieces: Any, words: Any, shots: list[Any], *rest: Any) -> Any:
        sizes.append(len(shots))
        if len(shots) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has …")
        return drawn(self, model, pieces, words, shots, *rest)

    monkeypatch.setattr(Engine, "_draw_batch", small_card)
    assert all(difference(a, b) <= 1 for a, b in zip(whole, draw(engine, catalogue, request), strict=True))
    assert sizes == [4, 2, 1, 1, 1, 1]


def test_a_single_picture_that_does_not_fit_is_out_of_memory(
    catalogue: Catalogue, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(torch.device("cpu"), profile="cpu-bf16")  # none is leaner

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")

    monkeypatch.setattr(Engine, "_draw_batch", full)
    with pytest.raises(OutOfMemory, match=r"flux-tiny at 128×128: CUDA out of memory\. Tried to allocate 2\.00 GiB\.$"):
        draw(engine, catalogue, ask(count=4))


def test_what_the_libraries_raise_becomes_our_own_error(engine: Engine, catalogue: Catalogue, ask: Ask) -> None:
    impossible = ask().model_copy(update={"steps": -1})
    with pytest.raises(DrawingBroken, match="flux-tiny: "):
        draw(engine, catalogue, impossible)
    assert draw(engine, catalogue, ask())


def test_a_folder_that_is_not_there_is_named(engine: Engine, catalogue: Catalogue, ask: Ask, tmp_path: Path) -> None:
    spec = replace(catalogue["flux-tiny"], id="flux-dev", source=str(tmp_path / "gone"))
    with pytest.raises(ModelUnavailable, match=r"gone; FLUX_DEV_PATH") as caught:
        engine.draw(spec, ask(), None, Watcher())
    assert caught.value.facts == {"model": "flux-dev"}
    assert draw(engine, catalogue, ask())


def test_steps_are_counted_and_paid_as_diffusers_takes_them(catalogue: Catalogue) -> None:
    pipeline = load(catalogue["flux-tiny"], torch.device("cpu")).image_to_image
    for steps, percent in product(range(1, 51), range(5, 101)):
        _, taken = pipeline.get_timesteps(steps, percent / 100, torch.device("cpu"))
        assert steps_taken(steps, percent / 100) == taken, (steps, percent)
