"""Contract for the next quota.py, to be merged into it: see the docstrings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from flux_core.policy import Renewal


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


GRANTED = "granted"
"""The purse of credits given by moderators that do not expire; those that do are in "granted:0001795262400" (the unix
second of their end, so that names sort by it)."""


def granted_purse(expires_at: float | None) -> str:
    """Return the purse of credits that expire at ``expires_at``."""
    raise NotImplementedError


def expiry_of(purse: str) -> float | None:
    """Return when the credits of a granted purse expire; None: never."""
    raise NotImplementedError


def period_at(now: float, renewal: Renewal, zone: ZoneInfo) -> Period:
    """Return the period that ``now`` (unix seconds) lies in; ``renewal.zone`` goes before ``zone``."""
    raise NotImplementedError


def payment(cost: int, purses: Sequence[Purse], renews_at: float | None) -> dict[str, int]:
    """Split ``cost`` over the purses it is taken from: those first that are worth nothing soonest; raises QuotaSpent.

    The purses come with the allowance's first: where nothing is paid, that one is in the answer, with 0.
    """
    raise NotImplementedError
