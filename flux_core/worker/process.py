"""Workers as a process of their own: wiring, signals, and an end with their supervisor."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import logging
import os
import platform
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flux_core.bootstrap import hosted_providers, job_queue, maintained, open_database, retention
from flux_core.database import schema
from flux_core.errors import ConfigurationError, StorageUnavailable
from flux_core.images.store import PictureStore
from flux_core.metrics.exposing import exposed
from flux_core.metrics.house import database_answers
from flux_core.outgrown import until_outgrown
from flux_core.providers.base import Measured, Provider
from flux_core.settings import Settings
from flux_core.worker.lifetime import end_with_supervisor, obey_signals
from flux_core.worker.watchdog import Watchdog
from flux_core.worker.worker import Worker

if TYPE_CHECKING:
    from flux_core.gpu.classifier import Classifier

log = logging.getLogger(__name__)

STOP_SECONDS = 8.0
"""What a drawing gets to end when its worker is stopped; container runtimes kill after ten seconds."""
HUNG = 75
"""Exit code of a worker whose card hangs: sysexits' EX_TEMPFAIL, "try again"."""
ORPHAN_SECONDS = 3 * STOP_SECONDS
"""After this long without its supervisor a worker ends by force."""


COLLECTIONS = (2_000, 20, 200)
"""How rarely Python looks for garbage in circles, oldest last: with 500 jobs in flight a whole look takes 70 ms."""


@dataclass(frozen=True, slots=True)
class Post:
    """One worker of a process: its name, who draws for it, and what that may cost a day in millionths of a dollar."""

    worker_id: str
    provider: Provider
    money_cap: int | None = None


async def run_worker(
    settings: Settings, *, provider: Provider | None = None, worker_id: str | None = None, supervised: bool = False
) -> None:
    """Draw jobs on this machine until SIGTERM or SIGINT; a second signal ends the process at once.

    ``provider`` is the local engine unless another is given. A worker that takes over the id of one that died makes
    its jobs due for rescue at once. ``supervised`` says that standard input is a pipe which a supervisor holds open:
    when it closes, the supervisor is gone, and the worker stops as well.
    Raises ConfigurationError or StorageUnavailable when it cannot begin.
    """
    stop = _stop(supervised)
    drawing = provider if provider is not None else await asyncio.to_thread(local_provider, settings, _end_by_force)
    await _work(settings, [Post(worker_id or _new_id(), drawing)], stop)


async def run_hosted(
    settings: Settings, names: Sequence[str], *, worker_id: str | None = None, supervised: bool = False
) -> None:
    """Have hosted providers draw, one worker for each of ``names``, all in this process; otherwise as ``run_worker``.

    Raises ConfigurationError for a name that is not configured.
    """
    stop = _stop(supervised)
    own = worker_id or _new_id()
    posts = []
    for provider in hosted_providers(settings, names):
        posts.append(Post(f"{own}-{provider.name}", provider, settings.providers[provider.name].money_cap))
    await _work(settings, posts, stop)


def _stop(supervised: bool) -> asyncio.Event:
    stop = asyncio.Event()
    obey_signals(stop)
    if supervised:
        end_with_supervisor(stop, within=ORPHAN_SECONDS)
    return stop


def _new_id() -> str:
    return f"{platform.node()}-{os.getpid()}-{secrets.token_hex(3)}"


async def _work(settings: Settings, posts: Sequence[Post], stop: asyncio.Event) -> None:
    """Run a worker for each post until ``stop``; when one breaks, all end, and its error is raised.

    Raises ConfigurationError as soon as the database is too new for this program.
    """
    check = await asyncio.to_thread(output_check, settings)
    # A wrong setting shall be seen in the log at once, not with the first picture.
    preparing = None if check is None else asyncio.create_task(check.prepare(), name="output check")
    try:
        if stop.is_set():  # while the libraries were read, which takes many seconds: no model is loaded for that
            return
        async with open_database(settings) as database:
            queue, pictures = job_queue(settings, database), PictureStore(settings.pictures)
            workers = [
                Worker(
                    queue,
                    pictures,
                    post.provider,
                    worker_id=post.worker_id,
                    changed=database.changed,
                    lease_seconds=settings.lease_seconds,
                    preview_every=settings.preview_every,
                    job_timeout=settings.job_timeout,
                    stop_seconds=STOP_SECONDS,
                    money_cap=post.money_cap,
                    batch_pictures=settings.batch_pictures,
                    tell_prompt=settings.prompt_in_pictures,
                    check=check,
                    warm_up=() if post.provider.hosted else settings.warmed_up,
                )
                for post in posts
            ]

            async def run(worker: Worker) -> None:
                try:
                    await worker.run(stop)
                finally:
                    stop.set()

            async def drawing() -> str | None:
                troubles = [worker.trouble for worker in workers]
                return None if None in troubles else "; ".join(filter(None, troubles))

            checks = {"database": lambda: database_answers(database), "drawing": drawing}
            gauges = [post.provider.gauges for post in posts if isinstance(post.provider, Measured)]
            async with (
                exposed(settings, checks, collectors=gauges),
                maintained(database, queue, pictures, retention(settings)),
            ):
                # As in the bot: modules live as long as the process, and a collection need not look at them again.
                gc.collect()
                gc.freeze()
                gc.set_threshold(*COLLECTIONS)
                fitting = asyncio.create_task(until_outgrown(database), name="version")
                fitting.add_done_callback(lambda _: stop.set())
                ended = await asyncio.gather(*map(run, workers), return_exceptions=True)
                fitting.cancel()
                errors = [error for error in ended if error is not None]
                if errors or not fitting.cancelled():
                    # What a newer version has taken away may be behind it all: that is what the operator has to know.
                    with suppress(StorageUnavailable):
                        await database.read(schema.check)
                for error in errors:
                    raise error
    finally:
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await asyncio.gather(*(post.provider.close() for post in posts))
                if check is not None and preparing is not None:
                    await asyncio.gather(check.close(), preparing, return_exceptions=True)
        except TimeoutError:
            # A model is being downloaded, say. The engine's thread cannot be ended, and Python would wait for it.
            log.warning("A provider does not come to an end; the worker ends without it", exc_info=True)
            os._exit(1)


def output_check(settings: Settings) -> Classifier | None:
    """Return what looks at the pictures of this process, if anything. Takes seconds then: it imports torch.

    Raises ConfigurationError where torch is missing.
    """
    if not settings.output_check_model:
        return None
    _before_torch()
    try:
        from flux_core.gpu.classifier import Classifier
    except ImportError as error:
        raise ConfigurationError(
            f"OUTPUT_CHECK_MODEL needs what a worker needs: pip install -c constraints.txt '.[worker]' ({error})."
        ) from error
    token = settings.hf_token
    return Classifier(
        settings.output_check_model,
        settings.output_check_labels,
        hub_token=None if token is None else token.get_secret_value(),
    )


def local_provider(settings: Settings, on_hang: Callable[[str], None] | None = None) -> Provider:
    """Return the engine of this machine; raises ConfigurationError. Takes seconds: it imports torch.

    ``on_hang`` is called, from a thread of its own, when a step comes to no end (STALL_SECONDS).
    """
    _before_torch()
    _keep_compiled(settings.data_dir / "compiled")
    from flux_core.gpu.quiet import silence

    silence()
    from flux_core.providers.local import LocalProvider

    token = settings.hf_token
    return LocalProvider(
        settings.catalogue,
        device=settings.device,
        profile=settings.gpu_profile,
        threads=settings.torch_threads,
        hub_token=None if token is None else token.get_secret_value(),
        watchdog=Watchdog(on_hang if settings.stall_seconds else None),
        stall_seconds=settings.stall_seconds,
    )


def _end_by_force(said: str) -> None:
    """End a worker whose card hangs: no thread of it can be ended, and whoever came next would hang as well.

    Its leases run out, or are taken over by the worker that is started in its place, and the jobs are drawn again.
    """
    faulthandler.dump_traceback(all_threads=True)
    log.critical("%s. The worker ends by force; its jobs go back to the queue", said)
    os._exit(HUNG)


def _keep_compiled(folder: Path) -> None:
    """Have torch keep what it compiles in ``folder``, over restarts, unless the operator has named a place.

    Torch finds there only what was compiled from the same code by its own version for the same card, and compiles
    anew what it cannot read.
    """
    with suppress(OSError):  # then it is compiled at each start
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder.resolve()))


def _before_torch() -> None:
    # Threads of a team that wait for each other by spinning make a step a hundred times slower as soon as anything
    # else needs the CPU. OpenMP reads this once, when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
