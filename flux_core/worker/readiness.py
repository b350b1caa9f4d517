"""The models that a worker has ready: loaded before anybody asks, no longer offered while they do not load."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from flux_core.errors import DrawingBroken, GenerationFailed
from flux_core.offers import Offer
from flux_core.providers.base import Provider, WarmsUp
from flux_core.waiting import happened
from flux_core.worker.repertoire import Repertoire

log = logging.getLogger(__name__)


class Readiness:
    """Looks after the models of one provider, for its worker. Made in the event loop."""

    def __init__(self, provider: Provider, warm_up: Sequence[str], tell: Callable[[], Awaitable[None]]) -> None:
        """Begin with every model offered; ``warm_up``: those that a provider which can gets ready first.

        ``tell`` is awaited whenever something else is offered than before.
        """
        self._provider = provider
        self._warm_up = tuple(warm_up) if isinstance(provider, WarmsUp) else ()
        self._tell = tell
        self._repertoire = Repertoire()
        self._changed = asyncio.Event()
        self.warm = asyncio.Event()
        """Set when the models to begin with are ready, or known not to load."""

    @property
    def offered(self) -> dict[str, Offer]:
        """Return what is offered now."""
        return self._repertoire.offered(self._provider.offers)

    @property
    def closed(self) -> str | None:
        """Return why no jobs are taken, as others know it; None while they are."""
        return self._repertoire.trouble(self._provider.offers) or self._provider.closed

    @property
    def trouble(self) -> str | None:
        """Return why no jobs are drawn, for the operator; None while they are."""
        return self.closed if self.warm.is_set() else f"{', '.join(self._warm_up)}: being loaded"

    async def look_after(self) -> None:
        """Get the first models ready, and try those again, when their time has come, that did not load. Never ends."""
        for model in self._warm_up:
            await self._try(model)
        self.warm.set()
        while True:
            self._changed.clear()
            for model in self._repertoire.due:
                await self._try(model)
            await happened(self._changed, self._repertoire.pause)

    async def failed(self, model: str, error: GenerationFailed) -> None:
        """Offer ``model`` no longer, since it does not load."""
        if self._repertoire.failed(model, str(error)):
            log.error("%s is not offered until it loads: %s", model, error)
        self._changed.set()
        await self._tell()

    async def _try(self, model: str) -> None:
        """Find out whether ``model`` loads. A provider that cannot say is asked with the next job."""
        try:
            if isinstance(self._provider, WarmsUp):
                await self._provider.warm_up(model)
        except GenerationFailed as error:
            await self.failed(model, error)
        except Exception as error:  # else the worker, and every one started in its place, would end here
            log.exception("%s does not load", model)
            await self.failed(model, DrawingBroken(f"{type(error).__name__}: {error}"))
        else:
            if self._repertoire.loaded(model):
                log.info("%s can be drawn again", model)
                await self._tell()
