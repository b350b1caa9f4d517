"""The one engine behind every hosted provider: a vendor's facts, run with care for money, time and failure."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from flux_core.errors import GenerationFailed, ModelUnavailable, OutcomeUnknown, ProviderClosed, Refused
from flux_core.metrics import definitions as m
from flux_core.offers import Offer
from flux_core.providers.base import Drawing, DrawTask, Progress
from flux_core.providers.hosted.breaker import Breaker
from flux_core.providers.hosted.drawing import HostedDrawing
from flux_core.providers.hosted.http import CALLS_AT_ONCE, HttpTransport, Patience
from flux_core.providers.hosted.limits import Pace
from flux_core.providers.hosted.pictures import Pictures
from flux_core.providers.hosted.plan import Desk, Plan
from flux_core.providers.hosted.vendor import Vendor


class HostedProvider:
    """Draws at one vendor, many jobs at once. Belongs to one event loop."""

    hosted = True

    def __init__(
        self,
        vendor: Vendor,
        *,
        concurrency: int | None = None,
        per_minute: float | None = None,
        links: bool = False,
        patience: Patience | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Draw at ``vendor``, by default within its published limits.

        ``concurrency``: pictures in the making at once; ``per_minute``: submits a minute; ``links``: whether our
        picture store can hand out URLs; ``clock`` times the breaker, in seconds.
        """
        patience = patience or Patience()
        self.name = vendor.name
        self.concurrency = concurrency or vendor.limits.concurrency
        self._vendor = vendor
        self._offers = dict(vendor.offers)
        self._links = links
        self.pace = Pace(self.concurrency, per_minute or vendor.limits.per_minute)
        self.breaker = Breaker(vendor.title, advice=self._advice, clock=clock)
        self.transport = HttpTransport(vendor, patience=patience, pace=self.pace)
        self._desk = Desk(
            vendor=vendor,
            transport=self.transport,
            pace=self.pace,
            pictures=Pictures(vendor.title, self.transport, patience),
            patience=patience,
            submitting=asyncio.Semaphore(CALLS_AT_ONCE if vendor.polled else self.concurrency),
        )

    @property
    def device(self) -> str:
        """Return the vendor's name for people."""
        return self._vendor.title

    @property
    def offers(self) -> Mapping[str, Offer]:
        """Return what the vendor draws."""
        return self._offers

    @property
    def closed(self) -> str | None:
        """Return why no job shall come at the moment: faults in a row, no credit, a wrong key."""
        return self.breaker.closed

    async def draw(self, task: DrawTask, progress: Progress) -> Drawing:
        """Draw ``task``, or go on with what was ordered for it before.

        Raises Refused, OutcomeUnknown (may have been paid, is drawn nowhere else) or a ProviderFault (nothing will
        come of it here, somebody else may draw it).
        """
        offer = self._offers.get(task.request.model)
        if offer is None and task.provider_job_id:
            raise OutcomeUnknown(f"job {task.job_id} was ordered of {self.device}, which draws its model no more")
        if offer is None:
            raise ModelUnavailable(f"{self.device} does not draw {task.request.model}", model=task.request.model)
        plan = Plan.of(task, self._vendor, offer, links=self._links)
        drawing = HostedDrawing(self._desk, plan, task, progress)
        attempt = self.breaker.resumed() if drawing.resumed else await self.breaker.admit()
        try:
            result = await drawing.run()
            # Credit may have run out between two pictures of one job.
            closed = next((fault for fault in drawing.faults if isinstance(fault, ProviderClosed)), None)
            if closed is None:
                attempt.went_well()
            else:
                attempt.failed(closed)
            return result
        except Refused:
            attempt.went_well()
            raise
        except GenerationFailed as error:
            # That a worker was killed while it ordered says nothing of the vendor.
            if not (drawing.resumed and isinstance(error, OutcomeUnknown)):
                attempt.failed(error)
            raise
        finally:
            attempt.proved_nothing()

    @property
    def gauges(self) -> Collector:
        """Return whether the vendor gets orders, as a metric."""
        return _IsOpen(self)

    async def check(self) -> str:
        """Make the vendor's free call; see ``Vendor.check``."""
        return await self._vendor.check(self.transport)

    async def close(self) -> None:
        """Close all connections, once cancelled jobs have told the vendor."""
        if self._desk.leaving:
            await asyncio.wait(self._desk.leaving, timeout=2 * self._desk.patience.last_word)
        await self.transport.close()

    def _advice(self, reason: str) -> str:
        """Say which setting to look at."""
        prefix = self.name.upper()
        return {
            "key": f"Put a working key into {prefix}_API_KEY ({self._vendor.key_page or 'see the vendor'}).",
            "credit": f"Nothing is sent there until the account behind {prefix}_API_KEY is topped up.",
            "address": f"Look at {prefix}_BASE_URL, now {self._vendor.access.base_url}.",
        }.get(reason, "")


class _IsOpen(Collector):
    def __init__(self, provider: HostedProvider) -> None:
        self._provider = provider

    def collect(self) -> Iterable[Metric]:
        family = m.PROVIDER_OPEN.family()
        family.add_metric((self._provider.name,), 1.0 if self._provider.closed is None else 0.0)
        return [family]
