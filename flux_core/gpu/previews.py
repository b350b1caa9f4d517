"""Show a drawing before it is finished, for next to nothing.

The latents themselves look like noise to the end, so what is shown is the picture they are heading for: along the
straight path of a rectified flow, x0 = z − σ·v. A linear map from 16 latent channels to RGB, fitted once against the
model's own VAE, stands in for the decoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, sqrt
from typing import Any

import torch
from PIL import Image
from torch.nn import functional

from flux_core.gpu.latents import LatentSpace

FIT_SIDE = 256
FIT_CELLS = (2, 4, 8, 16, 32)
"""Fitted on noise of these many cells a side: from smooth washes of colour to detail near the latents' own size."""


class LatentPreview:
    """A linear map from latents to RGB."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        """Take ``weight`` (C, 3) and ``bias`` (3) that map latents, as the transformer sees them, to RGB in [-1, 1]."""
        self._weight = weight
        self._bias = bias

    @classmethod
    @torch.no_grad()
    def fit(cls, vae: Any, device: torch.device, space: LatentSpace | None = None) -> LatentPreview:
        """Fit the map to an autoencoder that computes on ``device``, by least squares over a few seeded pictures."""
        pictures = _sample_pictures()
        encoded = vae.encode(pictures.to(device, vae.dtype)).latent_dist.mode()
        latents = (space or LatentSpace(vae)).from_encoder(encoded).float().cpu()
        pixels = functional.adaptive_avg_pool2d(pictures, (latents.shape[-2], latents.shape[-1]))
        samples = latents.movedim(1, -1).flatten(0, -2)
        samples = torch.cat([samples, torch.ones(len(samples), 1)], dim=1)
        solution = torch.linalg.lstsq(samples, pixels.movedim(1, -1).flatten(0, -2), driver="gelsd").solution
        return cls(solution[:-1].to(device), solution[-1].to(device))

    @torch.no_grad()
    def rgb(self, latents: torch.Tensor) -> torch.Tensor:
        """Map latents (B, C, h, w) to 8-bit RGB (B, h, w, 3)."""
        shown = latents.movedim(1, -1).float() @ self._weight + self._bias
        return ((shown.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)

    def show(self, latents: torch.Tensor) -> Image.Image:
        """Return latents (B, C, h, w) as one picture with all B beside and below each other, one pixel a latent."""
        return sheet([Image.fromarray(one.cpu().numpy()) for one in self.rgb(latents)])


def predicted(before: torch.Tensor, after: torch.Tensor, sigma_before: float, sigma_after: float) -> torch.Tensor:
    """Return the x0 that a step from noise level ``sigma_before`` to ``sigma_after`` was heading for."""
    velocity = (after.float() - before.float()) / (sigma_after - sigma_before)
    return after.float() - sigma_after * velocity


def sheet(pictures: Sequence[Image.Image]) -> Image.Image:
    """Lay pictures of one size out in rows, as square as their number allows."""
    width, height = pictures[0].size
    columns = ceil(sqrt(len(pictures)))
    whole = Image.new("RGB", (columns * width, ceil(len(pictures) / columns) * height))
    for n, picture in enumerate(pictures):
        whole.paste(picture, (n % columns * width, n // columns * height))
    return whole


def _sample_pictures() -> torch.Tensor:
    """Return pictures (B, 3, H, W) in [-1, 1] of coloured noise, coarse to fine, the same every time."""
    generator = torch.Generator().manual_seed(0)
    return torch.cat(
        [
            functional.interpolate(
                torch.rand(1, 3, cells, cells, generator=generator) * 2 - 1,
                size=(FIT_SIDE, FIT_SIDE),
                mode="bilinear",
            )
            for cells in FIT_CELLS
        ]
    )
