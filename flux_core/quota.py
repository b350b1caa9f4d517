"""Who may spend how much: the day's allowance first, then granted credits. Pure rules; the ledger keeps the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from flux_core.errors import QuotaSpent, TooManyWaiting

UTC = ZoneInfo("UTC")
GRANTED = "granted"
"""The purse of credits given by moderators; they do not expire."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaRules:
    """What a member may spend and keep waiting, unless told otherwise for that member."""

    allowance: int
    """Thousandths of a credit a day."""
    zone: ZoneInfo
    """Where the day begins at midnight."""
    max_waiting: int


@dataclass(frozen=True, slots=True)
class Period:
    """One day of allowance."""

    purse: str
    renews_at: float
    """Unix seconds: when the next one begins."""


@dataclass(frozen=True, slots=True)
class Balance:
    """What an account can pay with, in thousandths of a credit."""

    day: int
    """Left of the day's allowance; negative when the allowance was lowered below what was spent."""
    granted: int

    @property
    def left(self) -> int:
        """Return what can be spent now."""
        return max(self.day, 0) + max(self.granted, 0)


def period_at(now: float, zone: ZoneInfo) -> Period:
    """Return the day that ``now`` (unix seconds) lies in."""
    day = _date(now, zone)
    midnight = datetime.combine(day + timedelta(days=1), time.min, zone)
    return Period(f"day:{day.isoformat()}", midnight.timestamp())


def day_at(now: float, zone: ZoneInfo) -> str:
    """Return the day that ``now`` (unix seconds) lies in, as 2026-11-21."""
    return _date(now, zone).isoformat()


def _date(now: float, zone: ZoneInfo) -> date:
    return datetime.fromtimestamp(now, zone).date()


def payment(cost: int, balance: Balance, period: Period) -> dict[str, int]:
    """Split ``cost`` over the purses it is taken from, the day's first; raises QuotaSpent."""
    if cost > balance.left:
        raise QuotaSpent(cost=cost, left=balance.left, renews_at=period.renews_at)
    from_day = min(cost, max(balance.day, 0))
    shares = {period.purse: from_day, GRANTED: cost - from_day}
    return {purse: share for purse, share in shares.items() if share} or {period.purse: 0}


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
