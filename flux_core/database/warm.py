"""Claims of a worker that has some of its models in memory: by ``flux_core.affinity``, a little out of turn.

Who is taken early is charged as always, and time does not go on beyond those who were passed over, as where jobs are
drawn together (``flux_core.database.alike``).
"""

from __future__ import annotations

from collections.abc import Sequence, Set

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.affinity import WINDOW, InLine, choose
from flux_core.database import locks
from flux_core.database.alike import Waiting, first_in_line
from flux_core.database.claims import TAKE_FROM_LINE, claim
from flux_core.database.jobs import job_of, reconsider
from flux_core.database.tables import jobs
from flux_core.database.turns import overtake
from flux_core.jobs import Job, Lane
from flux_core.skills import model_of

c = jobs.c

_PASSED = sa.select(c.id, c.passed_over).where(c.id.in_(bindparam("jobs", expanding=True)), c.passed_over > 0)
_PASS_OVER = sa.update(jobs).where(c.id.in_(bindparam("jobs", expanding=True))).values(passed_over=c.passed_over + 1)


def is_better(connection: Connection, skills: Sequence[str], loaded: Set[str]) -> bool:
    """Say whether a worker would take a job out of turn now; a look, for which no writer has to wait."""
    line = _line(connection, skills)
    return bool(line) and _chosen(connection, line, loaded) > 0


@locks.writes_nothing_empty_handed
def take(
    connection: Connection, worker_id: str, skills: Sequence[str], loaded: Set[str], now: float, lease: float
) -> Job | None:
    """Give the worker the job that it draws first among ``skills``, with the models ``loaded`` in memory, or None."""
    line = _line(connection, skills)
    place = _chosen(connection, line, loaded) if line else 0
    if place == 0:
        return claim(connection, worker_id, skills, now, lease)
    row, passed = line[place], line[:place]
    taker = {"job": row.id, "of": row.skill, "worker": worker_id, "now": now, "until": now + lease}
    taken = connection.execute(TAKE_FROM_LINE, taker).one_or_none()
    if taken is None:
        return claim(connection, worker_id, skills, now, lease)
    job = job_of(taken)
    in_guild = [other.start_tag for other in passed if other.guild_id == row.guild_id]
    overtake(connection, job, ahead=min(other.turn for other in passed), ahead_in_guild=min(in_guild, default=None))
    connection.execute(_PASS_OVER, {"jobs": [other.id for other in passed]})
    reconsider(connection, job.account)
    return job


def _line(connection: Connection, skills: Sequence[str]) -> Sequence[Waiting]:
    """Return the head of the line in the first lane that has one."""
    return next(filter(None, (first_in_line(connection, skills, lane) for lane in Lane)), ())


def _chosen(connection: Connection, line: Sequence[Waiting], loaded: Set[str]) -> int:
    models = [model_of(row.skill) for row in line]  # a LoRA is put on at once
    if models[0] in loaded or not any(model in loaded for model in models[:WINDOW]):
        return 0
    passed = {row.id: row.passed_over for row in connection.execute(_PASSED, {"jobs": [row.id for row in line]})}
    in_line = [InLine(model, row.guild_id, passed.get(row.id, 0)) for model, row in zip(models, line, strict=True)]
    return choose(in_line, loaded)
