"""HTTP to one vendor: a pool, limits, patience, and care for money and keys."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer: its body was read within limits."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    paid: bool = field(default=False)
    """Whether it answers a submit."""

    @property
    def json(self) -> Any:
        """Return the body as JSON, or None where it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class Transport(Protocol):
    """What a vendor's file may call. Paths are below the base URL, unless they are URLs that the vendor answered with.

    Both raise for every answer that is no success: what ``Vendor.fault`` makes of it, or ``faults.by_status``.
    A redirect is never followed. Bodies over 64 MB, and answers that trickle in too slowly, are faults.
    """

    async def submit(
        self,
        path: str,
        *,
        json: Any = None,
        files: Mapping[str, tuple[str, bytes, str]] | None = None,
        data: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """POST the one request of a shot that costs money.

        It leaves at most once: a connection that could not be made is tried again, and so is an answer that says
        clearly that nothing was taken on (429, or 503 with a Retry-After); everything else ends it. Raises
        OutcomeUnknown when it may have arrived without a usable answer.
        """

    async def call(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        content: bytes | None = None,
        files: Mapping[str, tuple[str, bytes, str]] | None = None,
        data: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        keyless: bool = False,
    ) -> Answer:
        """Send a request that may be repeated (poll, upload, cancel, check), and repeat it through short troubles.

        ``content`` is a body of plain bytes, as an upload to a presigned URL is; its type belongs into ``headers``.

        A URL of another host is called only if it is the base URL's or a trusted one; ``keyless`` requests (an upload
        to a presigned URL) carry no key and may go to any public host.
        """
