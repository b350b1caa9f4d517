"""What one member may do: their own limits, the best of their tiers, everybody's, the operator's. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from flux_core.policy import GuildPolicy, Limits, Renewal
from flux_core.quota import QuotaRules


@dataclass(frozen=True, slots=True, kw_only=True)
class Entitlement:
    """Every limit of one member, decided."""

    allowance: int
    """Thousandths of a credit, each ``renewal``."""
    renewal: Renewal
    zone: ZoneInfo
    """Where the renewal's time is local."""
    weight: float
    max_waiting: int
    max_running: int | None
    max_megapixels: float | None
    max_count: int | None
    models: frozenset[str] | None
    """The only models; None: every one that the server allows."""


def entitled(policy: GuildPolicy, role_ids: Collection[int], own: Limits, operator: QuotaRules) -> Entitlement:
    """Resolve each limit by itself: the member's own, else the best among their tiers, else everybody's, else the
    operator's.

    Of several allowances the best is the one with most credits a day; it brings its renewal along.
    """
    raise NotImplementedError
