"""What moderators left behind long ago: entries of the audit log, and reviews that were decided."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database.tables import audit, reviews

_OLD_ENTRIES = (
    sa.select(audit.c.id).where(audit.c.at < bindparam("before")).order_by(audit.c.id).limit(bindparam("most"))
)
_DROP_ENTRIES = sa.delete(audit).where(audit.c.id.in_(bindparam("ids", expanding=True)))
_OLD_REVIEWS = (
    sa.select(reviews.c.id)
    # Their message has to tell the verdict first.
    .where(reviews.c.decided_at < bindparam("before"), reviews.c.told.is_(sa.true()))
    .order_by(reviews.c.id)
    .limit(bindparam("most"))
)
_DROP_REVIEWS = sa.delete(reviews).where(reviews.c.id.in_(bindparam("ids", expanding=True)))


def drop_entries(connection: Connection, before: float, limit: int) -> int:
    """Delete entries of the audit log from before ``before``; return how many.

    The database itself refuses to let go of any that is younger than 30 days.
    """
    ids = list(connection.execute(_OLD_ENTRIES, {"before": before, "most": limit}).scalars())
    if ids:
        connection.execute(_DROP_ENTRIES, {"ids": ids})
    return len(ids)


def drop_reviews(connection: Connection, before: float, limit: int) -> int:
    """Delete reviews that were decided before ``before``, with what was reported; return how many."""
    ids = list(connection.execute(_OLD_REVIEWS, {"before": before, "most": limit}).scalars())
    if ids:
        connection.execute(_DROP_REVIEWS, {"ids": ids})
    return len(ids)
