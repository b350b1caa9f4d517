"""What can happen to a request at a stand-in vendor instead of its proper answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class Fault:
    """Something that happens to a request instead of its proper answer."""


@dataclass(frozen=True)
class Status(Fault):
    """Answer with this status and body, and do nothing."""

    code: int
    body: Any = None
    """JSON, or text as it is."""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def takes_nothing_on(self) -> bool:
        """Whether the answer says clearly that the request may be sent again."""
        return self.code == 429 or (self.code == 503 and "retry-after" in {name.lower() for name in self.headers})


@dataclass(frozen=True)
class ResetAfterBody(Fault):
    """Read the request, do what it asks, then reset the connection without an answer."""


@dataclass(frozen=True)
class ResetAtOnce(Fault):
    """Reset the connection without reading the body."""


@dataclass(frozen=True)
class Trickle(Fault):
    """Do what was asked, then answer very slowly."""

    bytes_per_second: float = 20.0


@dataclass(frozen=True)
class Html(Fault):
    """Answer with a page for people; nothing is done. As a picture: HTML bytes."""

    status: int = 200


@dataclass(frozen=True)
class Truncated(Fault):
    """Do what was asked, and send the first half of the answer (of the picture)."""

    clean: bool = True
    """Whether the answer looks whole to HTTP; otherwise the connection breaks off in the middle."""


@dataclass(frozen=True)
class WrongType(Fault):
    """Do what was asked, and say a wrong content type."""

    content_type: str = "text/plain"


@dataclass(frozen=True)
class Huge(Fault):
    """Do what was asked, and answer with very many bytes. As a picture: a PNG of very many pixels."""

    size: int = 200 * 1024 * 1024
    declared: bool = False
    """Whether Content-Length says so beforehand."""


@dataclass(frozen=True)
class Mangled(Fault):
    """Do what was asked, and answer with one value of the JSON replaced by another. An answer of other kind is left."""

    turn: int
    """Chooses the value that is replaced, and by what."""


@dataclass(frozen=True)
class Redirect(Fault):
    """Answer with a redirect that keeps method and body (307); nothing is done."""

    to_other_host: bool = True


@dataclass(frozen=True)
class Silence(Fault):
    """Do what was asked, and never answer."""
