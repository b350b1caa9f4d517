"""Rate limits the way Discord reports them: buckets per route and major parameter, and one global limit."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass

GLOBAL_PER_SECOND = 50
"""Discord's global limit for requests that carry the bot token; interaction routes are exempt."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A named limit: so many requests in so many seconds."""

    name: str
    limit: int
    seconds: float

    @property
    def hash(self) -> str:
        """Return the opaque name that X-RateLimit-Bucket carries."""
        return hashlib.sha256(self.name.encode()).hexdigest()[:32]


# The sizes are those that Discord's headers were seen to report; it does not document them.
DEFAULT = Bucket("default", 50, 1.0)
SEND = Bucket("channel-send", 5, 5.0)
EDIT = Bucket("channel-edit", 5, 5.0)
DELETE = Bucket("channel-delete", 5, 1.0)
WEBHOOK = Bucket("webhook", 5, 2.0)
COMMANDS = Bucket("commands", 20, 20.0)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to answer: headers in any case, and how long to wait when the limit is used up."""

    headers: dict[str, str]
    retry_after: float | None = None
    is_global: bool = False


class RateLimits:
    """Count requests in fixed windows."""

    def __init__(self, *, enforced: bool) -> None:
        self._enforced = enforced
        self._windows: dict[tuple[str, str], tuple[float, int]] = {}

    def take(self, bucket: Bucket, major: str, *, counts_globally: bool) -> Verdict:
        """Count one request against its bucket, and against the global limit when it carries the bot token."""
        now = time.time()
        if len(self._windows) > 10_000:
            self._windows = {key: window for key, window in self._windows.items() if window[0] > now}
        if counts_globally and self._enforced:
            reset, used = self._use(("global", ""), now, 1.0)
            if used > GLOBAL_PER_SECOND:
                return limited(reset - now, is_global=True)
        reset, used = self._use((bucket.name, major), now, bucket.seconds)
        headers = {
            "X-RateLimit-Limit": str(bucket.limit),
            "X-RateLimit-Remaining": str(max(0, bucket.limit - used)),
            "X-RateLimit-Reset": f"{reset:.3f}",
            "X-RateLimit-Reset-After": f"{max(0.0, reset - now):.3f}",
            "X-RateLimit-Bucket": bucket.hash,
        }
        if used > bucket.limit and self._enforced:
            return Verdict(headers | limited(reset - now, is_global=False).headers, reset - now)
        if not self._enforced:
            headers["X-RateLimit-Remaining"] = str(max(1, bucket.limit - used))
        return Verdict(headers)

    def _use(self, key: tuple[str, str], now: float, seconds: float) -> tuple[float, int]:
        reset, used = self._windows.get(key, (0.0, 0))
        if reset <= now:
            reset, used = now + seconds, 0
        self._windows[key] = (reset, used + 1)
        return reset, used + 1


def limited(retry_after: float, *, is_global: bool) -> Verdict:
    """Build the verdict of a 429; the Via header is how clients tell Discord from Cloudflare's ban page."""
    headers = {
        "Retry-After": str(max(1, round(retry_after))),
        "Via": "1.1 google",
        "X-RateLimit-Scope": "global" if is_global else "user",
    }
    if is_global:
        headers["X-RateLimit-Global"] = "true"
    return Verdict(headers, retry_after, is_global)
