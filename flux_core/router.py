"""Who draws a job: the member's or the community's choice, our own card first, a hosted provider when that is too slow.

Pure: the queue asks when a hosted provider has room, with what it knows of everybody who could draw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from flux_core.generation import GenerationRequest
from flux_core.offers import Offer

LOCAL = "local"
"""The name of our own cards, as a venue and as a member's choice."""


class RoutingPolicy(BaseModel):
    """What a community, or the operator for all, prefers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: Literal["local", "hosted"] = "local"
    """Who draws when both could."""
    order: Literal["cheapest", "fastest"] = "cheapest"
    """Which hosted provider comes first."""
    overflow_seconds: float = Field(default=120.0, ge=0, allow_inf_nan=False)
    """With ``first`` local: how long a job may wait for our own cards before a hosted provider takes it."""
    return_seconds: float = Field(default=20.0, ge=0, allow_inf_nan=False)
    """How long our own cards get to come back, at a start or after a crash, before what waits for them costs money."""
    providers: tuple[str, ...] | None = None
    """Hosted providers that may draw; None: every configured one, empty: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Venue:
    """Somewhere a job could be drawn, as it stands now."""

    provider: str
    hosted: bool
    offers: Mapping[str, Offer]
    closed: str | None = None
    """Why it takes no jobs at the moment."""
    free: int = 1
    """Jobs it could begin at once."""
    seconds: float | None = None
    """Until this job would be done there, waiting included; None: nothing was measured yet."""
    money_left: int | None = None
    """Millionths of a dollar that may still be spent there today; None: no limit."""
    money_cap: int | None = None
    """The same for a whole day."""
    links: bool = False
    """Whether our picture store can hand out URLs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What has to be known of a job to route it."""

    request: GenerationRequest
    variation: bool = False
    """Whether it may be drawn from its words alone where no provider starts from pictures."""
    waited: float = inf
    """Seconds since it was submitted, or since whoever asks began to look."""
    tried: frozenset[str] = frozenset()
    """Providers that failed on it."""
    bound_to: str | None = None
    """The provider that it was submitted to: nobody else may draw it."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Draw it at ``provider``; ``why`` is kept with the job and shown in Details (``local first``, ``overflow`` …)."""

    provider: str
    why: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nobody can begin it now, somebody will."""

    why: str


@dataclass(frozen=True, slots=True)
class Nobody:
    """No venue draws this, now or later: provider → why not."""

    reasons: Mapping[str, str]


Verdict = Choice | Wait | Nobody


def route(errand: Errand, venues: Sequence[Venue], policy: RoutingPolicy) -> Verdict:
    """Decide who draws ``errand``.

    A wish of the member comes before the community's policy, which comes before price and speed. Where several are
    equal, names decide, so that everybody who asks gets the same answer.
    """
    if errand.bound_to is not None:
        return _bound(errand.bound_to, venues)
    able, reasons = _able(errand, venues, policy)
    if not able:
        return Nobody(reasons)
    if errand.variation:
        able = [venue for venue in able if _varies(errand, venue, policy)] or able
    local = next((venue for venue in able if not venue.hosted), None)
    hosted = [venue for venue in able if venue.hosted]
    open_now = [venue for venue in hosted if _shut(errand, venue) is None]
    if local is not None and not _overflows(errand, local, open_now, policy):
        return Choice(LOCAL, _why_local(errand, hosted, open_now, policy))
    ready = [venue for venue in open_now if venue.free > 0]
    if ready:
        chosen = min(ready, key=lambda venue: _rank(errand, venue, policy))
        return Choice(chosen.provider, _why_hosted(errand, chosen, able, policy))
    if open_now:
        return Wait("every provider has its hands full")
    return Wait("; ".join(f"{venue.provider}: {_shut(errand, venue)}" for venue in hosted))


def takes_now(errand: Errand, venue: Venue, policy: RoutingPolicy) -> bool:
    """Say whether a hosted venue would draw ``errand`` as things stand, as soon as it has its hands free."""
    return _objection(errand, venue, policy) is None and _shut(errand, venue) is None


def _bound(provider: str, venues: Sequence[Venue]) -> Verdict:
    venue = next((venue for venue in venues if venue.provider == provider), None)
    if venue is None:
        return Wait(f"{provider}, where it was submitted, has no worker")
    return Choice(provider, "it was submitted there")


def _able(errand: Errand, venues: Sequence[Venue], policy: RoutingPolicy) -> tuple[list[Venue], dict[str, str]]:
    able, reasons = [], {}
    for venue in venues:
        objection = _objection(errand, venue, policy)
        if objection is None:
            able.append(venue)
        else:
            reasons[venue.provider] = objection
    return able, reasons


def _objection(errand: Errand, venue: Venue, policy: RoutingPolicy) -> str | None:
    """Say why ``venue`` will never draw ``errand``."""
    request = errand.request
    if request.provider not in (None, venue.provider):
        return "another provider was asked for"
    if venue.provider in errand.tried:
        return "it failed there"
    allowed = policy.providers is None or venue.provider in policy.providers
    if venue.hosted and not allowed:
        return "not allowed on this server"
    offer = venue.offers.get(request.model)
    if offer is None:
        return f"no {request.model}"
    if not venue.hosted:
        return None
    objection = offer.objection(request, links=venue.links, variation=errand.variation)
    if objection is None and venue.money_cap is not None and _cost(errand, venue) > venue.money_cap:
        return "it costs more than may be spent there in a day"
    return objection


def _varies(errand: Errand, venue: Venue, policy: RoutingPolicy) -> bool:
    """Say whether ``venue`` can start a variation from its picture, and is worth waiting for."""
    if not venue.hosted:
        return not _away(errand, venue, policy)
    # One that is shut may stay so until midnight, or until the operator has paid.
    return _shut(errand, venue) is None and venue.offers[errand.request.model].starts_from_pictures(links=venue.links)


def _away(errand: Errand, local: Venue, policy: RoutingPolicy) -> bool:
    """Say whether our own cards are gone for longer than they get to come back."""
    return local.closed is not None and errand.waited >= min(policy.overflow_seconds, policy.return_seconds)


def _shut(errand: Errand, venue: Venue) -> str | None:
    """Say why a hosted venue takes nothing new at the moment."""
    if venue.closed is not None:
        return venue.closed
    if venue.money_left is not None and _cost(errand, venue) > venue.money_left:
        return "the day's money is spent"
    return None


def _overflows(errand: Errand, local: Venue, open_now: Sequence[Venue], policy: RoutingPolicy) -> bool:
    """Say whether a hosted provider shall draw what our own cards could."""
    if not open_now or errand.request.provider == LOCAL:
        return False
    if policy.first == "hosted":
        return True
    if local.closed is not None:
        return _away(errand, local, policy)
    return local.seconds is not None and local.seconds > policy.overflow_seconds


def _why_local(errand: Errand, hosted: Sequence[Venue], open_now: Sequence[Venue], policy: RoutingPolicy) -> str:
    if errand.request.provider == LOCAL:
        return "asked for"
    if errand.tried:
        return "another provider failed"
    if not hosted:
        return "the only one that draws it"
    if not open_now:
        return "no hosted provider is open"
    return "our own card comes first"


def _why_hosted(errand: Errand, chosen: Venue, able: Sequence[Venue], policy: RoutingPolicy) -> str:
    if errand.request.provider == chosen.provider:
        return "asked for"
    if errand.tried:
        return "another provider failed"
    if len(able) == 1:
        return "the only one that draws it"
    local = next((venue for venue in able if not venue.hosted), None)
    if local is not None and policy.first == "local":
        return "our own cards are away" if local.closed is not None else "the wait for our own cards was too long"
    return policy.order


def _rank(errand: Errand, venue: Venue, policy: RoutingPolicy) -> tuple[float, float, str]:
    seconds = inf if venue.seconds is None else venue.seconds
    cost = float(_cost(errand, venue))
    return (*((cost, seconds) if policy.order == "cheapest" else (seconds, cost)), venue.provider)


def _cost(errand: Errand, venue: Venue) -> int:
    return venue.offers[errand.request.model].cost(errand.request)
