"""Who drew how much with what: sums over the jobs of a guild, from its jobs' index by time."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime, time, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database.policies import policy_of
from flux_core.database.tables import jobs, pictures, spending
from flux_core.jobs import JobState

By = Literal["day", "member", "model", "provider"]

c = jobs.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What was drawn of one kind, in some time."""

    jobs: int = 0
    """Asked for, however they ended."""
    pictures: int = 0
    """Drawn; those that were deleted count, those whose time to be kept is over do not."""
    millicredits: int = 0
    """Charged, or reserved for what has not ended; what went back does not count."""
    microdollars: int = 0
    """What hosted providers got."""
    failed: int = 0
    refused: int = 0
    cancelled: int = 0
    wait: float | None = None
    """Median seconds from the order to the drawing; None: nothing was drawn."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was drawn in some days, and in all of them together."""

    first: date
    last: date
    uses: Sequence[tuple[str, Use]]
    """By what was asked for: days in their order (2026-11-21), users' ids, models or providers by their pictures."""
    total: Use


@dataclass(frozen=True, slots=True)
class _Sums:
    """The statements for one way to part the jobs."""

    counts: sa.Select[Any]
    pictures: sa.Select[Any]
    dollars: sa.Select[Any]
    waits: sa.Select[Any]
    back: sa.Select[Any]


_IN_TIME = (c.created_at >= bindparam("since"), c.created_at < bindparam("until"))
_HERE = (c.guild_id == bindparam("guild"), *_IN_TIME)
_KEPT = (JobState.QUEUED.value, JobState.RUNNING.value, JobState.SUCCEEDED.value)


def _sums(key: sa.ColumnElement[Any], paid: sa.ColumnElement[Any], where: Sequence[sa.ColumnElement[bool]]) -> _Sums:
    def ended(state: JobState) -> sa.ColumnElement[int]:
        return sa.func.sum(sa.case((c.state == state.value, 1), else_=0))

    named = key.label("named")
    payee = paid.label("named")
    return _Sums(
        counts=sa.select(
            named,
            sa.func.count().label("jobs"),
            sa.func.sum(sa.case((c.state.in_(_KEPT), c.cost), else_=0)).label("millicredits"),
            ended(JobState.FAILED).label("failed"),
            ended(JobState.REFUSED).label("refused"),
            ended(JobState.CANCELLED).label("cancelled"),
        )
        .where(*where)
        .group_by(key),
        pictures=sa.select(named, sa.func.count().label("pictures"))
        .join_from(jobs, pictures, pictures.c.job_id == c.id)
        .where(*where)
        .group_by(key),
        dollars=sa.select(payee, sa.func.sum(spending.c.microdollars).label("microdollars"))
        .join_from(jobs, spending, spending.c.job_id == c.id)
        .where(*where)
        .group_by(paid),
        waits=_waits(key, where),
        back=sa.select(named, c.remarks).where(*where, c.remarks.like('%"partly_withheld"%')),
    )


def _waits(key: sa.ColumnElement[Any], where: Sequence[sa.ColumnElement[bool]]) -> sa.Select[Any]:
    waited = c.started_at - c.created_at
    ranked = (
        sa.select(
            key.label("named"),
            waited.label("wait"),
            sa.func.row_number().over(partition_by=key, order_by=waited).label("place"),
            sa.func.count().over(partition_by=key).label("of"),
        )
        .where(*where, c.started_at.is_not(None))
        .subquery("ranked")
    )
    r = ranked.c
    # The middle one, or the mean of the two in the middle.
    middle = (2 * r.place).between(r.of, r.of + 2)
    return sa.select(r.named, sa.func.avg(r.wait).label("wait")).where(middle).group_by(r.named)


# Constants are literals: PostgreSQL takes two equal expressions with parameters for different ones.
_NOTHING: sa.ColumnElement[str] = sa.literal_column("''")
# Not the column itself: SQLite would walk through all that a guild ever drew in the order of another index.
_MEMBER = c.user_id + sa.literal_column("0")
_PROVIDER = sa.func.coalesce(c.provider, _NOTHING)
_KEYS: Mapping[str, tuple[sa.ColumnElement[Any], sa.ColumnElement[Any]]] = {
    "member": (_MEMBER, _MEMBER),
    "model": (c.model, c.model),
    # One job may cost something at several providers.
    "provider": (_PROVIDER, spending.c.provider),
}
_OF_GUILD = {by: _sums(*keys, _HERE) for by, keys in _KEYS.items()}
_OF_ALL = {by: _sums(*keys, _IN_TIME) for by, keys in _KEYS.items()}
_WAIT_IN_GUILD, _WAIT_IN_ALL = _waits(_NOTHING, _HERE), _waits(_NOTHING, _IN_TIME)


def report(connection: Connection, guild_id: int | None, days: int, by: By, zone: ZoneInfo, now: float) -> Report:
    """Return what was drawn in a guild (None: everywhere) today and in the ``days`` - 1 days before.

    A day begins at midnight in the guild's time zone, or in ``zone`` where it has set none.
    """
    if guild_id is not None:
        zone = _zone_of(connection, guild_id) or zone
    last = datetime.fromtimestamp(now, zone).date()
    calendar = [last - timedelta(days=back) for back in range(days - 1, -1, -1)]
    begins = [_midnight(day, zone) for day in [*calendar, last + timedelta(days=1)]]
    when: dict[str, Any] = {"since": begins[0], "until": begins[-1]}
    known = _OF_ALL
    where: Sequence[sa.ColumnElement[bool]] = _IN_TIME
    if guild_id is not None:
        known, where = _OF_GUILD, _HERE
        when["guild"] = guild_id
    found = _uses(connection, _by_day(begins, where) if by == "day" else known[by], when)
    if by == "day":
        uses = [(day.isoformat(), found.get(str(number), Use())) for number, day in enumerate(calendar)]
    else:
        uses = sorted(found.items(), key=lambda one: (-one[1].pictures, -one[1].jobs, one[0]))
    middle = connection.execute(_WAIT_IN_ALL if guild_id is None else _WAIT_IN_GUILD, when).one_or_none()
    return Report(calendar[0], last, uses, _together(found.values(), None if middle is None else middle.wait))


def _together(uses: Collection[Use], wait: float | None) -> Use:
    """Return what was drawn in all; a median is no sum, so it is given."""

    def in_all(what: str) -> int:
        return sum(getattr(use, what) for use in uses)

    sums = {what.name: in_all(what.name) for what in fields(Use) if what.name != "wait"}
    return Use(**sums, wait=None if wait is None else float(wait))


def _by_day(begins: Sequence[float], where: Sequence[sa.ColumnElement[bool]]) -> _Sums:
    """Part the jobs by the number of their day, all days in one pass; ``begins`` ends with the end of the last one."""
    ends = [(c.created_at < sa.literal_column(repr(end)), number) for number, end in enumerate(begins[1:])]
    number = sa.case(*((before, sa.literal_column(str(day))) for before, day in ends))
    return _sums(number, number, where)


def _zone_of(connection: Connection, guild_id: int) -> ZoneInfo | None:
    renewal = policy_of(connection, guild_id).everybody.renewal
    return None if renewal is None or renewal.zone is None else ZoneInfo(renewal.zone)


def _midnight(day: date, zone: ZoneInfo) -> float:
    return datetime.combine(day, time.min, zone).timestamp()


def _uses(connection: Connection, sums: _Sums, when: Mapping[str, Any]) -> dict[str, Use]:
    found: dict[str, dict[str, Any]] = {}
    for statement in (sums.counts, sums.pictures, sums.dollars, sums.waits):
        for sum_ in connection.execute(statement, dict(when)).mappings():
            values = {name: value for name, value in sum_.items() if name != "named"}
            found.setdefault(str(sum_["named"]), {}).update(values)
    for row in connection.execute(sums.back, dict(when)):
        found[str(row.named)]["millicredits"] -= _given_back(row.remarks)
    return {
        name: Use(**{what: _number(what, value) for what, value in values.items()}) for name, values in found.items()
    }


def _number(what: str, value: Any) -> Any:
    return float(value) if what == "wait" else int(value)  # sums may come as decimals


def _given_back(remarks: str) -> int:
    told = (one for one in json.loads(remarks) if one["code"] == "partly_withheld")
    return sum(int(one["facts"].get("refunded", 0)) for one in told)
