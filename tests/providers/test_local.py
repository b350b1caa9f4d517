"""What the local provider adds to the contract: its device, its one thread, its models in memory."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flux_core.catalogue import Catalogue
from flux_core.errors import ConfigurationError, DrawingBroken, ModelUnavailable
from flux_core.family import FLUX_FILL, FLUX_SCHNELL
from flux_core.generation import RequestOptions, resolve
from flux_core.gpu import rehearsal
from flux_core.gpu.engine import Engine
from flux_core.gpu.rehearsal import Rehearsal, rehearsals, rehearse
from flux_core.metrics.definitions import ENGINE_IDLE
from flux_core.models import Mode, ModelSpec
from flux_core.providers.base import Drawing, DrawTask
from flux_core.providers.local import LocalProvider
from flux_core.tiny.architecture import build_random
from tests.providers.recorder import Recorder


def task(catalogue: Catalogue) -> DrawTask:
    request = resolve(RequestOptions(prompt="a circle", seed=3, count=1, steps=1, model="flux-tiny"), catalogue)
    return DrawTask(job_id="a", request=request)


def test_a_device_that_is_not_here_is_named_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="DEVICE is 'cuda:99'"):
        LocalProvider(Catalogue({"flux-tiny": str(tmp_path)}), device="cuda:99")


async def test_weights_that_are_not_there_fail_the_job_with_advice(tmp_path: Path) -> None:
    catalogue = Catalogue({"flux-tiny": str(tmp_path / "gone")})
    provider = LocalProvider(catalogue, device="cpu", threads=1)
    with pytest.raises(ModelUnavailable, match="FLUX_TINY_PATH"):
        await provider.draw(task(catalogue), Recorder())
    await provider.close()


async def test_everything_is_drawn_in_one_thread_that_is_not_the_event_loops(tmp_path: Path) -> None:
    class Where(Recorder):
        def step(self, done: int, total: int) -> None:
            threads.add(threading.current_thread().name)

    threads: set[str] = set()
    catalogue = Catalogue({"flux-tiny": str(build_random(tmp_path / "tiny"))})
    provider = LocalProvider(catalogue, device="cpu", threads=1)
    assert provider.device == "cpu"
    await asyncio.gather(*(provider.draw(task(catalogue), Where()) for _ in range(3)))
    assert threads == {"engine_0"}
    assert provider._engine.loaded == ["flux-tiny"]
    await provider.close()
    assert provider._engine.loaded == []


async def test_what_fails_for_all_is_tried_once_more_by_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of two is too much for the engine whatever its company; the other is not, by itself."""
    catalogue = Catalogue({"flux-tiny": str(build_random(tmp_path / "tiny"))})
    provider = LocalProvider(catalogue, device="cpu", threads=1)
    sizes: list[int] = []
    draw = Engine._draw_batch

    def fragile(self: Engine, model: Any, pieces: Any, words: Any, shots: Any, *rest: Any) -> Any:
        sizes.append(len(pieces))
        if any(piece.request.prompt == "too much" for piece in pieces):
            raise RuntimeError("CUBLAS_STATUS_EXECUTION_FAILED")
        return draw(self, model, pieces, words, shots, *rest)

    monkeypatch.setattr(Engine, "_draw_batch", fragile)
    bad, good = (
        DrawTask(
            job_id=words,
            request=resolve(RequestOptions(prompt=words, seed=3, count=1, steps=1, model="flux-tiny"), catalogue),
        )
        for words in ("too much", "a circle")
    )
    first, second = await provider.draw_together([bad, good], [Recorder(), Recorder()])
    assert isinstance(first, DrawingBroken)
    assert "CUBLAS" in str(first)
    assert isinstance(second, Drawing)
    assert sizes == [2, 1, 1]
    await provider.close()


@pytest.fixture
async def provider(tmp_path: Path) -> AsyncIterator[LocalProvider]:
    catalogue = Catalogue({"flux-tiny": str(build_random(tmp_path / "tiny"))})
    provider = LocalProvider(catalogue, device="cpu", threads=1)
    await provider.draw(task(catalogue), Recorder())
    yield provider
    if not provider._drawing._shutdown:
        await provider.close()


def pipeline(provider: LocalProvider) -> Any:
    return provider._engine.models.loaded["flux-tiny"].text_to_image


def awaited(event: threading.Event) -> None:
    if not event.wait(60):
        pytest.fail("It was waited for a minute.")


async def test_a_drawing_is_decoded_beside_the_steps_of_the_next_which_change_nothing_in_it(
    provider: LocalProvider,
) -> None:
    """The decoder waits until the next drawing has taken a step: one after the other, it would do so for ever."""
    first, second = task(provider._catalogue), replace(task(provider._catalogue), job_id="b")
    (apart,) = (await provider.draw(first, Recorder())).pictures
    stepped = threading.Event()
    hooks = [pipeline(provider).vae.decoder.register_forward_pre_hook(lambda *_: awaited(stepped))]
    drawings: list[asyncio.Task[Drawing]] = []

    def begin_next() -> None:
        hooks.append(pipeline(provider).transformer.register_forward_hook(lambda *_: stepped.set()))
        drawings.append(asyncio.create_task(provider.draw(second, Recorder())))

    (beside,) = (await provider.draw(replace(first, let_next=begin_next), Recorder())).pictures
    (following,) = (await drawings[0]).pictures
    assert beside.image.tobytes() == apart.image.tobytes() == following.image.tobytes()
    for hook in hooks:
        hook.remove()


async def test_who_closes_it_waits_for_a_picture_that_is_being_decoded(provider: LocalProvider) -> None:
    """Where that hangs, whoever waits can give up; Python would wait for the thread in the end, and for ever."""
    begun, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def wait(*_: object) -> None:
        loop.call_soon_threadsafe(begun.set)
        awaited(go_on)

    hook = pipeline(provider).vae.decoder.register_forward_pre_hook(wait)
    drawing = asyncio.create_task(provider.draw(task(provider._catalogue), Recorder()))
    await asyncio.wait_for(begun.wait(), 60)
    closing = asyncio.create_task(provider.close())
    await asyncio.wait({closing}, timeout=0.3)
    assert not closing.done()
    go_on.set()
    assert (await drawing).pictures
    await closing
    hook.remove()


async def test_weights_are_fetched_beside_drawings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour of download for one member is no hour of waiting for the others."""
    folder = build_random(tmp_path / "tiny")
    catalogue = Catalogue({"flux-tiny": str(folder), "flux-schnell": "studio/schnell"})
    provider = LocalProvider(catalogue, device="cpu", threads=1)
    begun, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slow(spec: ModelSpec, token: str | None) -> Path:
        if spec.id == "flux-schnell":
            loop.call_soon_threadsafe(begun.set)
            awaited(go_on)
        return folder

    monkeypatch.setattr("flux_core.gpu.shelf.folder_of", slow)
    monkeypatch.setattr("flux_core.gpu.loading.folder_of", slow)
    large = resolve(
        RequestOptions(prompt="a circle", model="flux-schnell", size="256x256", count=1, steps=1), catalogue
    )
    assert provider.has_files(task(catalogue).request)
    assert not provider.has_files(large)
    fetching = asyncio.create_task(provider.fetch(large))
    warming = asyncio.create_task(provider.warm_up("flux-schnell"))
    await asyncio.wait_for(begun.wait(), 60)
    assert (await provider.draw(task(catalogue), Recorder())).pictures
    go_on.set()
    await asyncio.gather(fetching, warming)
    assert provider.has_files(large)
    assert "flux-schnell" in provider.loaded
    await provider.close()


async def test_the_next_words_are_read_beside_a_step(provider: LocalProvider) -> None:
    read = threading.Event()
    waiting = pipeline(provider).transformer.register_forward_pre_hook(lambda *_: awaited(read))
    drawing = asyncio.create_task(provider.draw(task(provider._catalogue), Recorder()))
    request = task(provider._catalogue).request.model_copy(update={"prompt": "words for the next one"})
    following = DrawTask(job_id="b", request=request)
    telling = pipeline(provider).text_encoder_2.register_forward_hook(lambda *_: read.set())
    await provider.prepare(following)
    await drawing
    telling.remove()
    again = pipeline(provider).text_encoder_2.register_forward_pre_hook(lambda *_: pytest.fail("it was read before"))
    await provider.draw(following, Recorder())
    waiting.remove()
    again.remove()


async def test_the_time_between_two_drawings_is_told_where_the_second_one_waited(provider: LocalProvider) -> None:
    def gaps() -> float:
        (family,) = ENGINE_IDLE.collect()
        return next(sample.value for sample in family.samples if sample.name.endswith("_count"))

    before, waiting = gaps(), task(provider._catalogue)
    await provider.draw(task(provider._catalogue), Recorder())
    assert gaps() == before, "it was not asked for when the one before ended"
    await provider.draw(waiting, Recorder())
    assert gaps() == before + 1


async def test_a_model_is_loaded_and_tried_before_anybody_asks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    catalogue = Catalogue({"flux-tiny": str(build_random(tmp_path / "tiny"))})
    provider = LocalProvider(catalogue, device="cpu", threads=1)
    await provider.warm_up("flux-tiny")
    assert provider._engine.loaded == ["flux-tiny"]
    calls: list[int] = []
    pipeline(provider).transformer.register_forward_hook(lambda *_: calls.append(1))
    await provider.draw(task(catalogue), Recorder())
    assert len(calls) <= 2, "one step for nobody at most, one for the task"
    await provider.close()
    assert caplog.messages == []


def test_a_card_tries_two_sizes_and_two_numbers_of_pictures() -> None:
    spec = FLUX_SCHNELL

    def tried(spec: ModelSpec, kind: str, *modes: Mode) -> list[tuple[str, int, int, int, int]]:
        asked = [one.request for one in rehearsals(spec, kind, modes)]
        return [(one.mode.value, one.count, one.width, one.height, one.steps) for one in asked]

    sizes = [(1, 1024, 1024), (1, 1360, 768), (2, 1024, 1024), (2, 1360, 768)]
    quality, turbo = [("quality", *size, 1) for size in sizes], [("turbo", *size, 2) for size in sizes]
    assert tried(spec, "cuda", Mode.QUALITY, Mode.TURBO) == [*quality, *turbo]
    assert tried(spec, "cpu", Mode.QUALITY) == [("quality", 1, 256, 256, 1)]
    assert tried(FLUX_FILL, "cuda", Mode.QUALITY) == [("quality", 1, 1024, 1024, 1)]
    (given,) = rehearsals(FLUX_FILL, "cuda", [Mode.QUALITY])
    assert given.picture is not None
    assert given.mask is not None
    assert tried(FLUX_FILL, "cpu", Mode.QUALITY) == []


async def test_a_rehearsal_ends_when_somebody_comes(provider: LocalProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight long drawings for nobody; a task comes during the first."""
    asked, calls = threading.Event(), list[int]()
    request = task(provider._catalogue).request.model_copy(update={"steps": 50})
    eight = [Rehearsal(provider._catalogue["flux-tiny"], request) for _ in range(8)]
    monkeypatch.setattr(rehearsal, "rehearsals", lambda *_: eight)

    def on_step(*_: object) -> None:
        calls.append(1)
        awaited(asked)

    hook = pipeline(provider).transformer.register_forward_hook(on_step)
    await provider.warm_up("flux-tiny")
    drawing = asyncio.create_task(provider.draw(task(provider._catalogue), Recorder()))
    while not provider._in_hand:  # noqa: ASYNC110 (it tells nobody)
        await asyncio.sleep(0)
    asked.set()
    await drawing
    hook.remove()
    assert len(calls) <= 2
    assert provider._programme.next is eight[0], "it is done when nobody waits"


async def test_every_mode_is_rehearsed_quality_first_and_goes_on_where_somebody_came_between(
    provider: LocalProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, drawn = provider._catalogue["flux-tiny"], list[tuple[str, bool]]()
    real, began, held = provider._engine.denoise, threading.Event(), threading.Event()

    def denoise(spec: ModelSpec, pieces: Any, **options: Any) -> Any:
        ours = isinstance(pieces[0].progress, rehearsal._Watched)
        if ours and not drawn:
            began.set()
            awaited(held)  # until somebody has come
        drawn.append((pieces[0].request.mode.value, ours))
        return real(spec, pieces, **options)

    def small(spec: ModelSpec, kind: str, modes: Any) -> list[Rehearsal]:
        request = task(provider._catalogue).request
        return [Rehearsal(spec, request.model_copy(update={"mode": mode})) for mode in modes]

    monkeypatch.setattr(provider._engine, "denoise", denoise)
    monkeypatch.setattr(rehearsal, "rehearsals", small)
    assert provider.profiles.rehearsed(spec) == (Mode.QUALITY,), "this is no card"
    monkeypatch.setattr(provider.profiles, "rehearsed", provider.profiles.modes)
    await provider.warm_up("flux-tiny")
    await asyncio.to_thread(awaited, began)
    drawing = asyncio.create_task(provider.draw(task(provider._catalogue), Recorder()))
    while not provider._in_hand:  # noqa: ASYNC110 (it tells nobody)
        await asyncio.sleep(0)
    held.set()
    await drawing
    assert provider._rehearsing is not None
    await provider._rehearsing
    assert provider._programme.next is None
    assert drawn == [("quality", True), ("quality", False), ("quality", True), ("turbo", True)]


async def test_a_mode_without_room_beside_what_is_loaded_is_left_alone(
    provider: LocalProvider, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(provider._engine.models, "_room_for", lambda profile: False)
    engine, spec = provider._engine, provider._catalogue["flux-tiny"]
    fast = Rehearsal(spec, task(provider._catalogue).request.model_copy(update={"mode": Mode.FAST}))
    assert rehearse(engine, fast, is_wanted=lambda: True) is True, "here it has the weights of quality"
    engine.unload()
    assert rehearse(engine, fast, is_wanted=lambda: True) is False
    assert "flux-tiny is not rehearsed in fast: no memory" in caplog.text
    assert engine.loaded == []
