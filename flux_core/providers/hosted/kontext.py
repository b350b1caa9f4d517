"""FLUX.1 Kontext, alike at every vendor that serves it: an aspect is asked for, about one megapixel comes.

Its makers document aspects from 21:9 to 9:21 and no pixels, so the sizes here are the studio's own of those aspects.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import gcd

from flux_core.generation import RATIO_TOLERANCE
from flux_core.models import ASPECTS, FLUX_KONTEXT, MEGAPIXEL, MULTIPLE
from flux_core.offers import Sizes

NOMINAL: Mapping[str, tuple[int, int]] = {word: FLUX_KONTEXT.size_for_aspect(word) for word in ASPECTS}


def sizes_of(words: Collection[str]) -> Sizes:
    """Return the sizes of ``words``, for a vendor that knows these aspects only."""
    return Sizes(listed=tuple(NOMINAL[word] for word in words))


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
