"""What a community's studio keeps about one member: handed out to them, and forgotten for them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database import bans, members, preferences, removals, retention
from flux_core.database.jobs import COLUMNS, IS_QUEUED, IS_RUNNING, job_of, request_cancel
from flux_core.database.pictures import pictures_of
from flux_core.database.submissions import withdraw
from flux_core.database.tables import audit, jobs, ledger, pictures, reviews
from flux_core.database.tables import members as table
from flux_core.errors import RulesUnreadable
from flux_core.jobs import Account, Job, Picture
from flux_core.models import CREDIT
from flux_core.preferences import NOTHING_SET

c = jobs.c

_MINE = (c.guild_id == bindparam("guild"), c.user_id == bindparam("user"))
_KEPT = c.kept != sa.literal_column("'nothing'")
_BEHIND = c.id > bindparam("after")


def _key(account: Account) -> dict[str, Any]:
    return {"guild": account.guild_id, "user": account.user_id}


# Handing out

_JOBS = sa.select(*COLUMNS).where(*_MINE, _KEPT, _BEHIND).order_by(c.id).limit(bindparam("most"))
_LEDGER = (
    sa.select(ledger)
    .where(ledger.c.guild_id == bindparam("guild"), ledger.c.user_id == bindparam("user"))
    .where(ledger.c.id > bindparam("after"))
    .order_by(ledger.c.id)
    .limit(bindparam("most"))
)
_REPORTS = (
    sa.select(reviews.c.id, reviews.c.job_id, reviews.c.reason, reviews.c.opened_at, reviews.c.verdict)
    .where(reviews.c.guild_id == bindparam("guild"), reviews.c.by_user == bindparam("user"))
    .order_by(reviews.c.id)
)
_APPROVALS = (
    sa.select(reviews.c.job_id, reviews.c.reason, reviews.c.opened_at, reviews.c.verdict)
    .join(jobs, c.id == reviews.c.job_id)
    .where(*_MINE, _KEPT, reviews.c.kind == sa.literal_column("'approval'"))
    .order_by(reviews.c.id)
)
_LOG = (
    sa.select(audit)
    .where(audit.c.guild_id == bindparam("guild"), audit.c.id > bindparam("after"))
    .where(sa.or_(audit.c.target_user == bindparam("user"), audit.c.by_user == bindparam("user")))
    # Of a report that came to nothing its member is not told: that is between the moderators and who wrote it.
    .where(sa.or_(audit.c.by_user == bindparam("user"), audit.c.action != sa.literal_column("'review dismiss'")))
    .order_by(audit.c.id)
    .limit(bindparam("most"))
)


def about(connection: Connection, account: Account, now: float) -> dict[str, Any]:
    """Return what is kept about an account besides its jobs and its ledger, as JSON takes it."""
    ban = bans.ban_of(connection, account, now)
    return {
        "server": str(account.guild_id),
        "member": str(account.user_id),
        "settings": preferences.preferences_of(connection, account).model_dump(exclude_none=True),
        "roles_when_last_ordered": json.loads(connection.execute(_ROLES, _key(account)).scalar() or "[]"),
        "limits": _limits(connection, account),
        "ban": None if ban is None else {"reason": ban.reason, "since": _time(ban.since), "until": _time(ban.until)},
        "reports_made": [
            {"at": _time(row.opened_at), "job": row.job_id, "reason": row.reason, "verdict": row.verdict}
            for row in connection.execute(_REPORTS, _key(account))
        ],
        "approvals": [
            {"at": _time(row.opened_at), "job": row.job_id, "words": row.reason, "verdict": row.verdict}
            for row in connection.execute(_APPROVALS, _key(account))
        ],
    }


def _limits(connection: Connection, account: Account) -> dict[str, Any] | str:
    try:
        return members.limits_of(connection, account).model_dump(mode="json", exclude_none=True)
    except RulesUnreadable:
        return "they cannot be read"


def jobs_page(connection: Connection, account: Account, after: str, limit: int) -> list[dict[str, Any]]:
    """Return an account's jobs behind the id ``after``, the oldest first, as JSON takes them."""
    rows = connection.execute(_JOBS, _key(account) | {"after": after, "most": limit})
    return [_job(job_of(row), row.request, pictures_of(connection, row.id)) for row in rows.all()]


def ledger_page(connection: Connection, account: Account, after: int, limit: int) -> list[dict[str, Any]]:
    """Return an account's rows of the ledger behind the number ``after``, the oldest first, as JSON takes them."""
    return [
        {
            "number": row.id,
            "at": _time(row.at),
            "purse": row.purse,
            "kind": row.kind,
            "credits": row.amount / CREDIT,
            "job": row.job_id,
            "reason": row.reason,
        }
        for row in connection.execute(_LEDGER, _key(account) | {"after": after, "most": limit})
    ]


def log_page(connection: Connection, account: Account, after: int, limit: int) -> list[dict[str, Any]]:
    """Return the entries of the audit log behind the number ``after`` that a member made, or that are about them.

    Who else made or is in an entry is not told: that is theirs.
    """
    rows = connection.execute(_LOG, _key(account) | {"after": after, "most": limit})
    return [_logged(row, account.user_id) for row in rows]


def _logged(row: Any, user_id: int) -> dict[str, Any]:
    told = {"number": row.id, "at": _time(row.at), "action": row.action, "by_you": row.by_user == user_id}
    return told | {"about_you": True, "facts": json.loads(row.facts)} if row.target_user == user_id else told


def _time(unix: float | None) -> str | None:
    return None if unix is None else datetime.fromtimestamp(unix, UTC).isoformat(timespec="seconds")


def _job(job: Job, text: str, drawn: Sequence[Picture]) -> dict[str, Any]:
    reply, request = job.reply_to, job.request
    asked = {"input_picture", "input_mask"}
    return {
        "id": job.id,
        "asked_at": _time(job.created_at),
        "started_at": _time(job.started_at),
        "ended_at": _time(job.ended_at),
        "state": job.state.value,
        "origin": job.origin.value,
        "came_from": job.parent_id,
        # What this version cannot read is theirs all the same.
        "request": text if job.unreadable else request.model_dump(mode="json", exclude=asked),
        "started_from_a_picture": request.input_picture is not None,
        "with_a_mask": request.input_mask is not None,
        "credits": job.cost / CREDIT,
        "drawn_by": job.provider,
        "drawn_in": job.drawn_mode,
        "channel": None if reply is None else str(reply.channel_id),
        "message": None if reply is None or reply.message_id is None else str(reply.message_id),
        "private": reply is not None and reply.private,
        "error": job.error_code,
        "pictures": [_picture(job, one) for one in drawn],
    }


def _picture(job: Job, one: Picture) -> Mapping[str, Any]:
    return {
        # As the message has it.
        "name": f"flux-{job.id}-{one.position + 1}",
        "seed": one.seed,
        "width": one.width,
        "height": one.height,
        "bytes": one.size,
        "deleted": one.key is None,
    }


# Forgetting


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """What was forgotten of an account, and what could not be yet."""

    jobs: int = 0
    pictures: int = 0
    messages: int = 0
    """That will be deleted from Discord."""
    cancelled: int = 0
    """Jobs that waited or ran."""
    busy: int = 0
    """Jobs that are still being drawn, or handed over at this moment."""


_WAITING = sa.select(*COLUMNS).where(*_MINE, IS_QUEUED).order_by(c.id.desc()).limit(bindparam("most"))
_RUNNING = sa.select(c.id).where(*_MINE, IS_RUNNING, c.cancel_requested.is_(False))
_HANDED_OVER = sa.or_(
    c.channel_id.is_(None),
    c.delivered_at.is_not(None),
    c.delivery_until.is_(None),
    c.delivery_until <= bindparam("now"),
)
_ENDED = (
    sa.select(*retention.FILES, c.channel_id, c.message_id, c.private)
    .where(*_MINE, _KEPT, _BEHIND, c.ended_at.is_not(None), _HANDED_OVER)
    .order_by(c.id)
    .limit(bindparam("most"))
)
_BUSY = sa.select(sa.func.count()).select_from(jobs).where(*_MINE, _KEPT)
_FORGET_ROLES = (
    sa.update(table)
    .where(table.c.guild_id == bindparam("guild"), table.c.user_id == bindparam("user"), table.c.roles.is_not(None))
    .values(roles=None)
)
_ROLES = sa.select(table.c.roles).where(table.c.guild_id == bindparam("guild"), table.c.user_id == bindparam("user"))
_PICTURES = (
    sa.select(sa.func.count())
    .select_from(pictures)
    .where(pictures.c.job_id.in_(bindparam("jobs", expanding=True)), pictures.c.key.is_not(None))
)


def stop(connection: Connection, account: Account, now: float, limit: int) -> int:
    """Cancel up to ``limit`` waiting jobs of an account, with their costs back; return how many."""
    waiting = [job_of(row) for row in connection.execute(_WAITING, _key(account) | {"most": limit}).all()]
    for job in waiting:
        withdraw(connection, job, now)
    return len(waiting)


def stop_running(connection: Connection, account: Account) -> int:
    """Ask the workers of an account's running jobs to stop; return how many were not asked before."""
    running = connection.execute(_RUNNING, _key(account)).scalars().all()
    for job_id in running:
        request_cancel(connection, job_id)
    return len(running)


def forget_settings(connection: Connection, account: Account) -> None:
    """Forget what a member has set for themselves, and which roles they had with their last order."""
    preferences.put_preferences(connection, account, NOTHING_SET)
    connection.execute(_FORGET_ROLES, _key(account))


def forget_some(
    connection: Connection, account: Account, after: str, now: float, limit: int
) -> tuple[Forgotten, str | None]:
    """Forget up to ``limit`` ended jobs of an account behind the id ``after``; return that and the last one's id.

    Their pictures go as well, also where somebody's waiting job starts from one: that job ends with its cost back.
    Their messages are to be deleted. Without an id everything was gone through.
    """
    ended = connection.execute(_ENDED, _key(account) | {"after": after, "now": now, "most": limit}).all()
    if not ended:
        return Forgotten(busy=connection.execute(_BUSY, _key(account)).scalar_one()), None
    drawn = connection.execute(_PICTURES, {"jobs": [row.id for row in ended]}).scalar_one()
    shown = [row for row in ended if row.message_id is not None and not row.private]
    for row in shown:
        removals.note(connection, account.guild_id, row.channel_id, row.message_id, now)
    retention.forget(connection, ended, now)
    return Forgotten(jobs=len(ended), pictures=drawn, messages=len(shown)), ended[-1].id
