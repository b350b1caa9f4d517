"""Keep encoded training pictures on disk, since encoding each one anew would cost more than learning from it."""

from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from flux_core.tiny import checkpoints
from flux_core.tiny.drawing import draw
from flux_core.tiny.vae_training import encode_mean, to_tensor
from flux_core.tiny.world import Picture, recolour, sample

SHARD = 2048


@dataclass(frozen=True)
class Shard:
    """A number of pictures of one size, drawn anew from the shard's name; `scenes` or shapes.

    A `recoloured` shard holds the pictures of the shard of that index again, each in the same layout in other colours.
    """

    scenes: bool
    width: int
    height: int
    index: int
    recoloured: bool = False

    @property
    def name(self) -> str:
        """Name the shard's file, and seed its pictures."""
        kind = "recoloured" if self.recoloured else "scenes" if self.scenes else "shapes"
        return f"{kind}-{self.width}x{self.height}-{self.index}"

    def pictures(self) -> list[Picture]:
        """List the shard's pictures."""
        if self.recoloured:
            rng = Random(self.name)
            return [recolour(picture, rng) for picture in replace(self, recoloured=False).pictures()]
        rng = Random(self.name)
        return [sample(rng, scenes=float(self.scenes)) for _ in range(SHARD)]


def pack(latents: Tensor) -> Tensor:
    """Turn latents (B, 16, h, w) into FLUX tokens (B, h·w/4, 64), each a 2×2 patch with its channels first."""
    batch, channels, height, width = latents.shape
    patches = latents.view(batch, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return patches.reshape(batch, height * width // 4, channels * 4)


def encode_shard(folder: Path, vae: AutoencoderKL, shard: Shard) -> None:
    """Draw and encode a shard to `folder`, as packed half-precision latents; nothing to do if it is there."""
    file = folder / f"{shard.name}.pt"
    if file.exists():
        return
    pictures = shard.pictures()
    parts = []
    for start in range(0, SHARD, 32):
        images = [np.asarray(draw(p, shard.width, shard.height)) for p in pictures[start : start + 32]]
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            parts.append(pack(encode_mean(vae, to_tensor(images)).float()).half())
    checkpoints.save(file, {"latents": torch.cat(parts)})


def load_shard(folder: Path, shard: Shard) -> Tensor | None:
    """Load a shard's packed latents (N, tokens, 64) in half precision, or None when not encoded yet."""
    state = checkpoints.load(folder / f"{shard.name}.pt")
    return None if state is None else state["latents"]
