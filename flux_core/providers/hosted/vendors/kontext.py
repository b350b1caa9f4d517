"""FLUX.1 Kontext, alike at every vendor that serves it: an aspect is asked for, about one megapixel comes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import gcd

from flux_core.generation import RATIO_TOLERANCE
from flux_core.models import ASPECTS
from flux_core.offers import Sizes

_WIDE = ((1104, 944), (1184, 880), (1248, 832), (1328, 800), (1392, 752), (1456, 720), (1504, 688), (1568, 672))
TRAINED = Sizes(listed=((1024, 1024), *_WIDE, *((height, width) for width, height in _WIDE)))
"""Sizes that Kontext was trained in, from its makers' published code. That the services draw no others is not
documented, but a picture of another aspect than was asked for would be paid for and useless. All of them are for a
vendor that takes any ratio, or follows the picture that is to be edited."""


def _nearest(word: str) -> tuple[int, int]:
    return min(TRAINED.listed, key=lambda size: abs(size[0] / size[1] / ASPECTS[word] - 1))


SIZES: Mapping[str, tuple[int, int]] = {
    word: size
    for word, ratio in ASPECTS.items()
    if abs((size := _nearest(word))[0] / size[1] / ratio - 1) <= RATIO_TOLERANCE
}
"""Aspect → size, for those that Kontext comes near to: not for 4:5 and 5:4."""


def sizes_of(words: Collection[str]) -> Sizes:
    """Return the sizes of those ``words`` that Kontext draws, for a vendor that knows aspects by their names."""
    return Sizes(listed=tuple(SIZES[word] for word in words if word in SIZES))


def word_of(size: tuple[int, int]) -> str:
    """Return the aspect's name of a size from ``sizes_of``."""
    return next(word for word, known in SIZES.items() if known == size)


def exact_ratio(size: tuple[int, int]) -> str:
    """Return the exact aspect of ``size`` ("87:47")."""
    divisor = gcd(*size)
    return f"{size[0] // divisor}:{size[1] // divisor}"
