"""Which commands Discord was told last, and who is telling it."""

from __future__ import annotations

import json
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database.tables import uploaded_commands

c = uploaded_commands.c


_ONE = (c.application_id == bindparam("application"), c.api == bindparam("address"))
_FIND = sa.select(c.digest, c.ids, c.at).where(*_ONE)
_DELETE = sa.delete(uploaded_commands).where(*_ONE)
_INSERT = sa.insert(uploaded_commands).inline()


@dataclass(frozen=True, slots=True)
class Upload:
    """One upload of all commands."""

    digest: str
    """Of what was uploaded."""
    ids: tuple[int, ...]
    """Those that Discord gave them, in order; none while they are being uploaded."""
    at: float
    """Unix seconds."""


def find(connection: Connection, application_id: int, api: str) -> Upload | None:
    """Return the latest upload for an application to an API."""
    row = connection.execute(_FIND, {"application": application_id, "address": api}).one_or_none()
    return None if row is None else Upload(row.digest, tuple(json.loads(row.ids)), row.at)


def begin(
    connection: Connection, application_id: int, api: str, seen: Upload | None, digest: str, now: float
) -> bool:  # fmt: skip
    """Let the caller alone upload; False when somebody began or ended an upload after the one that was ``seen``."""
    if find(connection, application_id, api) != seen:
        return False
    _replace(connection, application_id, api, Upload(digest, (), now))
    return True


def done(connection: Connection, application_id: int, api: str, upload: Upload) -> None:
    """Note what was uploaded."""
    _replace(connection, application_id, api, upload)


def forget(connection: Connection, application_id: int, api: str) -> None:
    """Let anybody upload, as if nobody had."""
    connection.execute(_DELETE, {"application": application_id, "address": api})


def _replace(connection: Connection, application_id: int, api: str, upload: Upload) -> None:
    forget(connection, application_id, api)
    row = {"digest": upload.digest, "ids": json.dumps(upload.ids), "at": upload.at}
    connection.execute(_INSERT, {"application_id": application_id, "api": api, **row})
