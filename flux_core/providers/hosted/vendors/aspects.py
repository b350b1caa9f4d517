"""Sizes of vendors that take an aspect ratio by name and draw it at one megapixel."""

from __future__ import annotations

from collections.abc import Mapping

from flux_core.offers import Sizes

SIZES: Mapping[str, tuple[int, int]] = {
    "1:1": (1024, 1024),
    "16:9": (1344, 768),
    "21:9": (1536, 640),
    "3:2": (1216, 832),
    "2:3": (832, 1216),
    "4:5": (896, 1088),
    "5:4": (1088, 896),
    "3:4": (896, 1152),
    "4:3": (1152, 896),
    "9:16": (768, 1344),
    "9:21": (640, 1536),
}
"""What each name means in Black Forest Labs' models as Replicate runs them (its published predictor), and resellers."""


def sizes_of(*aspects: str) -> Sizes:
    """Return the sizes of ``aspects``; of all, where none are named."""
    return Sizes(listed=tuple(SIZES[aspect] for aspect in aspects or SIZES))


def aspect_of(size: tuple[int, int]) -> str:
    """Return the name of the aspect that is nearest to ``size`` (width, height in pixels)."""
    return min(SIZES, key=lambda aspect: abs(SIZES[aspect][0] / SIZES[aspect][1] * size[1] / size[0] - 1))
