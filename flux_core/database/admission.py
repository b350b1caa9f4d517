"""Who may draw a new job, and whether anybody ever can: decided when it is submitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from flux_core.database import speeds, workers
from flux_core.database.crew import within_budget
from flux_core.errors import NobodyDraws, UnknownProvider
from flux_core.estimates import units_of
from flux_core.generation import GenerationRequest
from flux_core.jobs import Origin, VenueKind
from flux_core.loras import Known
from flux_core.models import Mode
from flux_core.offers import Offer
from flux_core.policy.guild import GuildPolicy
from flux_core.router import LOCAL, Errand, Nobody, RoutingPolicy, Venue, route
from flux_core.skills import loras_at_hand


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """What the operator has configured, whoever of it lives at the moment."""

    models: Sequence[str]
    """All that a member may ask for, in the studio's order."""
    local: frozenset[str]
    """Models whose weights there are."""
    loras: Known = field(default_factory=dict)
    """LoRAs that workers with our own list have."""
    elsewhere: frozenset[str] = frozenset()
    """Models with published weights that workers on other machines draw: their own cards, or hosted providers."""
    hosted: Mapping[str, Mapping[str, Offer]] = field(default_factory=dict)
    """Hosted provider → model → what it does with it."""
    caps: Mapping[str, int] = field(default_factory=dict)
    """Hosted provider → the most that it may be paid a day, in millionths of a dollar."""
    policy: RoutingPolicy
    """Where a guild has none of its own."""
    links: bool = False
    """Whether the picture store can hand out URLs."""
    lease_seconds: float
    """Silence after which a worker does not count as alive."""


def venue_for(
    connection: Connection,
    request: GenerationRequest,
    origin: Origin,
    decided: GuildPolicy,
    offered: Offered,
    now: float,
) -> VenueKind:
    """Return who may draw ``request`` where a guild has ``decided`` that; raises UnknownProvider or NobodyDraws."""
    model = request.model
    policy = decided.routing or offered.policy
    if request.provider is None and request.lora is None and model in offered.local and policy.first == "local":
        return "any"  # our own cards draw all of it, whoever else may: the usual case, and the quick one
    venues = {
        name: Venue(provider=name, hosted=True, offers=offers, links=offered.links, money_cap=offered.caps.get(name))
        for name, offers in offered.hosted.items()
    }
    cards, ours = bool(offered.local or offered.elsewhere), model in offered.local
    crew: list[Mapping[str, Offer]] = []
    for worker in workers.alive(connection, now - offered.lease_seconds):
        if worker.hosted:
            venues[worker.provider] = Venue(
                provider=worker.provider,
                hosted=True,
                offers=worker.offers,
                links=worker.links,
                money_cap=worker.money_cap,
            )
        else:
            cards, ours = True, ours or model in worker.offers
            crew.append(worker.offers)
    if model in offered.elsewhere and not ours:
        # Cards that have never drawn it are not waited for where a hosted provider can.
        drawn_by_cards = (LOCAL, model) in speeds.known(connection)
        ours = drawn_by_cards or request.provider == LOCAL or not any(model in v.offers for v in venues.values())
    lacks_lora = request.lora is not None and model not in loras_at_hand(offered.loras, crew).get(request.lora.name, ())
    ours = ours and not lacks_lora
    known = ([LOCAL] if cards else []) + sorted(venues)
    if request.provider is not None and request.provider not in known:
        raise UnknownProvider(value=request.provider, known=known)
    local = Venue(provider=LOCAL, hosted=False, offers={model: Offer(theirs=model)} if ours else {})
    errand = Errand(request=request, variation=origin is Origin.VARIATION)
    # What is spent today is there again tomorrow: a job that fits into a day's money is worth waiting for.
    hosted = list(within_budget(venues.values(), decided, lambda: 0))
    verdict = route(errand, [local, *hosted], policy)
    if isinstance(verdict, Nobody):
        reasons = dict(verdict.reasons)
        if lacks_lora and LOCAL in reasons and request.lora is not None:
            reasons[LOCAL] = f"none has the LoRA {request.lora.name} for {model} at the moment"
        raise NobodyDraws(model=model, reasons=reasons)
    if request.provider == LOCAL:
        return "local"
    if request.provider is not None or not ours:
        return "hosted"
    if policy.first == "hosted" and not isinstance(route(errand, hosted, policy), Nobody):
        return "hosted"
    return "any"


def units_for(
    connection: Connection, request: GenerationRequest, venue: VenueKind, offered: Offered, now: float
) -> float:
    """Return the work of ``request`` in the mode in which those draw it who live, our own cards where they may.

    What is asked for in quality is the same work everywhere: nobody has to be looked at, as for most jobs.
    """
    if request.mode is Mode.QUALITY:
        return request.work
    crew = workers.alive(connection, now - offered.lease_seconds)
    return units_of(request, [worker.offers for worker in crew if worker.hosted == (venue == "hosted")])
