"""What a graphics card says of itself."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import torch
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from flux_core.metrics import definitions as m


class Card(Collector):
    """The memory and the work of one device; nothing for what is no card of NVIDIA's or AMD's."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def collect(self) -> Iterable[Metric]:
        """Ask the driver, once the engine has begun to use the card: a question alone would take memory there."""
        if self._device.type != "cuda" or not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            return []
        free, total = torch.cuda.mem_get_info(self._device)
        memory = m.GPU_MEMORY.family()
        memory.add_metric(("used",), total - free)
        memory.add_metric(("total",), total)
        memory.add_metric(("ours",), torch.cuda.memory_reserved(self._device))
        busy = m.GPU_BUSY.family()
        with suppress(Exception):  # of the driver's library, which does not say everything in every container
            busy.add_metric((), torch.cuda.utilization(self._device) / 100)
        return [memory, busy]
