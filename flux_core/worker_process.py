"""A worker as a process of its own: wiring, signals, and an end with its supervisor."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import secrets

from flux_core.bootstrap import job_queue, maintained, open_database
from flux_core.images.store import PictureStore
from flux_core.lifetime import end_with_supervisor, obey_signals
from flux_core.providers.base import Provider
from flux_core.settings import Settings
from flux_core.worker import Worker

log = logging.getLogger(__name__)

STOP_SECONDS = 8.0
"""What a drawing gets to end when its worker is stopped; container runtimes kill after ten seconds."""
ORPHAN_SECONDS = 3 * STOP_SECONDS
"""After this long without its supervisor a worker ends by force."""


async def run_worker(
    settings: Settings, *, provider: Provider | None = None, worker_id: str | None = None, supervised: bool = False
) -> None:
    """Draw jobs until SIGTERM or SIGINT; a second signal ends the process at once.

    ``provider`` is the local engine unless another is given. A worker that takes over the id of one that died makes
    its jobs due for rescue at once. ``supervised`` says that standard input is a pipe which a supervisor holds open:
    when it closes, the supervisor is gone, and the worker stops as well.
    Raises ConfigurationError or StorageUnavailable when it cannot begin.
    """
    stop = asyncio.Event()
    obey_signals(stop)
    if supervised:
        end_with_supervisor(stop, within=ORPHAN_SECONDS)
    drawing = provider if provider is not None else await asyncio.to_thread(local_provider, settings)
    try:
        async with open_database(settings) as database:
            queue, pictures = job_queue(settings, database), PictureStore(settings.pictures)
            worker = Worker(
                queue,
                pictures,
                drawing,
                worker_id=worker_id or f"{platform.node()}-{os.getpid()}-{secrets.token_hex(3)}",
                changed=database.changed,
                lease_seconds=settings.lease_seconds,
                preview_every=settings.preview_every,
                job_timeout=settings.job_timeout,
                stop_seconds=STOP_SECONDS,
            )
            async with maintained(database, queue, pictures):
                await worker.run(stop)
    finally:
        try:
            await asyncio.wait_for(drawing.close(), STOP_SECONDS)
        except TimeoutError:
            # A model is being downloaded, say. The engine's thread cannot be ended, and Python would wait for it.
            log.warning("The engine does not come to an end; the worker ends without it", exc_info=True)
            os._exit(1)


def local_provider(settings: Settings) -> Provider:
    """Return the engine of this machine; raises ConfigurationError. Takes seconds: it imports torch."""
    # Threads of a team that wait for each other by spinning make a step a hundred times slower as soon as anything
    # else needs the CPU. OpenMP reads this once, when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from flux_core.gpu.quiet import silence

    silence()
    from flux_core.providers.local import LocalProvider

    token = settings.hf_token
    return LocalProvider(
        settings.catalogue,
        device=settings.device,
        threads=settings.torch_threads,
        hub_token=None if token is None else token.get_secret_value(),
    )
