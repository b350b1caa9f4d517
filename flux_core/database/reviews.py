"""What moderators are asked to look at, as kept."""

from __future__ import annotations

from sqlalchemy import Connection

from flux_core.jobs import Job


def open_approval(connection: Connection, job: Job, reason: str, now: float) -> None:
    """Ask the moderators of the job's guild to look at ``job``, which is held until then; ``reason``: which words."""
    raise NotImplementedError
