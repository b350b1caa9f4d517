"""A worker process with the real engine, whose network comes to no end from the ``n``-th step on.

``python -m tests.worker.hanging_worker <n>``; nothing hangs for 0. It prints nothing and logs as every worker does.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any

from flux_core.gpu import shelf
from flux_core.gpu.loading import LoadedModel
from flux_core.logs import configure_logging
from flux_core.settings import load_settings
from flux_core.worker.process import run_worker


def main() -> None:
    """Run until stopped, or until it hangs."""
    steps, hang_at = 0, int(sys.argv[1])
    load = shelf.load

    def loaded(*args: Any, **options: Any) -> LoadedModel:
        model = load(*args, **options)
        model.text_to_image.transformer.register_forward_pre_hook(on_step)
        return model

    def on_step(*_: object) -> None:
        nonlocal steps
        steps += 1
        if steps == hang_at:
            threading.Event().wait()  # what a driver does that waits for a card which has fallen off the bus

    shelf.load = loaded
    settings = load_settings()
    configure_logging(settings)
    asyncio.run(run_worker(settings, worker_id="hanging"))


if __name__ == "__main__":
    main()
