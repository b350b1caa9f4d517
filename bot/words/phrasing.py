"""Names, numbers, times and what members typed, as they stand in a message on Discord."""

from __future__ import annotations

import math
import re
from typing import Any

from flux_core.models import CREDIT, MEGAPIXEL
from flux_core.provider_settings import vendors
from flux_core.router import LOCAL

OWN_CARDS = "this studio's own machines"

_SPECIAL = re.compile(r"([\\*_~`|<>\[\]():#])")


def escape(text: str) -> str:
    """Return ``text`` on one line, so that it shows as typed: no markdown, no link, no mention, no ping."""
    one_line = " ".join(text.split())
    return _SPECIAL.sub(r"\\\1", one_line).replace("@", "@\u200b")


def shorten(text: str, limit: int) -> str:
    """Cut ``text`` to at most ``limit`` characters, the last one an ellipsis where something is missing."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def quoted(value: object, limit: int = 60) -> str:
    """Return something a member typed, safe to repeat."""
    return f"“{escape(shorten(str(value), limit))}”"


def credits(millicredits: int) -> str:
    """Return an amount in credits: ``1 credit``, ``0.25 credits``."""
    amount = f"{millicredits / CREDIT:,.3f}".rstrip("0").rstrip(".")
    return f"{amount} credit" if amount == "1" else f"{amount} credits"


def dollars(microdollars: int) -> str:
    """Return an amount in US dollars with as many digits as it needs: ``$0.025``, ``$1.20``, ``$0.00``."""
    whole, _, cents = f"{microdollars / 1_000_000:,.4f}".partition(".")
    return f"${whole}.{cents.rstrip('0'):0<2}"


def counted(amount: int, thing: str) -> str:
    """Return how many there are of something: ``1 job``, ``1,200 jobs``."""
    return f"{amount:,} {thing}{'' if amount == 1 else 's'}"


def number(value: Any) -> str:
    """Return a number as people write it: ``4``, ``0.05``."""
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        value = int(value)
    return shorten(str(value), 24)


def duration(seconds: float) -> str:
    """Return a span of time, rounded for reading: ``0.8 s``, ``12 s``, ``3 min 20 s``, ``1 h 5 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    minutes = whole % 3600 // 60
    return f"{whole // 3600} h {minutes} min" if minutes else f"{whole // 3600} h"


def moment(unix: float, style: str = "R") -> str:
    """Return a time that Discord shows in the reader's own zone and language; style R counts up or down by itself."""
    return f"<t:{math.ceil(unix)}:{style}>"


def ordinal(position: int) -> str:
    """Return ``1st``, ``2nd``, ``3rd``, ``11th``."""
    if position % 100 in (11, 12, 13):
        return f"{position}th"
    ending = {1: "st", 2: "nd", 3: "rd"}.get(position % 10, "th")
    return f"{position}{ending}"


def megabytes(size: float) -> str:
    """Return a file size: ``25 MB`` (of 1024 × 1024 bytes, as Discord counts)."""
    return f"{number(round(size / 1024**2, 1))} MB"


def megapixels(pixels: int) -> str:
    """Return a number of pixels in steps of 1024 × 1024: ``2 megapixels``."""
    return f"{pixels / MEGAPIXEL:g} megapixels"


def title_of(provider: str) -> str:
    """Return how people call a provider; a name that is not known stays as it is."""
    if provider == LOCAL:
        return OWN_CARDS
    vendor = vendors().get(provider)
    return provider if vendor is None else vendor.title
