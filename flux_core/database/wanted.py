"""Which skills (``flux_core.skills``) waiting jobs ask for of our own workers."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection

from flux_core.database.tables import jobs

c = jobs.c

_further = jobs.alias("further")
_seen = sa.select(sa.func.min(c.waits_for).label("skill")).where(c.waits_for.is_not(None)).cte("seen", recursive=True)
_next = (
    sa.select(sa.func.min(_further.c.waits_for))
    .where(_further.c.waits_for > _seen.c.skill, _further.c.waits_for.is_not(None))
    .correlate(_seen)
    .scalar_subquery()
)
# From one to the next through the index of claims: a look-up for each, however many jobs wait for it.
_steps = _seen.union_all(sa.select(_next).where(_seen.c.skill.is_not(None)))
_WAITED_FOR = sa.select(_steps.c.skill).where(_steps.c.skill.is_not(None))


def waited_for(connection: Connection) -> list[str]:
    """Return the skills for which a job waits that may be claimed."""
    return list(connection.execute(_WAITED_FOR).scalars())
