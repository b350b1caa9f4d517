"""Ask a process how it is doing, as Prometheus and Kubernetes do."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True)
class Said:
    """An answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


async def exchange(port: int, request: bytes) -> bytes:
    """Send bytes and return everything that comes back until the other side hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        await writer.drain()
        async with asyncio.timeout(30):
            return await reader.read()
    finally:
        writer.close()


async def ask(port: int, path: str, *, method: str = "GET", **headers: str) -> Said:
    """Send one request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in headers.items())]
    return read(await exchange(port, ("\r\n".join(lines) + "\r\n\r\n").encode()))


def read(raw: bytes) -> Said:
    """Return the answer in ``raw``."""
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    pairs = (line.partition(": ") for line in lines)
    return Said(int(first.split(" ")[1]), {name.lower(): value for name, _, value in pairs}, body)


Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def values(port: int) -> Values:
    """Return the samples of ``/metrics``: (name, labels) → value."""
    said = await ask(port, "/metrics")
    assert said.status == 200
    found: Values = {}
    for family in text_string_to_metric_families(said.text):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, f"{key} is told twice"
            found[key] = sample.value
    return found


def value(found: Values, name: str, **labels: str) -> float:
    """Return one of them; 0 for what has not been counted yet."""
    return found.get((name, frozenset(labels.items())), 0.0)
