"""FLUX's packed latents: 2 × 2 neighbours of C channels become one token of 4·C numbers."""

from __future__ import annotations

from typing import Any

import torch

PATCH = 2


def unpack(tokens: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Turn tokens (B, h·w/4, 4·C) back into latents (B, C, h, w); ``height`` and ``width`` are h and w."""
    batch, _, size = tokens.shape
    grid = tokens.view(batch, height // PATCH, width // PATCH, size // PATCH**2, PATCH, PATCH)
    return grid.permute(0, 3, 1, 4, 2, 5).reshape(batch, size // PATCH**2, height, width)


def pack(latents: torch.Tensor) -> torch.Tensor:
    """Turn latents (B, C, h, w) with even sides into tokens (B, h·w/4, 4·C)."""
    batch, channels, height, width = latents.shape
    grid = latents.view(batch, channels, height // PATCH, PATCH, width // PATCH, PATCH)
    return grid.permute(0, 2, 4, 1, 3, 5).reshape(batch, height * width // PATCH**2, channels * PATCH**2)


class LatentSpace:
    """How what a transformer draws belongs to what its VAE decodes.

    FLUX.1 scales latents by two numbers of the VAE's config. FLUX.2 scales every number of a token by the mean and
    variance that its VAE keeps in a batch norm, and its pipeline undoes that before it hands latents out.
    """

    def __init__(self, vae: Any) -> None:
        """Take the numbers of an AutoencoderKL or AutoencoderKLFlux2."""
        self.scaling = getattr(vae.config, "scaling_factor", None) or 1.0
        self.shift = getattr(vae.config, "shift_factor", None) or 0.0
        self._norm = getattr(vae, "bn", None)

    def unpack(self, latents: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Turn tokens (B, h·w/4, 4·C) into latents (B, C, h, w); those that are latents already stay as they are."""
        if latents.ndim == 4:
            return latents
        if self._norm is not None:
            deviation = torch.sqrt(self._norm.running_var + self._norm.eps)
            latents = latents * deviation.to(latents) + self._norm.running_mean.to(latents)
        return unpack(latents, height, width)

    def for_decoder(self, latents: torch.Tensor) -> torch.Tensor:
        """Turn latents (B, C, h, w) into what the VAE decodes."""
        return latents / self.scaling + self.shift

    def from_encoder(self, latents: torch.Tensor) -> torch.Tensor:
        """Turn what the VAE encodes into latents (B, C, h, w)."""
        return (latents - self.shift) * self.scaling
