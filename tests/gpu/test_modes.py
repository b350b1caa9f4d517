"""The quicker modes, drawn for real: how near they are to quality, and that nothing of them is left."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

import flux_core.tiny
from flux_core.batching import shape_of
from flux_core.catalogue import Catalogue
from flux_core.errors import Cancelled
from flux_core.generation import GenerationRequest, InputPicture, RequestOptions, resolve
from flux_core.gpu.engine import Engine
from flux_core.gpu.fidelity import compare, errors, psnr, similarity
from flux_core.models import Mode
from flux_core.providers.base import DrawTask
from flux_core.providers.local import LocalProvider
from tests.gpu.conftest import Watcher

CPU = torch.device("cpu")
Ask = Callable[..., GenerationRequest]


def draw(engine: Engine, catalogue: Catalogue, request: GenerationRequest, picture: Image.Image | None = None) -> bytes:
    (drawn,) = engine.draw(catalogue[request.model], request, picture, Watcher())
    return drawn.tobytes()


@pytest.fixture(scope="module")
def shipped() -> Catalogue:
    return Catalogue({"flux-tiny": str(Path(flux_core.tiny.__file__).parent / "weights")})


def test_the_quicker_modes_draw_nearly_the_same_pictures(shipped: Catalogue) -> None:
    found = errors(shipped["flux-tiny"], CPU, prompts=("a green star above a purple triangle",))
    assert set(found) == {Mode.FAST, Mode.TURBO}
    for mode, fidelity in found.items():
        assert 32 < fidelity.worst_psnr < 80, f"{mode}: {fidelity}"
        assert fidelity.worst_similarity > 0.99, f"{mode}: {fidelity}"


def test_the_measures_tell_a_broken_picture_from_a_good_one() -> None:
    generator = numpy.random.default_rng(5)
    good = Image.fromarray(generator.integers(0, 255, (128, 128, 3), dtype=numpy.uint8).repeat(4, 0)[:128])
    noise = numpy.clip(numpy.asarray(good, dtype=float) + generator.normal(0, 5, (128, 128, 3)), 0, 255)
    near = Image.fromarray(noise.astype(numpy.uint8))
    black = Image.new("RGB", good.size)
    assert psnr(good, good) == inf
    assert similarity(good, good) == pytest.approx(1)
    assert psnr(good, near) == pytest.approx(34, abs=1), "20·log10(255 / 5)"
    assert similarity(good, near) > 0.98 > 0.2 > similarity(good, black)
    assert psnr(good, black) < 10
    told = compare([good, good], [near, black])
    assert told.worst_psnr == psnr(good, black) < told.psnr


@pytest.mark.parametrize("picture", [False, True], ids=["from words", "from a picture"])
def test_turbo_leaves_steps_out_and_leaves_nothing_behind(shipped: Catalogue, picture: bool) -> None:
    start = Image.linear_gradient("L").convert("RGB") if picture else None
    given = InputPicture(key="x", width=60, height=60) if picture else None
    wanted = RequestOptions(prompt="a red circle", seed=7, count=1)
    exact = resolve(wanted, shipped, picture=given)
    quick = exact.model_copy(update={"mode": Mode.TURBO})
    engine = Engine(CPU)
    before = draw(engine, shipped, exact, start)
    (held,) = engine.models.loaded.values()
    last = held.text_to_image.transformer.single_transformer_blocks[-1]
    computed: list[int] = []
    handle = last.attn.register_forward_hook(lambda *_: computed.append(1))
    drawn = draw(engine, shipped, quick, start)
    handle.remove()
    assert 0 < len(computed) < exact.steps_taken
    assert drawn != before
    assert engine.loaded == ["flux-tiny"], "turbo needs no weights of its own here"
    with pytest.raises(Cancelled):
        engine.draw(shipped["flux-tiny"], quick, start, Watcher(stop_at=3, error=Cancelled()))
    assert draw(engine, shipped, exact, start) == before
    assert draw(engine, shipped, quick, start) == drawn


def test_who_cannot_draw_a_mode_says_why(catalogue: Catalogue) -> None:
    profiles = Engine(CPU).profiles
    spec = catalogue["flux-tiny"]
    assert profiles.modes(spec) == (Mode.QUALITY, Mode.TURBO)
    assert profiles.standing(spec, Mode.FAST).mode is Mode.QUALITY
    assert profiles.why(spec, Mode.FAST) == "a processor is no faster in 8 bits"
    assert profiles.why(spec, Mode.TURBO) is None


async def test_a_worker_tells_which_modes_it_has_and_which_it_drew_in(catalogue: Catalogue, ask: Ask) -> None:
    provider = LocalProvider(catalogue, device="cpu", threads=1)
    try:
        assert {offer.modes for offer in provider.offers.values()} == {(Mode.QUALITY, Mode.TURBO)}
        told = {}
        for mode in Mode:
            task = DrawTask(job_id="a", request=ask(mode=mode.value, steps=1))
            drawing = await provider.draw(task, Watcher())
            told[mode] = (drawing.mode, drawing.why_mode)
    finally:
        await provider.close()
    assert told == {
        Mode.QUALITY: (Mode.QUALITY, None),
        Mode.FAST: (Mode.QUALITY, "a processor is no faster in 8 bits"),
        Mode.TURBO: (Mode.TURBO, None),
    }


def test_turbo_is_drawn_alone_so_that_company_changes_nothing(ask: Ask) -> None:
    assert shape_of(ask(mode="turbo")) is None
    assert shape_of(ask(mode="fast")) != shape_of(ask())
