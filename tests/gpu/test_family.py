"""Every architecture of the family is drawn by its own pipeline, through the same engine as all others."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from diffusers import FluxTransformer2DModel
from PIL import Image, ImageChops

from flux_core.errors import Cancelled, ModelUnavailable
from flux_core.generation import GenerationRequest, InputPicture
from flux_core.gpu import loading
from flux_core.gpu.descent import AGAIN_SECONDS, Descent
from flux_core.gpu.device import facts_of
from flux_core.gpu.engine import Engine
from flux_core.gpu.fitting import large_encoder
from flux_core.gpu.loading import LoadedModel, load
from flux_core.gpu.pipelines import Start
from flux_core.gpu.profile import Profile
from flux_core.gpu.rehearsal import rehearsals, rehearse
from flux_core.models import Mode, ModelSpec
from tests.gpu import family
from tests.gpu.conftest import Watcher

CPU = torch.device("cpu")
PICTURE = Image.merge("RGB", [Image.linear_gradient("L").rotate(turn) for turn in (0, 90, 180)]).resize((80, 80))
OTHER = PICTURE.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
MASK = Image.new("RGB", (40, 40))
MASK.paste("white", (0, 0, 20, 40))


@dataclass(frozen=True)
class Member:
    """A model of the family, and what it is given."""

    spec: ModelSpec
    picture: Image.Image | None
    mask: Image.Image | None = None


def base(folder: Path) -> ModelSpec:
    return family.spec_of("flux-dev", folder)


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> dict[str, Member]:
    folder = tmp_path_factory.mktemp("family")
    klein = family.spec_of("flux-klein-4b", family.klein(folder / "klein"))
    redux = family.spec_of("flux-redux-dev", family.redux(folder / "redux"), base=base(tiny_folder))
    return {
        "krea": Member(family.spec_of("flux-krea-dev", tiny_folder), None),
        "fill": Member(family.spec_of("flux-fill-dev", family.fill(folder / "fill")), PICTURE, MASK),
        "redux": Member(redux, PICTURE),
        "klein": Member(klein, None),
        "klein-edit": Member(klein, PICTURE),
        "kontext": Member(family.spec_of("flux-kontext-dev", family.kontext(folder / "kontext")), PICTURE),
    }


@pytest.mark.parametrize("name", ["krea", "fill", "redux", "klein", "kontext"])
def test_each_is_rehearsed_in_every_mode(engine: Engine, members: dict[str, Member], name: str) -> None:
    spec = members[name].spec
    programme = list(rehearsals(spec, "cuda", tuple(Mode)))
    assert list(dict.fromkeys(one.request.mode for one in programme)) == list(Mode)
    assert len(programme) == (3 if members[name].picture is not None else 12)
    for one in (programme[0], programme[-1]):
        assert rehearse(engine, one, is_wanted=lambda: True) is True
        assert rehearse(engine, one, is_wanted=lambda: False) is None


MANY = ["krea", "fill", "redux", "klein", "klein-edit", "kontext"]


@pytest.fixture(scope="module")
def engine() -> Engine:
    """One for all: what one model leaves behind must not matter to the next."""
    return Engine(CPU)


def asked(member: Member, **changes: object) -> GenerationRequest:
    facts: dict[str, object] = {
        "prompt": "a red circle",
        "model": member.spec.id,
        "width": family.SIDE,
        "height": family.SIDE,
        "steps": 2,
        "guidance": None if member.spec.guidance is None else member.spec.guidance.default,
        "seed": 5,
        "count": 1,
        "input_picture": None if member.picture is None else InputPicture(key="p", width=80, height=80),
        "input_mask": None if member.mask is None else InputPicture(key="m", width=40, height=40),
    }
    return GenerationRequest.model_validate(facts | changes)


Draw = Callable[..., list[Image.Image]]


@pytest.fixture
def draw(engine: Engine) -> Draw:
    def drawn(member: Member, picture: Image.Image | None = None, **changes: object) -> list[Image.Image]:
        request = asked(member, **changes)
        return engine.draw(member.spec, request, picture or member.picture, Watcher(), member.mask)

    return drawn


def difference(one: Image.Image, other: Image.Image) -> int:
    return max(high for _, high in ImageChops.difference(one, other).getextrema())


@pytest.mark.parametrize("name", MANY)
def test_each_model_draws_tells_its_steps_and_shows_itself(
    engine: Engine, members: dict[str, Member], name: str
) -> None:
    member, watcher = members[name], Watcher()
    (picture,) = engine.draw(member.spec, asked(member), member.picture, watcher, member.mask)
    assert (picture.mode, picture.size) == ("RGB", (family.SIDE, family.SIDE))
    assert watcher.steps == [(0, 2), (1, 2), (2, 2)]
    assert [preview.size for preview in watcher.previews] == [(family.SIDE // 8, family.SIDE // 8)]


@pytest.mark.parametrize("name", MANY)
def test_words_and_seeds_have_a_say_and_a_batch_draws_as_single_runs_do(
    members: dict[str, Member], draw: Draw, name: str
) -> None:
    member = members[name]
    first, second = draw(member, count=2)
    (again,) = draw(member)
    (next_seed,) = draw(member, seed=6)
    (others_words,) = draw(member, prompt="a blue house")
    assert difference(first, again) <= 1
    assert difference(second, next_seed) <= 1
    assert difference(first, second) > 8
    assert difference(again, others_words) > 0


@pytest.mark.parametrize("name", ["fill", "redux", "klein-edit", "kontext"])
def test_the_picture_has_a_say(members: dict[str, Member], draw: Draw, name: str) -> None:
    member = members[name]
    (one,), (other,) = draw(member), draw(member, OTHER)
    assert difference(one, other) > 0


def test_what_the_mask_leaves_black_stays_as_it_was(members: dict[str, Member], draw: Draw) -> None:
    """The mask is of another size than the picture: it is scaled to it."""
    (picture,) = draw(members["fill"])
    before = numpy.asarray(PICTURE.resize((family.SIDE, family.SIDE), Image.Resampling.LANCZOS), dtype=int)
    change = abs(numpy.asarray(picture, dtype=int) - before).max(axis=2)
    edge = family.SIDE // 2
    assert change[:, edge + 3 :].max() == 0
    assert (change[:, : edge - 3] > 8).mean() > 0.5


def test_the_mask_of_a_picture_that_was_cropped_when_it_was_drawn_still_shows_the_same_places(
    members: dict[str, Member],
) -> None:
    """Brought twice as wide as it is drawn, and then varied: the mask is as it was, the picture a square."""
    wide = Image.new("RGB", (160, 80))
    wide.paste("white", (0, 0, 60, 80))
    request = asked(members["fill"])
    brought = Start(PICTURE.resize((160, 80)), wide).cropped_mask(request)
    varied = Start(Image.new("RGB", (request.width, request.height)), wide).cropped_mask(request)
    assert difference(brought.convert("RGB"), varied.convert("RGB")) < 64, "but for the smoothing of its edge"
    assert [brought.getpixel((x, 40)) for x in (8, 22)] == [varied.getpixel((x, 40)) for x in (8, 22)] == [255, 0]


def test_redux_draws_with_the_weights_of_dev(members: dict[str, Member], tiny_folder: Path) -> None:
    engine, member = Engine(CPU), members["redux"]
    engine.draw(member.spec, asked(member), member.picture, Watcher())
    assert engine.loaded == ["flux-dev", "flux-redux-dev"]
    dev, redux = engine.models.loaded.values()
    assert redux.pipeline is dev.pipeline
    with pytest.raises(ModelUnavailable, match="flux-dev"):
        load(member.spec, CPU)


def test_redux_falls_as_dev_does_where_memory_runs_out(members: dict[str, Member]) -> None:
    """Its own weights are next to nothing: to let go of those it draws with would win nothing, again and again."""
    engine, member, tried = Engine(CPU), members["redux"], list[torch.dtype]()

    def small_card(module: torch.nn.Module, _: object) -> None:
        if isinstance(module, FluxTransformer2DModel):
            tried.append(module.dtype)
            assert len(tried) < 9, "without end"
            if module.dtype is torch.float32:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    hook = torch.nn.modules.module.register_module_forward_pre_hook(small_card)
    try:
        assert engine.draw(member.spec, asked(member), member.picture, Watcher())
    finally:
        hook.remove()
    assert tried == [torch.float32, torch.bfloat16, torch.bfloat16]
    assert engine.loaded == ["flux-dev", "flux-redux-dev"]


def test_nothing_is_left_of_a_model_when_it_is_held_as_before_again(
    members: dict[str, Member], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both at once would not fit: it would fall again, and stay lean for good."""
    engine, member, now = Engine(CPU), members["redux"], [0.0]
    engine.profiles = engine.models._profiles = Descent(facts_of(CPU), clock=lambda: now[0])
    assert engine.profiles.fall(member.spec, Mode.QUALITY)
    engine.draw(member.spec, asked(member), member.picture, Watcher())
    lean = weakref.ref(engine.models.loaded["flux-dev"].pipeline.transformer)
    lean().forward = lean().forward  # type: ignore[union-attr]  # it refers to itself, as a compiled network does
    left: list[object] = []

    def loading(spec: ModelSpec, *how: Any, **base: Any) -> LoadedModel:
        left.append(lean())
        return load(spec, *how, **base)

    monkeypatch.setattr("flux_core.gpu.shelf.load", loading)
    now[0] += AGAIN_SECONDS
    gc.disable()
    try:
        engine.draw(member.spec, asked(member), member.picture, Watcher())
    finally:
        gc.enable()
    assert left == [None, None]
    assert engine.profiles.fallen(member.spec) is None
    assert engine.loaded == ["flux-dev", "flux-redux-dev"]


def test_the_encoder_that_klein_has_is_the_one_held_in_fewer_bits(
    members: dict[str, Member], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[frozenset[str]] = []

    def options(profile: Profile, parts: frozenset[str]) -> dict[str, object]:
        told.append(parts)
        return {"dtype": torch.float32}

    monkeypatch.setattr(loading, "loading_options", options)
    load(members["klein"].spec, CPU)
    load(members["krea"].spec, CPU)
    assert [large_encoder(parts) for parts in told] == ["text_encoder", "text_encoder_2"]


def test_the_weights_of_another_architecture_are_refused(tiny_folder: Path) -> None:
    """Kontext's pipeline would load FLUX.1 [dev]'s folder without a word, and draw nonsense."""
    with pytest.raises(ModelUnavailable, match=r"FluxPipeline, not for FluxKontextPipeline; check FLUX_KONTEXT_PATH"):
        load(family.spec_of("flux-kontext-dev", tiny_folder), CPU)


@pytest.mark.parametrize("name", ["fill", "klein-edit"])
def test_a_drawing_stops_within_one_step_and_the_next_one_is_whole(
    engine: Engine, members: dict[str, Member], draw: Draw, name: str
) -> None:
    member = members[name]
    (before,) = draw(member)
    watcher = Watcher(stop_at=1, error=Cancelled("enough"))
    with pytest.raises(Cancelled):
        engine.draw(member.spec, asked(member), member.picture, watcher, member.mask)
    assert watcher.steps[-1] == (1, 2)
    assert draw(member)[0].tobytes() == before.tobytes()
