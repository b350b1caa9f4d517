"""Files in the picture store that nothing refers to: left by a worker that was killed between storing and telling."""

from __future__ import annotations

import re
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database.pictures import discard
from flux_core.database.tables import discarded, inputs, jobs, pictures
from flux_core.images.store import StoredPicture

FOLDERS = ("pictures", "previews", "inputs")
"""Where the studio keeps files."""

_OF_JOB = re.compile(r"(?:pictures|previews)/([0-9a-f]{24})/[A-Za-z0-9_-]+\.[a-z0-9]+")
_UPLOAD = re.compile(r"inputs/[0-9a-f]{64}(?:\.png|-link)")

_ENDED = sa.select(jobs.c.id, jobs.c.preview_key).where(
    jobs.c.id.in_(bindparam("jobs", expanding=True)), jobs.c.ended_at.is_not(None)
)
_SHOWN = sa.select(pictures.c.key).where(
    pictures.c.job_id.in_(bindparam("jobs", expanding=True)), pictures.c.key.is_not(None)
)
_UPLOADED = sa.select(inputs.c.key).where(inputs.c.key.in_(bindparam("keys", expanding=True)))
_STARTED_FROM = sa.union(
    *(
        sa.select(used).where(used.in_(bindparam("keys", expanding=True)), jobs.c.kept == sa.literal_column("'all'"))
        for used in (jobs.c.input_key, jobs.c.mask_key)
    )
)
_FIRST_JOB = sa.select(jobs.c.created_at).order_by(jobs.c.id).limit(sa.literal_column("1"))
_GONE_SOON = sa.select(discarded.c.key).where(discarded.c.key.in_(bindparam("keys", expanding=True)))


def among(connection: Connection, files: Sequence[StoredPicture]) -> list[StoredPicture]:
    """Return those of ``files`` that nothing refers to and nobody is about to write. How old they are is not asked.

    A job's file counts only once the job has ended: until then, another attempt may write it anew. A job that this
    database does not know, and an upload from before its first job, belong to somebody else and are left alone: whoever
    starts with an empty database by mistake must not lose the pictures.
    """
    stray = [*_of_jobs(connection, files), *_uploads(connection, files)]
    waiting = set(connection.execute(_GONE_SOON, {"keys": [file.key for file in stray]}).scalars())
    return [file for file in stray if file.key not in waiting]


def drop(connection: Connection, files: Sequence[StoredPicture], now: float) -> int:
    """Discard those of ``files`` that are stray still; return how many."""
    stray = among(connection, files)
    discard(connection, [file.key for file in stray], now)
    return len(stray)


def _of_jobs(connection: Connection, files: Sequence[StoredPicture]) -> list[StoredPicture]:
    owners = {file.key: match[1] for file in files if (match := _OF_JOB.fullmatch(file.key))}
    if not owners:
        return []
    ids = {"jobs": list(dict.fromkeys(owners.values()))}
    ended = {row.id: row.preview_key for row in connection.execute(_ENDED, ids)}
    shown = set(connection.execute(_SHOWN, ids).scalars()) | set(ended.values())
    return [file for file in files if owners.get(file.key) in ended and file.key not in shown]


def _uploads(connection: Connection, files: Sequence[StoredPicture]) -> list[StoredPicture]:
    uploads = [file for file in files if _UPLOAD.fullmatch(file.key)]
    since = connection.execute(_FIRST_JOB).scalar() if uploads else None
    if since is None:
        return []
    keys = {"keys": [file.key for file in uploads]}
    known = {*connection.execute(_UPLOADED, keys).scalars(), *connection.execute(_STARTED_FROM, keys).scalars()}
    return [file for file in uploads if file.modified_at >= since and file.key not in known]
