"""What one member may do: their own limits, the best of what their tiers and everybody have, the operator's. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar
from zoneinfo import ZoneInfo

from flux_core.models import CREDIT
from flux_core.policy.guild import GuildPolicy, Limits, Renewal, Tier, millicredits
from flux_core.quota import QuotaRules

Number = TypeVar("Number", int, float)

EVERYBODYS_WEIGHT = 1.0
"""What weights are measured against."""
DAYS_A_MONTH = 365.2425 / 12
"""The mean of the Gregorian calendar, to compare allowances with."""


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
    """Resolve each limit by itself: the member's own, else the best of what their tiers say and everybody has, which is
    the operator's where the community has not said it.

    So a tier gives, and never takes away: whoever shall have less than everybody needs limits of their own. Of several
    allowances the best is the one with most credits a day; it brings its renewal along. One that says no renewal has
    that of the next wider circle. Of models, a member has everybody's and those of all their tiers.
    """
    everybody, tiers = policy.everybody, tiers_of(policy, role_ids)
    allowance, renewal = _allowance(own, everybody, tiers, operator.allowance)
    waiting = operator.max_waiting if everybody.max_waiting is None else everybody.max_waiting
    weight = EVERYBODYS_WEIGHT if everybody.weight is None else everybody.weight
    return Entitlement(
        allowance=allowance,
        renewal=renewal,
        zone=operator.zone if renewal.zone is None else ZoneInfo(renewal.zone),
        weight=_most(own.weight, weight, [tier.weight for tier in tiers]),
        max_waiting=_most(own.max_waiting, waiting, [tier.max_waiting for tier in tiers]),
        max_running=_limit(own.max_running, everybody.max_running, [tier.max_running for tier in tiers]),
        max_megapixels=_limit(own.max_megapixels, everybody.max_megapixels, [tier.max_megapixels for tier in tiers]),
        max_count=_limit(own.max_count, everybody.max_count, [tier.max_count for tier in tiers]),
        models=_models(own, everybody, tiers),
    )


def tiers_of(policy: GuildPolicy, role_ids: Collection[int]) -> tuple[Tier, ...]:
    """Return the tiers of somebody with these roles, in the policy's order."""
    return tuple(tier for tier in policy.tiers if tier.role_id in role_ids)


def credits_a_day(credits: float, renewal: Renewal) -> float:
    """Return what an allowance comes to per day, to compare it with others."""
    days = {"day": 1.0, "week": 7.0, "month": DAYS_A_MONTH, "rolling": renewal.hours / 24}
    return credits / days[renewal.every]


def _allowance(own: Limits, everybody: Limits, tiers: Sequence[Tier], operators: int) -> tuple[int, Renewal]:
    """Return thousandths of a credit, and when they are new again."""
    credits, renewal = _allowance_of(everybody, (operators / CREDIT, Renewal()))
    offers = [_allowance_of(tier, (credits, renewal)) for tier in tiers]
    # The first of equals: what a tier says goes before what everybody has.
    best = max([*offers, (credits, renewal)], key=lambda offer: credits_a_day(*offer))
    credits, renewal = _allowance_of(own, best)
    return millicredits(credits), renewal


def _allowance_of(said: Limits, wider: tuple[float, Renewal]) -> tuple[float, Renewal]:
    return (
        wider[0] if said.credits is None else said.credits,
        wider[1] if said.renewal is None else said.renewal,
    )


def _most(own: Number | None, everybodys: Number, tiers: Iterable[Number | None]) -> Number:
    if own is not None:
        return own
    return max((said for said in tiers if said is not None and said > everybodys), default=everybodys)


def _limit(own: Number | None, everybodys: Number | None, tiers: Iterable[Number | None]) -> Number | None:
    # Nobody has to be given more where there is no limit.
    return own if own is not None or everybodys is None else _most(None, everybodys, tiers)


def _models(own: Limits, everybody: Limits, tiers: Sequence[Tier]) -> frozenset[str] | None:
    if own.models is not None:
        return frozenset(own.models)
    if everybody.models is None:
        return None
    return frozenset(everybody.models).union(*(tier.models for tier in tiers if tier.models is not None))
