"""Models that are asked for an aspect and answer with about one megapixel, FLUX.1 Kontext first of all."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import gcd

from flux_core.generation import RATIO_TOLERANCE
from flux_core.models import ASPECTS, FLUX_KONTEXT, MEGAPIXEL, MULTIPLE
from flux_core.offers import Sizes

NOMINAL: Mapping[str, tuple[int, int]] = {word: FLUX_KONTEXT.size_for_aspect(word) for word in ASPECTS}
"""Aspect → the studio's own size of it, for services that promise an aspect and name no pixels."""

_WIDE = ((1104, 944), (1184, 880), (1248, 832), (1328, 800), (1392, 752), (1456, 720), (1504, 688), (1568, 672))
TRAINED = Sizes(listed=((1024, 1024), *_WIDE, *((height, width) for width, height in _WIDE)))
"""Sizes that Kontext was trained in, from its makers' published code. That its services draw no others is not
documented, but a picture of another aspect than was asked for would be paid for and useless: 4:5 and 5:4 are too far
from all of them."""


def sizes_of(words: Collection[str]) -> Sizes:
    """Return the nominal sizes of ``words``, for a vendor that knows these aspects only."""
    return Sizes(listed=tuple(NOMINAL[word] for word in words))


def trained_sizes_of(words: Collection[str]) -> Sizes:
    """Return Kontext's own sizes of ``words``, of those that it comes near to."""
    nearest = (TRAINED.nearest(*NOMINAL[word]) for word in words)
    return Sizes(listed=tuple(size for size in nearest if size is not None))


def any_ratio() -> Sizes:
    """Return a size for every ratio from 9:21 to 21:9, for a vendor that takes any or follows the picture."""
    widths = range(NOMINAL["9:21"][0], NOMINAL["21:9"][0] + MULTIPLE, MULTIPLE)
    return Sizes(listed=tuple(FLUX_KONTEXT.size_for_ratio(width * width / MEGAPIXEL) for width in widths))


def word_of(size: tuple[int, int], words: Collection[str]) -> str | None:
    """Return which of ``words`` names the aspect of ``size``; None where none comes near enough."""
    ratio = size[0] / size[1]
    nearest = min(words, key=lambda word: abs(ASPECTS[word] / ratio - 1))
    return nearest if abs(ASPECTS[nearest] / ratio - 1) <= RATIO_TOLERANCE else None


def exact_ratio(size: tuple[int, int]) -> str:
    """Return the aspect of ``size`` as the studio calls it, or as a reduced fraction ("41:26")."""
    for word, nominal in NOMINAL.items():
        if size == nominal:
            return word
    divisor = gcd(*size)
    return f"{size[0] // divisor}:{size[1] // divisor}"
