"""A drawing that no job waits for: it is measured, compared or rehearsed."""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image


class Unwatched:
    """A Progress (``flux_core.providers.base``) that nobody looks at, and that asks no provider for anything."""

    @property
    def cancelled(self) -> bool:
        """Return whether the rest is not wanted any more."""
        return False

    def step(self, done: int, total: int) -> None:
        """Take note of nothing."""

    def preview(self, show: Callable[[], Image.Image]) -> None:
        """Look at nothing."""

    async def submitted(self, provider_job_id: str) -> None:
        """Refuse: such a drawing stays on this machine."""
        raise NotImplementedError("Nothing is ordered elsewhere.")
