"""State what flux-tiny is: its sizes, its defaults and its limits. Imports no torch, so that a bot can read it."""

from pathlib import Path
from typing import Final

WEIGHTS: Final = Path(__file__).resolve().parent / "weights"
"""Folder in diffusers format, loaded by `FluxPipeline.from_pretrained` like any other FLUX."""

DESCRIPTION: Final = "Draws coloured shapes (place, size, count, pairs) and small scenes: house, sea, rocket, cat, car…"
"""One sentence for a member, at most 100 characters (Discord's limit for an option's description)."""

ENLARGE: Final = 4
"""A delivered picture is its native size times this factor (see `flux_core.tiny.enlarge`)."""

MAX_SEQUENCE_LENGTH: Final = 32
"""Text tokens the transformer was trained with. Padding is attended, so another length draws another picture."""

STEPS: Final = 8
STEPS_MIN: Final = 1
STEPS_MAX: Final = 50
GUIDANCE: Final = 3.0
GUIDANCE_MIN: Final = 1.0
GUIDANCE_MAX: Final = 5.0

SIZE_MULTIPLE: Final = 16
"""Native sides are multiples of this: the autoencoder shrinks by 8, the transformer's patches by another 2."""

NATIVE_SIZES: Final[dict[str, tuple[int, int]]] = {
    "1:1": (128, 128),
    "16:9": (224, 128),
    "9:16": (128, 224),
    "3:2": (192, 128),
    "2:3": (128, 192),
    "4:3": (176, 128),
    "3:4": (128, 176),
    "4:5": (128, 160),
    "5:4": (160, 128),
    "21:9": (304, 128),
    "9:21": (128, 304),
}
"""Aspect → native (width, height) in pixels, before enlarging."""

TRAINED_ASPECTS: Final = ("1:1", "3:2", "2:3", "16:9", "9:16")
"""Aspects seen in training; the others lie between or just beyond them."""
