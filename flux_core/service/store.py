"""The place where pictures lie, as the studio needs it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol


class PictureStore(Protocol):
    """What the studio needs of the place where pictures lie (``flux_core.images.store``)."""

    async def put(self, key: str, data: bytes, content_type: str) -> None:
        """Keep ``data`` under ``key``."""

    async def get(self, key: str) -> bytes:
        """Return what lies under ``key``; raises PictureGone."""

    async def delete(self, keys: Collection[str]) -> None:
        """Let go of ``keys``, those that exist."""
