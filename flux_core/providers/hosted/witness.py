"""A vendor's calls for one shot, watched: how far they came decides what an error that follows means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flux_core.errors import (
    GenerationFailed,
    OutcomeUnknown,
    ProviderBroken,
    ProviderBusy,
    ProviderClosed,
    ProviderFault,
    Refused,
    RequestRejected,
)
from flux_core.providers.hosted.transport import Answer, Transport

Files = Mapping[str, tuple[str, bytes, str]]


class Witness:
    """A Transport for one ``Vendor.submit`` or one ``Vendor.poll`` that remembers what happened."""

    def __init__(self, transport: Transport, *, may_pay: bool) -> None:
        """Watch ``transport``; one submit at most, and none unless it ``may_pay``."""
        self._transport = transport
        self._may_pay = may_pay
        self.ordered = False
        """Whether the paid request was handed to the transport."""
        self._paid: Answer | None = None
        self._last: Answer | None = None
        """The answer to the last request; None when that one failed."""

    async def submit(
        self,
        path: str,
        *,
        json: Any = None,
        files: Files | None = None,
        data: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Pay, once."""
        if self.ordered or not self._may_pay:
            raise RuntimeError("A shot is paid for once.")
        self.ordered = True
        self._last = None
        self._last = self._paid = await self._transport.submit(path, json=json, files=files, data=data, headers=headers)
        return self._paid

    async def call(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        content: bytes | None = None,
        files: Files | None = None,
        data: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        keyless: bool = False,
    ) -> Answer:
        """Call what is free."""
        self._last = None
        self._last = await self._transport.call(
            method,
            path,
            json=json,
            content=content,
            files=files,
            data=data,
            headers=headers,
            params=params,
            keyless=keyless,
        )
        return self._last

    def leaves_open(self, error: Exception) -> bool:
        """Say whether, after ``error`` came out of ``Vendor.submit``, the vendor may be drawing all the same."""
        if isinstance(error, OutcomeUnknown):
            return True
        if not self.ordered:
            return False
        if not isinstance(error, GenerationFailed):
            return True  # a slip in the vendor's file
        if self._paid is None:
            return False  # the transport has ruled it out
        # It was accepted. Then only the vendor's own readable word ends it; a page for people is none, except where the
        # vendor's file knows that it comes from an address that takes no orders.
        faulty = isinstance(error, ProviderFault) and not isinstance(error, RequestRejected | ProviderClosed)
        return self._last is None or (faulty and self._last.json is None)

    def settles(self, error: Exception) -> bool:
        """Say whether ``error`` out of ``Vendor.poll`` tells how the shot ended; otherwise it is asked again."""
        if isinstance(error, Refused | RequestRejected | OutcomeUnknown):
            return True
        if not isinstance(error, GenerationFailed) or isinstance(error, ProviderBusy):
            return False
        if self._last is None:
            return isinstance(error, ProviderBroken)  # in the vendor's words; trouble on the way is ProviderDown
        return self._last.json is not None
