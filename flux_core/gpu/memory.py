"""How much memory a model takes on a card, reckoned before anything is loaded. Pure: no torch.

Weights are exact: numbers times bytes a number. What drawing takes beside them is an upper estimate from the shapes of
the largest tensors that live at once, to be on the safe side; it is not measured on a card yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from flux_core.models import MEGAPIXEL

GIB = 2**30
TILE_SIDE = 512
"""Pixels of a side of a tile, where the decoder works in tiles: a quarter of a megapixel at once."""
PAGE_LOCKED = 1.57
"""What a byte of weights takes in main memory where a stream brings them from: torch locks each tensor in a piece of
its own and rounds that up to a power of two (CachingHostAllocator.h, ``PowerOf2Ceil``). FLUX.1's transformer counted
on the meta device; of T5 it is 1.38."""


class Weights(StrEnum):
    """In which numbers a network is held."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP8 = "fp8"
    """E4M3 with a scale a row, computed in 8 bits, too."""
    FP8_EMULATED = "fp8-emulated"
    """The same rounding, computed in 32 bits: as inexact, and no faster. To try and to measure without a card."""
    NF4 = "nf4"
    """4 bits that follow a normal distribution; computed in bf16."""

    @property
    def bytes(self) -> float:
        """Return bytes a number.

        NF4 with blocks of 64 and double quantization: 4 + 8/64 + 32/(64·256) bits (QLoRA, arXiv 2305.14314, section 3).
        """
        return {"fp32": 4.0, "bf16": 2.0, "fp8": 1.0, "fp8-emulated": 4.0, "nf4": (4 + 8 / 64 + 32 / (64 * 256)) / 8}[
            self.value
        ]

    @property
    def exact(self) -> bool:
        """Whether the network is as its makers gave it away."""
        return self in (Weights.FP32, Weights.BF16)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSize:
    """What decides how much memory a model takes: how many numbers each part holds, and how wide it is."""

    transformer: int
    t5: int
    clip: int
    vae: int
    width: int = 3072
    """Of the transformer's tokens."""
    largest_block: int = 339_831_296
    """Numbers in the largest of the transformer's repeated blocks: what is on the card at a time when it is streamed.
    FLUX.1's double block, counted on the meta device."""
    vae_channels: int = 256
    """Of the decoder's widest map at full size."""
    words: int = 512
    """Tokens of a prompt."""
    eyes: int = 0
    """Numbers in what looks at a picture for the words, where a model that has that draws with these weights: Redux."""

    def weights(self, transformer: Weights, encoders: Weights, rest: Weights) -> int:
        """Return the bytes of all weights; ``rest`` are CLIP, the VAE and the eyes, which stay small."""
        small = self.clip + self.vae + self.eyes
        return round(self.transformer * transformer.bytes + self.t5 * encoders.bytes + small * rest.bytes)

    def denoising(self, numbers: Weights, pixels: int = MEGAPIXEL) -> int:
        """Return the bytes that one step takes beside the weights.

        Sixteen tensors of tokens × width live at once in a single block: the residual, its norm, three of attention,
        four of the wide layer, and seven where what both give is joined for the last projection.
        """
        tokens = pixels // 256 + self.words
        return round(16 * tokens * self.width * max(numbers.bytes, 2))

    def decoding(self, numbers: Weights, pixels: int = MEGAPIXEL, *, tiled: bool = False) -> int:
        """Return the bytes that decoding a picture takes: four maps of the decoder's widest block at full size."""
        shown = min(pixels, TILE_SIDE**2) if tiled else pixels
        return round(4 * shown * self.vae_channels * max(numbers.bytes, 2))
