"""Who may spend how much: an allowance that renews, and granted credits. Pure rules; the ledger keeps the rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from flux_core.errors import QuotaSpent, TooManyWaiting
from flux_core.policy.guild import Renewal

UTC = ZoneInfo("UTC")
ROLLING = "rolling"
"""The purse of an allowance that does not renew at once."""
GRANTED = "granted"
"""The purse of credits given by moderators that do not expire; those that do are in "granted:0001795262400" (the unix
second of their end, so that names sort by it)."""
BEHIND_GRANTED = "grantee"
"""Behind all of their purses, also where a database's collation looks at letters before it looks at signs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaRules:
    """What a member may spend and keep waiting, unless a community has decided otherwise."""

    allowance: int
    """Thousandths of a credit a day."""
    zone: ZoneInfo
    """Where the day begins at midnight."""
    max_waiting: int


@dataclass(frozen=True, slots=True)
class Period:
    """One stretch of an allowance."""

    purse: str
    """The ledger's name for it: "day:2026-11-21", "week:2026-11-16" (its Monday), "month:2026-11", or "rolling"."""
    renews_at: float | None
    """Unix seconds: when the next one begins; None for a rolling one."""
    since: float
    """Unix seconds: when it began; of a rolling one the start of the window."""


@dataclass(frozen=True, slots=True)
class Purse:
    """Credits that an account can pay with."""

    name: str
    left: int
    """Thousandths of a credit; may be negative after an allowance was lowered: then it pays nothing."""
    ends_at: float | None
    """Unix seconds after which they are worth nothing; None: they do not expire."""


_TO_THE_NEXT = {"day": timedelta(days=2), "week": timedelta(days=8), "month": timedelta(days=32)}
"""From any day of a period to the next one or later, but for one day that may be ahead of the clocks."""


def granted_purse(expires_at: float | None) -> str:
    """Return the purse of credits that expire at ``expires_at`` (unix seconds, counted up to whole ones)."""
    return GRANTED if expires_at is None else f"{GRANTED}:{math.ceil(expires_at):013d}"


def expiry_of(purse: str) -> float | None:
    """Return when the credits of a granted purse expire, in unix seconds; None: never.

    Raises ValueError for a purse of another kind.
    """
    if purse == GRANTED:
        return None
    kind, _, end = purse.partition(":")
    if kind != GRANTED:
        raise ValueError(f"{purse} is no purse of granted credits.")
    return float(int(end))


def period_at(now: float, renewal: Renewal, zone: ZoneInfo) -> Period:
    """Return the period that ``now`` (unix seconds) lies in; ``renewal.zone`` goes before ``zone``.

    A period begins when its zone's clocks first show its time, or first pass it by: where they jump over it, at once
    after the jump, and where they show it twice, the first time. So periods follow one another without gap.
    """
    if renewal.every == "rolling":
        return Period(ROLLING, None, now - renewal.hours * 3600)
    latest = _latest(renewal, zone)
    period = latest.period
    if period is None or period.renews_at is None or not period.since <= now < period.renews_at:
        period = latest.period = _period_at(now, renewal, zone if renewal.zone is None else ZoneInfo(renewal.zone))
    return period


class _Latest:
    """The period that was found last: almost always, the next look is within it as well. Threads may share it."""

    period: Period | None = None


@lru_cache(maxsize=1024)
def _latest(renewal: Renewal, zone: ZoneInfo) -> _Latest:
    return _Latest()


def _period_at(now: float, renewal: Renewal, zone: ZoneInfo) -> Period:
    at = time.fromisoformat(renewal.at)
    # One that has not begun for sure: where clocks went back over midnight, tomorrow's may have begun already.
    following = _first_day(renewal, datetime.fromtimestamp(now, zone).date() + _TO_THE_NEXT[renewal.every])
    while True:
        day = _first_day(renewal, following - timedelta(days=1))
        since = _reached(datetime.combine(day, at), zone)
        if since <= now:
            name = f"{day:%Y-%m}" if renewal.every == "month" else day.isoformat()
            return Period(f"{renewal.every}:{name}", _reached(datetime.combine(following, at), zone), since)
        following = day


def _first_day(renewal: Renewal, day: date) -> date:
    if renewal.every == "month":
        return day.replace(day=1)
    return day - timedelta(days=day.weekday()) if renewal.every == "week" else day


def _reached(shown: datetime, zone: ZoneInfo) -> float:
    """Return when the clocks of ``zone`` first show ``shown``, or something later, in unix seconds."""
    moment = shown.replace(tzinfo=zone).timestamp()
    if datetime.fromtimestamp(moment, zone).replace(tzinfo=None) == shown:
        return moment
    # They never show it. Read with the offset behind the jump it lies before that, and the other way round.
    before, after = int(shown.replace(tzinfo=zone, fold=1).timestamp()), int(moment)
    while after - before > 1:
        middle = (before + after) // 2
        if datetime.fromtimestamp(middle, zone).replace(tzinfo=None) < shown:
            before = middle
        else:
            after = middle
    return float(after)


def day_at(now: float, zone: ZoneInfo) -> str:
    """Return the day that ``now`` (unix seconds) lies in, as 2026-11-21."""
    return datetime.fromtimestamp(now, zone).date().isoformat()


def payment(cost: int, purses: Sequence[Purse], renews_at: float | None) -> dict[str, int]:
    """Split ``cost`` over the purses it is taken from: those first that are worth nothing soonest; raises QuotaSpent.

    The purses come with the allowance's first: where nothing is paid, that one is in the answer, with 0.
    """
    left = sum(max(purse.left, 0) for purse in purses)
    if cost > left:
        raise QuotaSpent(cost=cost, left=left, renews_at=renews_at)
    shares: dict[str, int] = {}
    for purse in sorted(purses, key=lambda purse: math.inf if purse.ends_at is None else purse.ends_at):
        share = min(cost, max(purse.left, 0))
        if share:
            shares[purse.name] = share
            cost -= share
    return shares or {purses[0].name: 0}


def allow_waiting(waiting: int, limit: int) -> None:
    """Raise TooManyWaiting when ``waiting`` jobs leave no room for one more."""
    if waiting >= limit:
        raise TooManyWaiting(waiting=waiting, limit=limit)


def shares_back(shares: Sequence[int], missing: int, count: int) -> list[int]:
    """Return what goes back of each of ``shares`` for ``missing`` of ``count`` pictures: in whole parts, exact in sum.

    Where shares do not divide, those with the largest remainders get one part more.
    """
    whole = sum(shares) * missing // count
    back = [share * missing // count for share in shares]
    remainders = [share * missing % count for share in shares]
    for place in sorted(range(len(shares)), key=lambda place: -remainders[place])[: whole - sum(back)]:
        back[place] += 1
    return back
