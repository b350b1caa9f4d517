"""From latents to pixels, and whether these are a picture."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from PIL import Image

from flux_core.gpu.latents import LatentSpace

DECODE_BYTES_PER_PIXEL = 3_000
"""What FLUX's decoder takes at its widest layers, in bf16: 256 channels at full size, in and out of a convolution, its
normalisation in fp32."""


class Decoder:
    """The VAE of a loaded model, which has one of these. One picture at a time, whichever thread asks."""

    def __init__(self, pipeline: Any) -> None:
        """Decode as ``pipeline`` would, without keeping anything else of it in memory."""
        self._vae = pipeline.vae
        self._latents = LatentSpace(pipeline.vae)
        self._processor = pipeline.image_processor
        self._title = type(pipeline).__name__
        self._lock = threading.Lock()

    def decode(self, latents: torch.Tensor, *, careful: bool = False) -> Image.Image:
        """Return latents (1, C, h, w) as an RGB picture; raises ArithmeticError for numbers that are no colours.

        ``careful``: in fp32, where bf16 might have been the fault.
        """
        if not torch.isfinite(latents).all():
            raise ArithmeticError(f"{self._title} drew numbers that are none.")
        with self._lock, self._in_fp32() if careful else _as_it_is():
            pixels = self._vae.decode(self._latents.for_decoder(latents.to(self._vae.dtype)), return_dict=False)[0]
            if not torch.isfinite(pixels).all():
                raise ArithmeticError(f"{self._title} drew numbers that are no colours.")
            picture: Image.Image = self._processor.postprocess(pixels, output_type="pil")[0]
        return picture

    @contextmanager
    def _in_fp32(self) -> Iterator[None]:
        """Compute in fp32 meanwhile. The weights stay in memory and come back: the very ones.

        Given away, their memory could be another's on the engine's stream while ours still reads it.
        """
        numbers = [*self._vae.parameters(), *self._vae.buffers()]
        usual = [number.data for number in numbers]
        try:
            for number in numbers:
                if number.is_floating_point():
                    number.data = number.data.float()  # which may run out of memory halfway
            yield
        finally:
            for number, before in zip(numbers, usual, strict=True):
                number.data = before


@contextmanager
def _as_it_is() -> Iterator[None]:
    yield


def is_blank(picture: Image.Image) -> bool:
    """Say whether every pixel is the same: what a broken network draws, and hardly ever what was asked for."""
    return all(low == high for low, high in extremes(picture))


def extremes(picture: Image.Image) -> list[tuple[int, int]]:
    """Return the darkest and the lightest level of each of its colours."""
    return [band.getextrema() for band in picture.convert("RGB").split()]  # type: ignore[misc]
