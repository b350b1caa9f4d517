"""FLUX's packed latents: 2 × 2 neighbours of 16 channels become one token of 64 numbers."""

from __future__ import annotations

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
