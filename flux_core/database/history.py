"""Everything an account has asked for, searched by words and model."""

from __future__ import annotations

import json
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database.jobs import COLUMNS, job_of
from flux_core.database.tables import jobs
from flux_core.database.unreadable import object_in
from flux_core.jobs import Account, Job

c = jobs.c

SEARCHED = 5000
"""The account's latest jobs that a search by words looks through: about 20 ms, in which nobody else reads."""
_CHUNK = 200


@dataclass(frozen=True, slots=True)
class History:
    """A page of an account's jobs."""

    jobs: list[Job]
    cut: bool = False
    """Whether older jobs were not looked through."""


_OWN = (
    c.guild_id == bindparam("guild"),
    c.user_id == bindparam("user"),
    c.kept != sa.literal_column("'nothing'"),
)
_IS_BY = sa.or_(bindparam("of", type_=sa.Text).is_(None), c.model == bindparam("of", type_=sa.Text))
_PAGE = (
    sa.select(*COLUMNS).where(*_OWN, _IS_BY).order_by(c.id.desc()).limit(bindparam("most")).offset(bindparam("skipped"))
)
_REQUESTS = sa.select(c.id, c.request).where(*_OWN, _IS_BY).order_by(c.id.desc()).limit(bindparam("most"))
_FOUND = sa.select(*COLUMNS).where(c.id.in_(bindparam("jobs", expanding=True))).order_by(c.id.desc())


def history_of(
    connection: Connection, account: Account, words: str, model: str | None, skipped: int, limit: int
) -> History:
    """Return an account's jobs, newest first, without the first ``skipped``: those whose prompt has all ``words``.

    Upper and lower case are the same. ``model``: of this one alone.
    """
    key = {"guild": account.guild_id, "user": account.user_id, "of": model}
    wanted = words.casefold().split()
    if not wanted:
        page = connection.execute(_PAGE, key | {"most": limit, "skipped": skipped})
        return History([job_of(row) for row in page])
    found: list[str] = []
    seen = 0
    # As they stand in JSON: whatever has not got them there need not be read.
    raw = [json.dumps(word, ensure_ascii=False)[1:-1] for word in wanted]
    rows = connection.execute(_REQUESTS, key | {"most": SEARCHED})
    for row in rows.yield_per(_CHUNK):
        seen += 1
        text = row.request.casefold()
        if all(word in text for word in raw) and _has(row.request, wanted):
            found.append(row.id)
            if len(found) == skipped + limit:
                break
    rows.close()
    ids = found[skipped:]
    jobs_found = [job_of(row) for row in connection.execute(_FOUND, {"jobs": ids})] if ids else []
    return History(jobs_found, cut=seen == SEARCHED and len(ids) < limit)


def _has(request: str, wanted: list[str]) -> bool:
    prompt = str(object_in(request).get("prompt", "")).casefold()
    return all(word in prompt for word in wanted)
