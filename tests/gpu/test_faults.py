"""What goes wrong inside a drawing, provoked in the network itself: it is drawn once more, or ends in plain words."""

from __future__ import annotations

import contextlib
import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest
import torch
from diffusers import FluxTransformer2DModel
from PIL import Image

from flux_core.catalogue import Catalogue
from flux_core.errors import Cancelled, DrawingBroken, FluxError, OutOfMemory
from flux_core.generation import GenerationRequest
from flux_core.gpu.descent import AGAIN_SECONDS, Descent
from flux_core.gpu.device import facts_of
from flux_core.gpu.drawing import Piece
from flux_core.gpu.engine import Engine
from flux_core.gpu.loading import LoadedModel
from flux_core.gpu.memory import GIB, Weights
from flux_core.gpu.profile import Profile
from flux_core.metrics import definitions as m
from flux_core.models import Mode
from flux_core.tiny.definition import WEIGHTS
from flux_core.worker.watchdog import FIRST_SECONDS, Guarded, Watchdog
from tests.gpu.conftest import Watcher
from tests.gpu.test_engine import difference, draw

Ask = Callable[..., GenerationRequest]


@pytest.fixture
def model(engine: Engine, catalogue: Catalogue) -> LoadedModel:
    """The network that the engine draws flux-tiny with."""
    engine.load(catalogue["flux-tiny"])
    return engine.models.loaded["flux-tiny"]


@contextmanager
def fault(module: torch.nn.Module, act: Callable[[int, Any], Any]) -> Iterator[list[int]]:
    """Let ``act`` have the number of each call of ``module`` and what came of it, and return what shall come of it."""
    calls: list[int] = []

    def hook(_: torch.nn.Module, __: object, output: Any) -> Any:
        calls.append(len(calls) + 1)
        return act(calls[-1], output)

    handle = module.register_forward_hook(hook)
    try:
        yield calls
    finally:
        handle.remove()


def redrawn(reason: str) -> float:
    return m.REDRAWN.labels("flux-tiny", reason)._value.get()  # type: ignore[no-any-return]


def broken(number: int, output: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return (output[0] * torch.nan, *output[1:])


def test_numbers_that_are_none_are_drawn_once_more(
    engine: Engine, catalogue: Catalogue, ask: Ask, model: LoadedModel
) -> None:
    request = ask(count=2)
    right, before = draw(engine, catalogue, request), redrawn("broken")
    act = lambda number, output: broken(number, output) if number == 3 else output  # noqa: E731
    with fault(model.text_to_image.transformer, act) as calls:
        drawn = draw(engine, catalogue, request)
    assert [one.tobytes() for one in drawn] == [one.tobytes() for one in right]
    assert len(calls) == 2 * request.steps
    assert redrawn("broken") == before + 1


def test_numbers_that_are_none_every_time_are_no_drawing(
    engine: Engine, catalogue: Catalogue, ask: Ask, model: LoadedModel
) -> None:
    with (
        fault(model.text_to_image.transformer, broken) as calls,
        fault(model.text_to_image.vae.decoder, lambda *_: pytest.fail("nobody decodes them")),
        pytest.raises(DrawingBroken, match=r"numbers that are none\. It was drawn twice"),
    ):
        draw(engine, catalogue, ask(steps=2))
    assert len(calls) == 4
    assert draw(engine, catalogue, ask(steps=2))


def flat(level: float) -> Callable[[int, torch.Tensor], torch.Tensor]:
    return lambda number, output: torch.full_like(output, level)


def test_a_black_picture_is_drawn_once_more(engine: Engine, catalogue: Catalogue, ask: Ask, model: LoadedModel) -> None:
    request = ask(count=2)
    right, before = draw(engine, catalogue, request), redrawn("blank")
    act = lambda number, output: torch.full_like(output, -1.0) if number == 2 else output  # noqa: E731
    with fault(model.text_to_image.vae.decoder, act):
        drawn = draw(engine, catalogue, request)
    assert [one.tobytes() for one in drawn] == [one.tobytes() for one in right]
    assert redrawn("blank") == before + 1


def test_a_picture_of_one_colour_that_comes_out_twice_is_what_was_asked_for(
    engine: Engine, catalogue: Catalogue, ask: Ask, model: LoadedModel
) -> None:
    with fault(model.text_to_image.vae.decoder, flat(-1.0)) as calls:
        (drawn,) = draw(engine, catalogue, ask(steps=1, prompt="nothing but black"))
    assert (len(calls), drawn.getextrema()) == (2, ((0, 0), (0, 0), (0, 0)))


def test_another_colour_the_second_time_is_a_fault(
    engine: Engine, catalogue: Catalogue, ask: Ask, model: LoadedModel
) -> None:
    with (
        fault(
            model.text_to_image.vae.decoder, lambda number, output: torch.full_like(output, -1.0 if number == 1 else 0)
        ),
        pytest.raises(DrawingBroken, match=r"a single colour\. It was drawn twice"),
    ):
        draw(engine, catalogue, ask(steps=1))


def test_a_black_square_is_taken_for_one(ask: Ask) -> None:
    """By the model that ships: its plainest pictures are no plain colours."""
    catalogue = Catalogue({"flux-tiny": str(WEIGHTS)})
    engine, before = Engine(torch.device("cpu")), redrawn("blank")
    request = ask(prompt="a black square on a black background", steps=4)
    (drawn,) = draw(engine, catalogue, request)
    assert redrawn("blank") == before
    assert difference(drawn, Image.new("RGB", drawn.size)) < 255


def test_a_card_that_is_lost_ends_the_process_instead_of_failing_all_that_comes(
    catalogue: Catalogue, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an illegal access every later call fails: a worker would go through the queue and break each job of it."""
    from flux_core.gpu import engine as engine_module

    told: list[str] = []
    engine = Engine(torch.device("cpu"), watchdog=Watchdog(told.append))
    engine.load(catalogue["flux-tiny"])

    def lost(*_: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be …")

    with fault(engine.models.loaded["flux-tiny"].pipeline.transformer, lost):
        for answering, said in (
            (True, []),
            (False, ["The card answers no more (CUDA error: an illegal memory access was encountered)"]),
        ):
            monkeypatch.setattr(engine_module, "answers", lambda device, answering=answering: answering)
            with pytest.raises(DrawingBroken):
                draw(engine, catalogue, ask(steps=1))
            assert told == said


def too_much(*_: object) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has a total of …")


@contextmanager
def every_network(act: Callable[[FluxTransformer2DModel], None]) -> Iterator[None]:
    """Call ``act`` before each step of any FLUX network, also of one that is loaded later."""

    def hook(module: torch.nn.Module, _: object) -> None:
        if isinstance(module, FluxTransformer2DModel):
            act(module)

    handle = torch.nn.modules.module.register_module_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def test_what_does_not_fit_is_drawn_in_a_leaner_way_from_then_on(
    catalogue: Catalogue, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    engine, steps = Engine(torch.device("cpu")), list[torch.dtype]()

    def small_card(network: FluxTransformer2DModel) -> None:
        steps.append(network.dtype)
        if network.dtype is torch.float32:
            too_much()

    request, spec = ask(steps=2, mode="turbo"), catalogue["flux-tiny"]
    before = m.LEANER.labels("flux-tiny", "cpu-bf16")._value.get()
    with every_network(small_card):
        assert len(draw(engine, catalogue, request)) == 1
        assert steps == [torch.float32, torch.bfloat16, torch.bfloat16]
        assert len(draw(engine, catalogue, ask(steps=2))) == 1
    assert steps[3:] == [torch.bfloat16] * 2, "it stays with it, in every mode that shares the weights"
    assert {engine.profiles.standing(spec, mode).name for mode in Mode} == {"cpu-bf16"}
    assert m.LEANER.labels("flux-tiny", "cpu-bf16")._value.get() == before + 1
    (said,) = [line for line in caplog.messages if "ran out of memory" in line]
    assert said.startswith("flux-tiny ran out of memory as cpu (CUDA out of memory. Tried to allocate 2.00 GiB.): from")
    assert said.endswith("from now on it is cpu-bf16")


def test_what_did_not_fit_is_tried_again_later_each_time_after_twice_as_long(catalogue: Catalogue, ask: Ask) -> None:
    """A game has had the card, say: its worker shall not draw slowly until somebody starts it anew."""
    engine, spec, now = Engine(torch.device("cpu")), catalogue["flux-tiny"], [1000.0]
    engine.profiles = engine.models._profiles = Descent(facts_of(torch.device("cpu")), clock=lambda: now[0])
    taken: list[torch.dtype] = []

    def card(network: FluxTransformer2DModel) -> None:
        taken.append(network.dtype)
        if full and network.dtype is torch.float32:
            too_much()

    def drawn_in(seconds_later: float) -> list[torch.dtype]:
        now[0] += seconds_later
        taken.clear()
        assert draw(engine, catalogue, ask(steps=1))
        return taken

    with every_network(card):
        full = True
        assert drawn_in(0) == [torch.float32, torch.bfloat16]
        assert drawn_in(AGAIN_SECONDS - 1) == [torch.bfloat16]
        assert drawn_in(1) == [torch.float32, torch.bfloat16]
        assert engine.profiles.fallen(spec) is not None
        full = False
        assert drawn_in(AGAIN_SECONDS) == [torch.bfloat16], "it was in vain the last time"
        assert drawn_in(AGAIN_SECONDS) == [torch.float32]
        assert engine.profiles.fallen(spec) is None


class Patience(Watchdog):
    """Remembers how long what may be silent."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[tuple[str, float]] = []

    def over(self, what: str, seconds: float) -> contextlib.AbstractContextManager[Guarded]:
        self.given.append((what, seconds))
        return super().over(what, seconds)


def test_the_first_of_a_kind_may_take_long_each_time_that_it_is_one(catalogue: Catalogue, ask: Ask) -> None:
    """In a leaner way, or from a picture, something else is computed, and compiled: no hang after the usual minute."""
    patience = Patience()
    engine, spec, numbers = Engine(torch.device("cpu"), watchdog=patience), catalogue["flux-tiny"], count()

    def patience_for(request: GenerationRequest, picture: Image.Image | None = None) -> dict[str, bool]:
        patience.given.clear()
        fresh = request.model_copy(update={"prompt": f"{next(numbers)} circles"})
        engine.draw(spec, fresh, picture, Watcher())
        return {what.split()[0]: seconds == FIRST_SECONDS for what, seconds in patience.given}

    usual = {"putting": False, "reading": False, "a": False, "decoding": False}
    first = patience_for(ask(steps=1))
    assert first == {"loading": False, "putting": False, "reading": True, "a": True, "decoding": True}
    assert patience_for(ask(steps=1)) == usual
    assert patience_for(ask(steps=2, picture=True), Image.new("RGB", (64, 64), "red")) == usual | {"a": True}
    assert engine.profiles.fall(spec, Mode.QUALITY) is not None
    leaner = patience_for(ask(steps=1))
    assert leaner == usual | {"loading": False, "reading": True, "a": True}
    assert patience_for(ask(steps=1)) == usual


def test_words_that_are_known_are_no_measure_of_how_long_reading_takes(catalogue: Catalogue, ask: Ask) -> None:
    """A reroll reads nothing: the next new prompt may take as long as the first one did."""
    patience = Patience()
    engine, spec = Engine(torch.device("cpu"), watchdog=patience), catalogue["flux-tiny"]
    for _ in range(2):
        engine.draw(spec, ask(steps=1), None, Watcher())
    assert [what for what, _ in patience.given if what.startswith("reading")] == ["reading a prompt for flux-tiny"]


def test_other_models_go_before_one_becomes_leaner(catalogue: Catalogue, ask: Ask) -> None:
    engine = Engine(torch.device("cpu"))
    draw(engine, catalogue, ask(steps=1, model="flux-schnell", size="256x256"))

    def full(_: object) -> None:
        if len(engine.loaded) > 1:
            too_much()

    with every_network(full):
        assert draw(engine, catalogue, ask(steps=1))
    assert engine.loaded == ["flux-tiny"]
    assert engine.profiles.standing(catalogue["flux-tiny"]).name == "cpu"


def test_what_did_not_fit_keeps_no_memory(catalogue: Catalogue, ask: Ask) -> None:
    held: list[weakref.ref[torch.Tensor]] = []

    def full(number: int, output: Any) -> Any:
        held.append(weakref.ref(output[0]))
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    engine = Engine(torch.device("cpu"), profile="cpu-bf16")  # none is leaner
    engine.load(catalogue["flux-tiny"])
    model = engine.models.loaded["flux-tiny"]
    gc.collect()
    with fault(model.text_to_image.transformer.transformer_blocks[0], full), pytest.raises(OutOfMemory) as caught:
        draw(engine, catalogue, ask(count=4))
    assert len(held) == 3, "four at once, two, and one"
    assert [one() for one in held] == [None] * 3, "although the error itself is still there"
    assert "2.00 GiB" in str(caught.value)


def test_a_picture_that_cannot_be_decoded_at_first_is_decoded_when_memory_is_back(
    engine: Engine, catalogue: Catalogue, ask: Ask, model: LoadedModel
) -> None:
    request = ask(count=2, steps=2)
    right = draw(engine, catalogue, request)

    def once(number: int, output: Any) -> Any:
        if number == 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return output

    with fault(model.text_to_image.vae.decoder, once) as calls:
        drawn = draw(engine, catalogue, request)
    assert [one.tobytes() for one in drawn] == [one.tobytes() for one in right]
    assert len(calls) == 3


def test_who_decodes_carefully_leaves_the_decoder_as_it_was_and_disturbs_nobody(
    catalogue: Catalogue, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two drawings of one model: while one is decoded in other numbers, the other waits."""
    engine, request = Engine(torch.device("cpu"), profile="cpu-bf16"), ask(steps=1)
    engine.load(catalogue["flux-tiny"])
    vae = engine.models.loaded["flux-tiny"].pipeline.vae
    one, other = (engine.denoise(catalogue["flux-tiny"], [Piece(request, None, Watcher())]) for _ in range(2))
    assert one.decoder is other.decoder is not None
    convert, converted = torch.Tensor.float, list[torch.Tensor]()

    def full(numbers: torch.Tensor) -> torch.Tensor:
        converted.append(numbers)
        return too_much() if len(converted) == 5 else convert(numbers)

    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "float", full)
        with pytest.raises(torch.OutOfMemoryError):
            one.decoder.decode(one.latents[0].values, careful=True)
    assert vae.dtype is torch.bfloat16
    assert engine.develop(other)


def test_a_model_that_takes_too_much_of_main_memory_is_tried_in_a_leaner_way(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's own error for that is none of torch's."""
    from flux_core.gpu import shelf

    load, tried = shelf.load, list[str]()

    def small(spec: Any, device: Any, token: Any, profile: Any, **options: Any) -> LoadedModel:
        tried.append(profile.name)
        if len(tried) == 1:
            raise MemoryError
        return load(spec, device, token, profile, **options)

    monkeypatch.setattr(shelf, "load", small)
    engine = Engine(torch.device("cpu"))
    engine.load(catalogue["flux-tiny"])
    assert tried == ["cpu", "cpu-bf16"]


def test_a_model_that_would_fill_main_memory_takes_the_place_of_the_others(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system kills who takes too much of it, without an error that anybody could catch."""
    from flux_core.gpu import shelf

    engine = Engine(torch.device("cpu"))
    engine.load(catalogue["flux-tiny"])
    monkeypatch.setattr(shelf, "free_bytes", lambda device: 10 * GIB)
    brought = Profile(name="streamed", why="A test.", transformer=Weights.FP32, card_bytes=GIB, main_bytes=11 * GIB)
    monkeypatch.setattr(engine.profiles, "standing", lambda spec, mode: brought)
    engine.load(catalogue["flux-schnell"])
    assert engine.loaded == ["flux-schnell"]


@pytest.mark.parametrize("part", ["text_encoder_2", "decoder"])
def test_who_leaves_while_words_are_read_or_pixels_decoded_stops_that_too(
    engine: Engine, catalogue: Catalogue, ask: Ask, model: LoadedModel, part: str
) -> None:
    pipeline, watcher = model.text_to_image, Watcher()
    module = pipeline.vae.decoder if part == "decoder" else pipeline.text_encoder_2

    def leave(number: int, output: Any) -> Any:
        watcher.cancelled = True
        return output

    request = ask(count=3, steps=2, prompt=f"cancelled in the {part}")
    with (
        fault(module, leave),
        fault(pipeline.transformer, lambda number, output: output) as steps,
        fault(pipeline.vae.decoder, lambda number, output: output) as decoded,
        pytest.raises(Cancelled),
    ):
        engine.draw(catalogue["flux-tiny"], request, None, watcher)
    assert (len(steps), len(decoded)) == ((2, 1) if part == "decoder" else (0, 0))


def test_who_leaves_while_a_model_loads_is_not_drawn_for(
    catalogue: Catalogue, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flux_core.gpu import shelf

    load, watcher = shelf.load, Watcher()

    def slow(*args: Any, **options: Any) -> LoadedModel:
        watcher.cancelled = True
        return load(*args, **options)

    monkeypatch.setattr(shelf, "load", slow)
    with pytest.raises(FluxError):
        Engine(torch.device("cpu")).draw(catalogue["flux-tiny"], ask(), None, watcher)
    assert watcher.steps == []


def test_the_words_of_a_prompt_are_read_once(
    engine: Engine, catalogue: Catalogue, ask: Ask, model: LoadedModel
) -> None:
    with fault(model.text_to_image.text_encoder_2, lambda number, output: output) as reads:
        first = draw(engine, catalogue, ask(prompt="a word never heard before"))
        second = draw(engine, catalogue, ask(prompt="a word never heard before"))
        engine.read(catalogue["flux-tiny"], "another one")
        draw(engine, catalogue, ask(prompt="another one"))
    assert len(reads) == 2
    assert first[0].tobytes() == second[0].tobytes()


def test_words_take_only_so_much_memory(model: LoadedModel) -> None:
    from flux_core.gpu.words import Reader

    size = Reader(model).read("a").bytes
    reader = Reader(model, kept_bytes=2 * size)
    with fault(model.text_to_image.text_encoder_2, lambda number, output: output) as reads:
        for prompt in ("a", "b", "a", "c", "a", "b"):
            reader.read(prompt)
    assert len(reads) == 4, "a stays, being asked for; c drives b out"
    assert reader._size == 2 * size


def test_who_leaves_in_the_middle_of_turbo_leaves_nothing_of_its_cache(
    engine: Engine, catalogue: Catalogue, ask: Ask, model: LoadedModel
) -> None:
    request = ask(steps=6)
    right = draw(engine, catalogue, request)
    for watcher in (Watcher(stop_at=4, error=Cancelled()), Watcher()):
        turbo = ask(steps=6, mode="turbo")
        with contextlib.suppress(Cancelled):
            engine.draw(catalogue["flux-tiny"], turbo, None, watcher)
        assert model.text_to_image.transformer.is_cache_enabled is False
        (after,) = draw(engine, catalogue, request)
        assert after.tobytes() == right[0].tobytes()
    with (
        pytest.raises(DrawingBroken),
        fault(model.text_to_image.transformer.transformer_blocks[1], lambda *_: 1 / 0),
    ):
        draw(engine, catalogue, ask(steps=6, mode="turbo"))
    assert draw(engine, catalogue, request)[0].tobytes() == right[0].tobytes()
