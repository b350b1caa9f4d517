"""``/metrics``, ``/healthz`` and ``/readyz`` of one process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from flux_core.logs import masking
from flux_core.metrics import definitions as m
from flux_core.metrics.house import House
from flux_core.metrics.lag import measure_lag
from flux_core.metrics.server import Answer, serve
from flux_core.settings import Settings

log = logging.getLogger(__name__)

PATIENCE = 3.0
"""Seconds for each look whether the process is ready."""

Check = Callable[[], Awaitable[str | None]]
"""Returns why something is not ready; None when it is."""


class _All(Collector):
    def __init__(self, collectors: Iterable[Collector]) -> None:
        self._collectors = tuple(collectors)

    def collect(self) -> Iterable[Metric]:
        # A metric is told once, also where several providers of a process have it.
        found: dict[str, Metric] = {}
        for collector in self._collectors:
            for metric in collector.collect():
                if known := found.get(metric.name):
                    known.samples.extend(metric.samples)
                else:
                    found[metric.name] = metric
        return found.values()


@asynccontextmanager
async def exposed(
    settings: Settings,
    checks: Mapping[str, Check],
    *,
    house: House | None = None,
    collectors: Sequence[Collector] = (),
) -> AsyncIterator[int | None]:
    """Tell meanwhile how this process is doing; yields the port, or None where METRICS_PORT is not set.

    ``checks`` say whether it is ready, by the name of what they look at; ``house``: the figures of the database;
    ``collectors``: what else is read when somebody asks.
    Raises ConfigurationError for an address that cannot be taken.
    """
    if settings.metrics_port is None:
        yield None
        return
    mask = masking(settings)
    everything = _All((m.REGISTRY, *(() if house is None else (house,)), *collectors))

    async def metrics(headers: Mapping[str, str]) -> Answer:
        if house is not None:
            await house.look()
        encode, content_type = choose_encoder(headers.get("accept", ""))
        return Answer(encode(everything), content_type=content_type)

    async def alive(_: Mapping[str, str]) -> Answer:
        return Answer(b"ok\n")

    async def ready(_: Mapping[str, str]) -> Answer:
        reasons = await asyncio.gather(*(_reason(check) for check in checks.values()))
        lines = (f"{name}: {reason or 'ok'}\n" for name, reason in zip(checks, reasons, strict=True))
        status = HTTPStatus.SERVICE_UNAVAILABLE if any(reasons) else HTTPStatus.OK
        return Answer(mask("".join(lines)).encode(), status)

    pages = {"/metrics": metrics, "/healthz": alive, "/readyz": ready}
    lag = asyncio.create_task(measure_lag(), name="event loop lag")
    try:
        async with serve(pages, settings.metrics_host, settings.metrics_port) as port:
            log.info("Metrics are at %s", address(settings.metrics_host, port))
            yield port
    finally:
        lag.cancel()
        await asyncio.gather(lag, return_exceptions=True)


def address(host: str, port: int) -> str:
    """Return where the metrics are, for people."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/metrics"


async def _reason(check: Check) -> str | None:
    try:
        async with asyncio.timeout(PATIENCE):
            return await check()
    except TimeoutError:
        return "no answer"
