"""What is let go of when its time is over: the pictures of jobs, and later what the jobs say of their members."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database import reviews
from flux_core.database.pictures import discard, drop_inputs_among
from flux_core.database.tables import jobs, pictures
from flux_core.database.unreadable import request_in

JUST_UPLOADED = 300.0
"""Seconds between an upload and its order at most: what follows the one is the other."""

c = jobs.c
p = pictures.c

# As literals, like the condition of the index.
_ALL: sa.ColumnElement[str] = sa.literal_column("'all'")
_WORDS: sa.ColumnElement[str] = sa.literal_column("'words'")
_NOTHING: sa.ColumnElement[str] = sa.literal_column("'nothing'")

_TOLD = sa.or_(c.channel_id.is_(None), c.delivered_at.is_not(None), c.undeliverable_at.is_not(None))
"""Whoever still waits for the answer gets it first."""
_variation = jobs.alias("variation")
_NEEDED = sa.exists(
    sa.select(_variation.c.id)
    .join(pictures, p.key == _variation.c.input_key)
    .where(p.job_id == c.id, _variation.c.ended_at.is_(None))
    .correlate(jobs)
)
"""A job that has not ended starts from one of the pictures."""
_DUE = (c.ended_at < bindparam("before"), c.kept != _NOTHING, _TOLD, ~_NEEDED)
_WITH_OLD_PICTURES = sa.select(c.id).where(c.kept == _ALL, *_DUE).order_by(c.ended_at).limit(bindparam("most"))
FILES = (c.id, c.request, c.preview_key, c.input_key, c.mask_key)
"""What ``forget`` reads of a job."""
_OLD = sa.select(*FILES).where(c.kept.in_([_ALL, _WORDS]), *_DUE).limit(bindparam("most"))

_OF_JOBS = p.job_id.in_(bindparam("jobs", expanding=True))
_KEYS = sa.select(p.key).where(_OF_JOBS, p.key.is_not(None)).order_by(p.job_id, p.position)
_FORGET_KEYS = sa.update(pictures).where(_OF_JOBS, p.key.is_not(None)).values(key=None)
_DELETE_ROWS = sa.delete(pictures).where(_OF_JOBS)
_ONLY_WORDS = sa.update(jobs).where(c.id.in_(bindparam("jobs", expanding=True))).values(kept="words")
_SILENT: dict[str, Any] = dict.fromkeys(
    [
        *("key", "input_key", "mask_key", "lora", "asked", "parent_id", "parent_position", "preview_key"),
        *("provider_job_id", "error_facts", "remarks", "delivery_problem", "undeliverable_at"),
        *("application_id", "channel_id", "interaction_token", "token_expires_at", "message_id"),
    ]
)
_FORGET = sa.update(jobs).where(c.id == bindparam("job")).values(request=bindparam("rest"), kept="nothing", **_SILENT)


def drop_pictures(connection: Connection, before: float, now: float, limit: int) -> int:
    """Discard the pictures of jobs that ended before ``before``; return of how many jobs.

    A job whose answer is still to be delivered, or whose picture a waiting or running job starts from, is left for
    later. What was uploaded for such jobs alone is dropped with other unused uploads.
    """
    due = list(connection.execute(_WITH_OLD_PICTURES, {"before": before, "most": limit}).scalars())
    if due:
        _drop_pictures_of(connection, due, now)
        connection.execute(_ONLY_WORDS, {"jobs": due})
    return len(due)


def forget_jobs(connection: Connection, before: float, now: float, limit: int) -> int:
    """Forget what jobs that ended before ``before`` say of their members, with their pictures; return how many.

    The row itself stays, since the ledger refers to it, with what statistics need; no query hands it out any more.
    """
    due = connection.execute(_OLD, {"before": before, "most": limit}).all()
    if due:
        forget(connection, due, now)
    return len(due)


def forget(connection: Connection, ended: Sequence[Any], now: float) -> None:
    """Forget what ``ended`` jobs (rows with ``FILES``; at least one) say of their members, and all of their files.

    What others have uploaded as well stays. An upload of the last minutes may be one that somebody is about to order
    with: it goes with the other unused ones, a day later.
    """
    ids = [row.id for row in ended]
    _drop_pictures_of(connection, ids, now)
    connection.execute(_DELETE_ROWS, {"jobs": ids})
    discard(connection, [row.preview_key for row in ended if row.preview_key is not None], now)
    connection.execute(_FORGET, [{"job": row.id, "rest": _without_words(row.request)} for row in ended])
    if given := {key for row in ended for key in (row.input_key, row.mask_key) if key is not None}:
        drop_inputs_among(connection, sorted(given), now - JUST_UPLOADED, now)
    reviews.forget(connection, ids, now)


def _drop_pictures_of(connection: Connection, ids: Sequence[str], now: float) -> None:
    discard(connection, list(connection.execute(_KEYS, {"jobs": list(ids)}).scalars()), now)
    connection.execute(_FORGET_KEYS, {"jobs": list(ids)})


def _without_words(request: str) -> str:
    if request_in(request) is None:
        return "{}"  # nobody knows what it says
    return json.dumps(json.loads(request) | {"prompt": "", "input_picture": None, "input_mask": None, "provider": None})
