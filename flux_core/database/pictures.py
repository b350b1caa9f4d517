"""Which pictures a job has, and which keys of the picture store nothing refers to any more."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam
from sqlalchemy.dialects.postgresql import JSONB

from flux_core.database.tables import discarded, inputs, jobs, pictures
from flux_core.jobs import Picture

c = pictures.c

_FIELDS = ("position", "key", "width", "height", "seed", "content_type", "size", "unsafe")
_INSERT = sa.insert(pictures).inline()
_OF_JOB = sa.select(pictures).where(c.job_id == bindparam("job")).order_by(c.position)
_FORGET_KEYS = sa.update(pictures).where(c.job_id == bindparam("job")).values(key=None)
_KNOWN = sa.select(discarded.c.key).where(discarded.c.key.in_(bindparam("keys", expanding=True)))
_DISCARD = sa.insert(discarded).inline()
_DISCARDED = sa.select(discarded.c.key).order_by(discarded.c.since, discarded.c.key).limit(bindparam("most"))
_PUT_OFF = (
    sa.update(discarded).where(discarded.c.key.in_(bindparam("keys", expanding=True))).values(since=bindparam("now"))
)
_SWEPT = sa.delete(discarded).where(discarded.c.key.in_(bindparam("keys", expanding=True)))
_STALE_PREVIEWS = (
    sa.select(jobs.c.id, jobs.c.preview_key)
    .where(jobs.c.preview_key.is_not(None), jobs.c.ended_at.is_not(None))
    .where(jobs.c.ended_at < bindparam("before"))
    .limit(bindparam("most"))
)
_DROP_PREVIEWS = sa.update(jobs).where(jobs.c.id.in_(bindparam("jobs", expanding=True))).values(preview_key=None)

_STORED = sa.update(inputs).where(inputs.c.key == bindparam("of")).values(stored_at=bindparam("now"))
_INSERT_INPUT = sa.insert(inputs).inline()
# Of what came to nothing it is needed for a day, to try again: else whoever orders and cancels would fill the disk.
_NEEDS_INPUTS = sa.and_(
    jobs.c.kept == sa.literal_column("'all'"),
    sa.or_(
        jobs.c.ended_at.is_(None),
        jobs.c.state == sa.literal_column("'succeeded'"),
        jobs.c.ended_at >= bindparam("before"),
    ),
)
_UNUSED_INPUTS = (
    sa.select(inputs.c.key)
    .where(inputs.c.stored_at < bindparam("before"))
    # A job whose pictures were let go of needs none to start from.
    .where(
        *(
            ~sa.exists(sa.select(jobs.c.id).where(used == inputs.c.key, _NEEDS_INPUTS))
            for used in (jobs.c.input_key, jobs.c.mask_key)
        )
    )
    .limit(bindparam("most"))
)
_UNUSED_OF_THESE = _UNUSED_INPUTS.where(inputs.c.key.in_(bindparam("keys", expanding=True)))
_DELETE_INPUTS = sa.delete(inputs).where(inputs.c.key.in_(bindparam("keys", expanding=True)))


def insert_pictures(connection: Connection, job_id: str, finished: Sequence[Picture]) -> None:
    """Add the pictures of a job."""
    if finished:
        connection.execute(_INSERT, [_row(picture) | {"job_id": job_id} for picture in finished])


def _row(picture: Picture) -> dict[str, Any]:
    return {name: getattr(picture, name) for name in _FIELDS}


def as_json(finished: Sequence[Picture]) -> str:
    """Return pictures as the parameter ``finished`` of ``pictures_from_json``."""
    return json.dumps([_row(picture) for picture in finished])


def pictures_from_json(ended: sa.FromClause) -> sa.Insert:
    """Return the statement that adds the pictures of the job in ``ended``, however many, on PostgreSQL."""
    columns = [sa.column(name, c[name].type) for name in _FIELDS]
    rows = (
        sa.func.jsonb_to_recordset(sa.cast(bindparam("finished", type_=sa.Text), JSONB))
        .table_valued(*columns, name="finished")
        .render_derived(with_types=True)
    )
    row = sa.select(ended.c.id, *(rows.c[name] for name in _FIELDS)).select_from(ended.join(rows, sa.true()))
    return sa.insert(pictures).from_select(["job_id", *_FIELDS], row, include_defaults=False)


def pictures_of(connection: Connection, job_id: str) -> list[Picture]:
    """Return the pictures of a job in their order, deleted ones with a key of None."""
    return [
        Picture(
            position=row.position,
            key=row.key,
            width=row.width,
            height=row.height,
            seed=row.seed,
            content_type=row.content_type,
            size=row.size,
            unsafe=row.unsafe,
        )
        for row in connection.execute(_OF_JOB, {"job": job_id})
    ]


def delete_pictures(connection: Connection, job_id: str, now: float) -> list[str]:
    """Forget where a job's pictures are; return the keys, which wait in ``discarded`` until the store has let go."""
    keys = [picture.key for picture in pictures_of(connection, job_id) if picture.key is not None]
    connection.execute(_FORGET_KEYS, {"job": job_id})
    discard(connection, keys, now)
    return keys


def discard(connection: Connection, keys: Sequence[str], now: float) -> None:
    """Note keys of the picture store that are to be deleted."""
    known = set(connection.execute(_KNOWN, {"keys": list(keys)}).scalars())
    if rows := [{"key": key, "since": now} for key in dict.fromkeys(keys) if key not in known]:
        connection.execute(_DISCARD, rows)


def discarded_keys(connection: Connection, limit: int) -> list[str]:
    """Return keys that are to be deleted, the oldest first."""
    return list(connection.execute(_DISCARDED, {"most": limit}).scalars())


def is_discarded(connection: Connection, key: str) -> bool:
    """Say whether ``key`` is still to be deleted: somebody may have uploaded it again, or have deleted it."""
    return connection.execute(_KNOWN, {"keys": [key]}).first() is not None


def swept(connection: Connection, keys: Sequence[str]) -> None:
    """Note that the store has let go of ``keys``."""
    connection.execute(_SWEPT, {"keys": list(keys)})


def put_off(connection: Connection, keys: Sequence[str], now: float) -> None:
    """Let ``keys`` that cannot be deleted stand behind all others that are to be."""
    connection.execute(_PUT_OFF, {"keys": list(keys), "now": now})


def drop_previews(connection: Connection, before: float, now: float, limit: int) -> int:
    """Discard the previews of jobs that ended before ``before``; return how many."""
    rows = connection.execute(_STALE_PREVIEWS, {"before": before, "most": limit}).all()
    if rows:
        discard(connection, [row.preview_key for row in rows], now)
        connection.execute(_DROP_PREVIEWS, {"jobs": [row.id for row in rows]})
    return len(rows)


def note_input(connection: Connection, key: str, now: float) -> None:
    """Note that an uploaded picture is about to be stored, in place of any plan to delete it."""
    swept(connection, [key])
    if connection.execute(_STORED, {"of": key, "now": now}).rowcount == 0:
        connection.execute(_INSERT_INPUT, {"key": key, "stored_at": now})


def drop_inputs(connection: Connection, before: float, now: float, limit: int) -> int:
    """Discard the pictures uploaded before ``before`` that no job needs any more; return how many.

    Those need them that wait or run, that have pictures, or that came to nothing after ``before``.
    """
    return _drop(connection, connection.execute(_UNUSED_INPUTS, {"before": before, "most": limit}).scalars().all(), now)


def drop_inputs_among(connection: Connection, keys: Sequence[str], before: float, now: float) -> int:
    """Do so for those of ``keys`` alone."""
    look = {"keys": list(keys), "before": before, "most": len(keys)}
    return _drop(connection, connection.execute(_UNUSED_OF_THESE, look).scalars().all(), now)


def _drop(connection: Connection, keys: Sequence[str], now: float) -> int:
    if keys:
        discard(connection, keys, now)
        connection.execute(_DELETE_INPUTS, {"keys": list(keys)})
    return len(keys)
