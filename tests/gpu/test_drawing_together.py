"""Several requests side by side: everybody gets the pictures, the steps and the previews of a drawing of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from PIL import Image

from flux_core.catalogue import Catalogue
from flux_core.errors import Cancelled, DrawingBroken, FluxError, LeaseLost
from flux_core.generation import GenerationRequest
from flux_core.gpu import engine as engine_module
from flux_core.gpu.decoding import Decoder
from flux_core.gpu.drawing import Piece
from flux_core.gpu.engine import Engine
from tests.gpu.conftest import Watcher
from tests.gpu.test_engine import difference, draw

Ask = Callable[..., GenerationRequest]
PROMPTS = ("a red circle", "two blue squares on a green background", "a star")


def together(
    engine: Engine, catalogue: Catalogue, *requests: GenerationRequest, watchers: list[Watcher] | None = None
) -> list[list[Image.Image] | Exception]:
    watchers = watchers or [Watcher() for _ in requests]
    pieces = [Piece(request, None, watcher) for request, watcher in zip(requests, watchers, strict=True)]
    return engine.draw_together(catalogue[requests[0].model], pieces)


@pytest.fixture
def three(ask: Ask) -> list[GenerationRequest]:
    """Of three members: other words, other seeds, other numbers of pictures."""
    return [ask(prompt=words, seed=seed, count=seed) for words, seed in zip(PROMPTS, (1, 2, 3), strict=True)]


@pytest.mark.parametrize("pixels", [6 * 128 * 128, 4 * 128 * 128, 128 * 128], ids=["all", "four", "one"])
def test_the_pictures_are_those_of_drawings_apart(
    engine: Engine,
    catalogue: Catalogue,
    three: list[GenerationRequest],
    pixels: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    apart = [draw(engine, catalogue, request) for request in three]
    monkeypatch.setitem(engine_module.BATCH_PIXELS, "cpu", pixels)
    watchers = [Watcher() for _ in three]
    drawn = together(engine, catalogue, *three, watchers=watchers)
    for ours, theirs, request in zip(drawn, apart, three, strict=True):
        assert isinstance(ours, list)
        assert len(ours) == request.count
        assert all(difference(one, other) <= 1 for one, other in zip(ours, theirs, strict=True))
    batches = -(-6 * 128 * 128 // pixels)
    for watcher in watchers:
        assert watcher.steps == [(n, 4 * batches) for n in range(4 * batches + 1)]


def test_a_preview_shows_what_is_the_members_own(
    engine: Engine, catalogue: Catalogue, three: list[GenerationRequest]
) -> None:
    apart = [Watcher() for _ in three]
    for request, watcher in zip(three, apart, strict=True):
        engine.draw(catalogue[request.model], request, None, watcher)
    watchers = [Watcher() for _ in three]
    together(engine, catalogue, *three, watchers=watchers)
    for ours, theirs in zip(watchers, apart, strict=True):
        assert len(ours.previews) == len(theirs.previews) == 3
        assert all(difference(one, other) <= 2 for one, other in zip(ours.previews, theirs.previews, strict=True))


@pytest.mark.parametrize("error", [Cancelled(), LeaseLost()])
def test_who_leaves_gets_nothing_more_and_the_others_get_theirs(
    engine: Engine, catalogue: Catalogue, three: list[GenerationRequest], error: FluxError
) -> None:
    apart = [draw(engine, catalogue, request) for request in three]
    watchers = [Watcher(), Watcher(stop_at=2, error=error), Watcher()]
    drawn = together(engine, catalogue, *three, watchers=watchers)
    assert drawn[1] is error
    assert watchers[1].steps[-1] == (2, 4)
    for place in (0, 2):
        ours = drawn[place]
        assert isinstance(ours, list)
        assert all(difference(one, other) <= 1 for one, other in zip(ours, apart[place], strict=True))
        assert watchers[place].steps[-1] == (4, 4)


def test_later_batches_leave_out_who_has_left(
    engine: Engine, catalogue: Catalogue, three: list[GenerationRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    drawn = Engine._draw_batch

    def counted(self: Engine, model: object, pieces: object, words: object, shots: list[object], *rest: object) -> Any:
        sizes.append(len(shots))
        return drawn(self, model, pieces, words, shots, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Engine, "_draw_batch", counted)
    monkeypatch.setitem(engine_module.BATCH_PIXELS, "cpu", 2 * 128 * 128)
    watchers = [Watcher(), Watcher(), Watcher(stop_at=5, error=Cancelled())]
    outcomes = together(engine, catalogue, *three, watchers=watchers)
    assert sizes == [2, 2]  # the last batch was the third one's alone
    assert [isinstance(outcome, list) for outcome in outcomes] == [True, True, False]


def test_it_ends_at_once_when_nobody_is_left(
    engine: Engine, catalogue: Catalogue, three: list[GenerationRequest]
) -> None:
    errors: list[FluxError] = [Cancelled(), LeaseLost(), Cancelled()]
    watchers = [Watcher(stop_at=stop, error=error) for stop, error in zip((1, 3, 2), errors, strict=True)]
    assert together(engine, catalogue, *three, watchers=watchers) == errors
    assert [watcher.steps[-1][0] for watcher in watchers] == [1, 3, 2]
    assert draw(engine, catalogue, three[0])


def test_memory_that_does_not_suffice_halves_what_is_drawn_at_once(
    engine: Engine, catalogue: Catalogue, three: list[GenerationRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    drawn = Engine._draw_batch

    def small_card(
        self: Engine, model: object, pieces: object, words: object, shots: list[object], *rest: object
    ) -> Any:
        sizes.append(len(shots))
        if len(shots) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return drawn(self, model, pieces, words, shots, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Engine, "_draw_batch", small_card)
    outcomes = together(engine, catalogue, *three)
    assert sizes == [6, 3, 3]
    assert [len(pictures) for pictures in outcomes if isinstance(pictures, list)] == [1, 2, 3]


def test_a_picture_of_broken_numbers_is_its_owners_alone(
    engine: Engine, catalogue: Catalogue, three: list[GenerationRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    decode, seen = Decoder.decode, list[bool]()

    def sometimes(self: Decoder, latents: torch.Tensor, *, careful: bool = False) -> Image.Image:
        seen.append(careful)
        if len(seen) == 2 or careful:
            raise ArithmeticError("no colours")
        return decode(self, latents, careful=careful)

    monkeypatch.setattr(Decoder, "decode", sometimes)
    first, second, third = together(engine, catalogue, *three)
    assert isinstance(second, DrawingBroken)
    assert isinstance(first, list)
    assert isinstance(third, list)
    assert (len(first), len(third)) == (1, 3)
    assert seen == [False] * 5 + [True], "its owner's other picture is not even decoded, and it is drawn once more"


@pytest.mark.parametrize("change", [{"steps": 5}, {"aspect": "3:2"}, {"guidance": 1.0}])
def test_only_one_shape_is_drawn_at_once(
    engine: Engine, catalogue: Catalogue, ask: Ask, change: dict[str, object]
) -> None:
    with pytest.raises(DrawingBroken, match="one shape"):
        together(engine, catalogue, ask(), ask(**change))
