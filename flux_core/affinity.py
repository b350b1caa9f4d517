"""Whose job a worker takes when it would have to load a model for the one whose turn it is. Pure.

Loading a model takes as long as many drawings, and on a small card the other one has to go first. So a worker may take
a job for a model that it has in memory instead, from the next `WINDOW` in line. What is passed over is counted with the
job, whoever passes it over: after `PASSES` of them nobody may. So each job is drawn `PASSES` jobs later than in its
turn at most, however many workers there are and whatever arrives meanwhile.

Where several guilds wait, each keeps its own order: a guild pays with its turns, so one of its jobs that came before
another would push that one back by a whole round.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

WINDOW = 16
"""How far along the line a worker looks, as for company (``flux_core.batching``)."""
PASSES = 4
"""Most jobs that are drawn before one whose turn it was, because their models were at hand."""


@dataclass(frozen=True, slots=True)
class InLine:
    """One of the jobs next in line."""

    model: str
    guild_id: int
    passed_over: int = 0
    """How many jobs were taken before it though it was its turn."""


def choose(line: Sequence[InLine], loaded: Set[str]) -> int:
    """Return the place in ``line`` (not empty) of the job to take by a worker that has the models ``loaded``.

    The first one whose model is there, unless somebody before it was passed over often enough; then, and where there
    is none, the first one of all.
    """
    several = len({job.guild_id for job in line[:WINDOW]}) > 1
    passed: set[int] = set()
    for place, job in enumerate(line[:WINDOW]):
        if job.model in loaded and not (several and job.guild_id in passed):
            return place
        if job.passed_over >= PASSES:
            break
        passed.add(job.guild_id)
    return 0
