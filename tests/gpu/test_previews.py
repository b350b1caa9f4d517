"""Previews: the predicted picture, through a map that stands in for the decoder."""

from __future__ import annotations

from collections.abc import Callable

import numpy
import pytest
import torch
from PIL import Image
from torch.nn import functional

from flux_core.catalogue import Catalogue
from flux_core.generation import GenerationRequest
from flux_core.gpu.engine import Engine
from flux_core.gpu.latents import pack, unpack
from flux_core.gpu.previews import LatentPreview, predicted, sheet
from tests.gpu.conftest import Watcher


class LinearVae:
    """A VAE whose encoder is linear, so that the right answer is known."""

    device = torch.device("cpu")
    dtype = torch.float32

    class config:
        shift_factor = 0.3
        scaling_factor = 0.7

    def __init__(self) -> None:
        self.weight = torch.randn(3, 16, generator=torch.Generator().manual_seed(1))

    def encode(self, pixels: torch.Tensor) -> LinearVae:
        self.latents = (functional.avg_pool2d(pixels, 8).movedim(1, -1) @ self.weight).movedim(-1, 1)
        return self

    @property
    def latent_dist(self) -> LinearVae:
        return self

    def mode(self) -> torch.Tensor:
        return self.latents


def test_the_fit_undoes_a_linear_encoder() -> None:
    vae = LinearVae()
    preview = LatentPreview.fit(vae, torch.device("cpu"))
    colours = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(2)) * 2 - 1
    latents = (vae.encode(colours).mode() - 0.3) * 0.7
    wanted = ((functional.avg_pool2d(colours, 8).movedim(1, -1) + 1) * 127.5).round()
    assert (preview.rgb(latents).float() - wanted).abs().max() <= 1


def test_the_prediction_is_exact_on_a_straight_path() -> None:
    picture, noise = torch.randn(2, 1, 4, 64, generator=torch.Generator().manual_seed(0))
    at = [(1 - sigma) * picture + sigma * noise for sigma in (0.9, 0.6)]
    assert torch.allclose(predicted(at[0], at[1], 0.9, 0.6), picture, atol=1e-5)
    last = predicted(at[1], picture, 0.6, 0.0)
    assert torch.equal(last, picture)


def test_packing_is_undone_by_unpacking_and_is_what_diffusers_does() -> None:
    from diffusers import FluxPipeline

    latents = torch.randn(2, 16, 6, 10, generator=torch.Generator().manual_seed(0))
    assert torch.equal(pack(latents), FluxPipeline._pack_latents(latents, 2, 16, 6, 10))
    assert torch.equal(unpack(pack(latents), 6, 10), latents)
    assert torch.equal(FluxPipeline._unpack_latents(pack(latents), 48, 80, 8), latents)


@pytest.mark.parametrize(("count", "size"), [(1, (8, 4)), (2, (16, 4)), (3, (16, 8)), (4, (16, 8)), (5, (24, 8))])
def test_a_sheet_shows_every_picture(count: int, size: tuple[int, int]) -> None:
    pictures = [Image.new("RGB", (8, 4), (50 + n, 0, 0)) for n in range(count)]
    whole = sheet(pictures)
    assert whole.size == size
    found = {whole.getpixel((x, y))[0] for x in range(0, size[0], 8) for y in range(0, size[1], 4)}  # type: ignore[index]
    assert found - {0} == {50 + n for n in range(count)}


@pytest.mark.parametrize("picture", [False, True], ids=["text", "picture"])
def test_previews_start_at_the_second_step_and_end_at_the_final_latents(
    engine: Engine, catalogue: Catalogue, ask: Callable[..., GenerationRequest], picture: bool
) -> None:
    watcher = Watcher()
    request = ask(count=3, steps=6, aspect="3:2", picture=picture, strength=0.7 if picture else None)
    source = Image.new("RGB", (64, 64), "navy") if picture else None
    engine.draw(catalogue["flux-tiny"], request, source, watcher)
    assert len(watcher.previews) == watcher.steps[-1][1] - 1
    assert {preview.size for preview in watcher.previews} == {(48, 32)}
    pixels = [numpy.asarray(preview, float) for preview in watcher.previews]
    distances = [float(numpy.abs(one - pixels[-1]).mean()) for one in pixels]
    assert distances[-1] == 0
    assert distances[0] > distances[-2] > 0, "the prediction settles as the drawing goes on"
