"""What a member gets when the network itself fails: pictures of a second try, or an end with the credits back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from flux_core.catalogue import Catalogue
from flux_core.jobs import JobState
from flux_core.providers.local import LocalProvider
from flux_core.tiny.architecture import build_random
from tests.worker.conftest import Floor


@pytest.fixture
async def provider(tmp_path: Path) -> AsyncIterator[LocalProvider]:
    catalogue = Catalogue({"flux-tiny": str(build_random(tmp_path / "tiny"))}, default="flux-tiny")
    provider = LocalProvider(catalogue, device="cpu", threads=1)
    yield provider
    await provider.close()


@contextmanager
def failing(act: Any) -> Iterator[None]:
    """Let ``act`` replace what comes of every step of any FLUX network, or raise."""
    import torch
    from diffusers import FluxTransformer2DModel

    def hook(module: Any, _: object, output: Any) -> Any:
        return act(module, output) if isinstance(module, FluxTransformer2DModel) else None

    handle = torch.nn.modules.module.register_module_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


async def test_a_fault_of_the_network_costs_nobody_anything(floor: Floor, provider: LocalProvider) -> None:
    import torch

    faults = {"broken": 0, "full": 0}

    def fail(network: Any, output: Any) -> Any:
        if now == "broken":
            faults[now] += 1
            return (output[0] * torch.nan,)
        if now == "full" and network.dtype is torch.float32:
            faults[now] += 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        if now == "always full":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return None

    now = "broken"
    options = {"steps": 1, "count": 1, "model": "flux-tiny"}
    with failing(fail):
        async with floor.worker(provider):
            broken = await floor.ended(await floor.submit(**options))
            assert (broken.state, broken.error_code, broken.attempts) == (JobState.FAILED, "drawing_broken", 3)
            assert faults["broken"] == 2 * 3, "twice in each attempt"
            assert await floor.kinds(broken) == ["reserve", "refund"]
            now = "full"
            leaner = await floor.ended(await floor.submit(**options))
            assert (leaner.state, leaner.attempts, faults["full"]) == (JobState.SUCCEEDED, 1, 1)
            assert provider.offers["flux-tiny"].leaner == "cpu-bf16", "which doctor shows"
            now = "always full"
            full = await floor.ended(await floor.submit(**options))
            assert (full.state, full.error_code, full.attempts) == (JobState.FAILED, "out_of_memory", 1)
            assert await floor.kinds(full) == ["reserve", "refund"]
            now = "well"
            assert (await floor.ended(await floor.submit(**options))).state is JobState.SUCCEEDED
