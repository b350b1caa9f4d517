"""What the local provider adds to the contract: its device, its one thread, its models in memory."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from flux_core.errors import ConfigurationError, DrawingBroken, ModelUnavailable
from flux_core.generation import RequestOptions, resolve
from flux_core.gpu.engine import Engine
from flux_core.models import Catalogue
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
