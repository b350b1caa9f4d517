"""What all jobs of one vendor share, and what one job asks of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Self

from PIL import Image

from flux_core.errors import ProviderBroken, RequestRejected
from flux_core.generation import GenerationRequest
from flux_core.offers import Offer
from flux_core.providers.base import DrawTask
from flux_core.providers.hosted.http import HttpTransport
from flux_core.providers.hosted.limits import Pace
from flux_core.providers.hosted.patience import Patience
from flux_core.providers.hosted.pictures import Pictures
from flux_core.providers.hosted.vendor import Vendor


@dataclass(frozen=True, slots=True)
class Desk:
    """One vendor's limits, connections and manners."""

    vendor: Vendor
    transport: HttpTransport
    pace: Pace
    pictures: Pictures
    patience: Patience
    submitting: asyncio.Semaphore
    """Orders that leave at once: where the vendor answers at once and draws later, many need no more than a few."""
    leaving: set[asyncio.Task[None]] = field(default_factory=set)
    """What cancelled jobs still do; held here, since asyncio itself holds tasks weakly."""

    def broken(self, what: str) -> ProviderBroken:
        """Return the fault that the vendor ``what``."""
        return ProviderBroken(f"{self.vendor.title} {what}", provider=self.vendor.title)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One job, as this vendor is asked for it."""

    job_id: str
    request: GenerationRequest
    """Without its picture where that is left aside."""
    offer: Offer
    size: tuple[int, int]
    shots: tuple[tuple[int, ...], ...]
    """The seeds of each."""
    image: Image.Image | None
    """What to start from."""
    publish: Callable[[bytes, str], Awaitable[str]] | None
    from_words: bool
    """Whether a picture to start from is left aside."""

    @classmethod
    def of(cls, task: DrawTask, vendor: Vendor, offer: Offer, *, links: bool) -> Self:
        """Plan ``task``; raises RequestRejected where ``offer`` has no such size."""
        request = task.request
        links = links and task.publish is not None
        image = task.input_image if offer.starts_from_pictures(links=links) else None
        from_words = task.input_image is not None and image is None
        if from_words:
            request = request.model_copy(update={"input_picture": None, "strength": None})
        size = offer.size(request)
        if size is None and task.provider_job_id:
            size = request.width, request.height  # ordered when it could be, so it can be fetched
        if size is None:
            detail = f"{vendor.title} draws nothing like {request.width}×{request.height}"
            raise RequestRejected(detail, provider=vendor.title)
        step = max(1, vendor.pictures_per_shot)
        return cls(
            job_id=task.job_id,
            request=request,
            offer=offer,
            size=size,
            shots=tuple(tuple(request.seeds[at : at + step]) for at in range(0, request.count, step)),
            image=image,
            publish=task.publish,
            from_words=from_words,
        )
