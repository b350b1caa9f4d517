"""What a worker counts of its jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from structlog.contextvars import bound_contextvars

from flux_core.errors import GenerationFailed, ProviderFault
from flux_core.jobs import Job
from flux_core.metrics import definitions as m


@contextmanager
def in_hand(job: Job, provider: str) -> Iterator[None]:
    """Count a job as in a worker's hands meanwhile, and have every line that is logged name it."""
    with bound_contextvars(job=job.id), m.IN_HAND.labels(provider).track_inprogress():
        yield


def drawn(job: Job, provider: str, *, pictures: int, seconds: float, finishing: float, now: float) -> None:
    """Count a job whose pictures are stored ``now`` (unix seconds).

    They took ``seconds`` to draw, and ``finishing`` from then on.
    """
    labels = (job.request.model, provider)
    m.WAIT.labels(*labels).observe(max(0.0, now - finishing - seconds - job.created_at))
    m.RUN.labels(*labels).observe(seconds)
    m.FINISH.labels(provider).observe(finishing)
    m.PICTURES.labels(*labels).inc(pictures)


def failed(job: Job, provider: str, error: GenerationFailed) -> None:
    """Count the error with which an attempt ended."""
    m.FAILURES.labels(job.request.model, provider, error.code).inc()
    if isinstance(error, ProviderFault):
        m.FAULTS.labels(provider, error.code).inc()


def left(job: Job, provider: str, outcome: str) -> None:
    """Count a job that leaves a worker's hands: succeeded, refused, failed, cancelled, handed_back or lost."""
    m.ATTEMPTS.labels(job.request.model, provider, outcome).inc()
