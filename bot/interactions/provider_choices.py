"""Whom a member may name as provider."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from bot.layouts.remarks import usual_price
from bot.words.phrasing import dollars, title_of
from flux_core.bootstrap import configured_vendors
from flux_core.models import ModelSpec
from flux_core.offers import Offer
from flux_core.router import LOCAL
from flux_core.service import WorkerInfo
from flux_core.settings import Settings


def hosted_offers(settings: Settings, workers: list[WorkerInfo]) -> dict[str, Mapping[str, Offer]]:
    """Return the hosted providers with what they draw: those configured here, and those of living workers."""
    configured = {name: vendor.offers for name, vendor in configured_vendors(settings).items()}
    return configured | {worker.provider: worker.offers for worker in workers if worker.hosted}


def choices(
    settings: Settings, workers: list[WorkerInfo], spec: ModelSpec, allowed: Collection[str] | None = None
) -> dict[str, str]:
    """Return the providers that draw ``spec``: name → what a member reads of it, with its price where there is one.

    ``allowed``: the hosted ones that may draw; None for all.
    """
    found = {}
    elsewhere = any(not worker.hosted and spec.id in worker.offers for worker in workers)
    if spec.local or elsewhere or (spec.weights and spec.id in settings.offered_elsewhere):
        found[LOCAL] = f"{LOCAL}: {title_of(LOCAL)}"
    for name, offers in hosted_offers(settings, workers).items():
        if (offer := offers.get(spec.id)) is not None and (allowed is None or name in allowed):
            price = usual_price(offer, spec)
            found[name] = f"{title_of(name)}: {f'about {dollars(price)} a picture' if price else 'free'}"
    return found
