"""One vendor's file with the real transport and a stand-in, without the engine around it."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from PIL import Image

from flux_core.generation import GenerationRequest, InputPicture
from flux_core.providers.hosted.http import HttpTransport, Patience
from flux_core.providers.hosted.vendor import Done, Found, Pending, Shot, Vendor
from tests.providers.hosted.standin import Case, StandIn

SHORT = Patience(connect=1.0, silence=2.0, whole=2.0, pause=0.01, longest_pause=0.02, longest_retry_after=0.1)


class Alone:
    """A vendor that is asked one thing after another."""

    def __init__(self, vendor: Vendor, transport: HttpTransport) -> None:
        self.vendor = vendor
        self.transport = transport

    async def draw(self, model: str = "flux-schnell", **wishes: Any) -> Done:
        """Submit a shot, and poll it to its end."""
        outcome = await self.vendor.submit(shot(self.vendor, model, **wishes), self.transport)
        ticket = ""
        for _ in range(20):
            if isinstance(outcome, Done):
                return outcome
            assert isinstance(outcome, Pending)
            ticket = outcome.ticket or ticket
            outcome = await self.vendor.poll(ticket, self.transport)
        raise AssertionError("it never ends")

    async def found(self, model: str = "flux-schnell", **wishes: Any) -> Found:
        """Draw one picture."""
        (found,) = (await self.draw(model, **wishes)).found
        return found

    async def check(self) -> str:
        """Make the free call."""
        return await self.vendor.check(self.transport)


@asynccontextmanager
async def alone(standin: StandIn, case: Case, **access: Any) -> AsyncIterator[Alone]:
    """Reach a running stand-in as ``case`` says."""
    vendor = case.vendor(standin.access(case, **access))
    async with HttpTransport(vendor, patience=SHORT) as transport:
        yield Alone(vendor, transport)


def shot(
    vendor: Vendor,
    model: str,
    *,
    size: tuple[int, int] = (1024, 1024),
    seed: int = 7,
    steps: int = 4,
    strength: float | None = None,
) -> Shot:
    """Return a shot as the engine makes it; with a ``strength`` it starts from a red picture."""
    offer = vendor.offers[model]
    request = GenerationRequest(
        prompt="a lighthouse at dusk",
        model=model,
        width=size[0],
        height=size[1],
        steps=steps,
        guidance=3.5 if model == "flux-dev" else None,
        seed=seed,
        count=1,
        input_picture=None if strength is None else InputPicture(key="a", width=64, height=64),
        strength=strength,
    )
    theirs = offer.size(request)
    assert theirs is not None
    picture = None if strength is None else red(theirs)
    return Shot(request=request, offer=offer, size=theirs, seeds=(seed,), picture=picture, client_id=str(uuid4()))


def red(size: tuple[int, int]) -> bytes:
    """Return a red PNG."""
    file = io.BytesIO()
    Image.new("RGB", size, "red").save(file, "PNG", compress_level=1)
    return file.getvalue()
