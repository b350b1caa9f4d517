"""Spans of time and dates as moderators type them: ``30m``, ``7d``, ``2w``, ``2026-12-31``, ``forever``. Pure."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from flux_core.errors import InvalidPolicy

FOREVER = "forever"
LONGEST = 10 * 365 * 86_400
"""Seconds: whoever means longer means forever."""
SUGGESTIONS = ("30m", "1h", "12h", "1d", "3d", "7d", "2w", "4w", "52w", FOREVER)
"""What is offered while typing."""

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_UNIT = r"(?:(?P<unit>s|m|h|d|w)|(?P<word>seconds?|secs?|minutes?|mins?|hours?|days?|weeks?))"
# In ASCII: without it, ſ would be an s.
_SPAN = re.compile(rf"(?P<number>[0-9]{{1,9}}) ?{_UNIT}", re.IGNORECASE | re.ASCII)
_HOW = "write it like 30m, 12h, 7d or 2w"


def parse_duration(text: str, *, what: str = "duration", forever: bool = True, least: float = 60) -> float | None:
    """Return a span in seconds; None for ``forever``, where that makes sense.

    Raises InvalidPolicy, whose sentence names the option ``what``, for anything else, for less than ``least`` seconds,
    and for more than ten years.
    """
    typed = " ".join(text.split()).lower()
    if forever and typed == FOREVER:
        return None
    found = _SPAN.fullmatch(typed)
    if found is None:
        raise _unreadable(what, text, f"{_HOW}, or {FOREVER}" if forever else _HOW)
    seconds = int(found["number"]) * _SECONDS[found["unit"] or found["word"][0]]
    if seconds < least:
        raise InvalidPolicy(problems=[f"the {what} has to be at least {_short(least)}, and {text.strip()} is less"])
    if seconds > LONGEST:
        otherwise = f"; say {FOREVER} instead" if forever else ""
        raise InvalidPolicy(problems=[f"the {what} can be ten years at most{otherwise}"])
    return float(seconds)


def parse_end(text: str, now: float, zone: ZoneInfo, *, what: str = "expires") -> float | None:
    """Return when something ends, in unix seconds: after a span from ``now``, or with the day of a date in ``zone``.

    None for ``forever``. Raises InvalidPolicy for anything else, and for what is over already.
    """
    typed = text.strip()
    try:
        day = date.fromisoformat(typed) if re.fullmatch(r"\d{4}-\d\d-\d\d", typed) else None
    except ValueError:
        raise _unreadable(what, text, "there is no such day") from None
    if day is None:
        try:
            seconds = parse_duration(typed, what=what)
        except InvalidPolicy as error:
            if _SPAN.fullmatch(typed):
                raise
            raise _unreadable(what, text, "write it like 7d, 2w or 2026-12-31") from error
        return None if seconds is None else now + seconds
    if day.year > datetime.fromtimestamp(now, zone).year + 10:
        raise InvalidPolicy(problems=[f"{what} can be ten years ahead at most; say {FOREVER} instead"])
    end = datetime.combine(day + timedelta(days=1), time.min, zone).timestamp()
    if end <= now:
        raise InvalidPolicy(problems=[f"{what} says {typed}, which is over already"])
    return end


def _unreadable(what: str, text: str, how: str) -> InvalidPolicy:
    said = " ".join(text.split())
    said = said if len(said) <= 30 else said[:29] + "…"
    return InvalidPolicy(problems=[f"{what} says “{said}”, which I can't read: {how}"])


def _short(seconds: float) -> str:
    return "1 minute" if seconds == 60 else f"{seconds:g} seconds"
