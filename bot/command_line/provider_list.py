"""Every hosted provider that flux-bot knows, for the operator: configured or not, models, prices, spending, health."""

from __future__ import annotations

import time
from collections.abc import Mapping
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bot.layouts.remarks import is_spent, usual_price
from bot.words.phrasing import dollars
from flux_core.bootstrap import open_database
from flux_core.database import spending, workers
from flux_core.database.workers import WorkerInfo
from flux_core.errors import FluxError
from flux_core.family import FAMILY
from flux_core.logs import mask
from flux_core.offers import Offer
from flux_core.provider_settings import ProviderSettings, variable, vendors
from flux_core.providers.hosted.vendor import Vendor
from flux_core.quota import day_at
from flux_core.settings import Settings


async def show(settings: Settings, console: Console) -> None:
    """Print the table; raises ConfigurationError or StorageUnavailable."""
    now = time.time()
    async with open_database(settings) as database:
        alive = await database.read(workers.alive, now - settings.lease_seconds)
        spent = await database.read(spending.on, day_at(now, ZoneInfo(settings.timezone)))
    table = Table(box=None, pad_edge=False, show_lines=False, header_style="bold")
    for heading in ("Provider", "State", "A 1-megapixel picture", "Spent today", "At once"):
        table.add_column(heading, overflow="fold")
    for name, vendor in sorted(vendors().items(), key=lambda one: one[0] not in settings.providers):
        given = settings.every_provider[name]
        row = [f"{vendor.title} ({name})", _state(vendor, given, alive, spent), _models(vendor, given), "", ""]
        if name in settings.providers:
            row[3] = _spending(spent, name, given)
            row[4] = str(given.concurrency or vendor.limits.concurrency)
        table.add_row(*(escape(cell) for cell in row))
    console.print(table, highlight=False)
    console.print(
        "Prices are in US dollars, from the built-in tables. `flux-bot doctor` asks each configured provider itself; "
        "docs/settings.md lists their settings.",
        highlight=False,
    )


def _state(vendor: type[Vendor], given: ProviderSettings, alive: list[WorkerInfo], spent: Mapping[str, int]) -> str:
    missing = given.missing(vendor)
    if missing:
        where = f", from {vendor.key_page}" if vendor.key_page else ""
        return f"not configured: set {' and '.join(missing)}{where}"
    its = [worker for worker in alive if worker.provider == vendor.name]
    closed = [worker.closed for worker in its if worker.closed is not None]
    if not its:
        return "configured; no worker is up"
    if len(closed) == len(its):
        return f"closed: {mask(closed[0], tuple(given.secrets))}"
    if given.money_cap is not None and is_spent(its[-1].offers, given.money_cap - spent.get(vendor.name, 0)):
        return f"running; the day's money is spent ({variable(vendor, 'daily_cap')})"
    return "running"


def _models(vendor: type[Vendor], given: ProviderSettings) -> str:
    try:
        offers: Mapping[str, Offer] = vendor(given.access(vendor)).offers
    except FluxError as error:
        return mask(str(error), tuple(given.secrets))
    lines = []
    for spec in FAMILY:
        if (offer := offers.get(spec.id)) is not None:
            price = usual_price(offer, spec)
            pictures = "" if offer.image_input is None else ", also from pictures"
            lines.append(f"{spec.id} {dollars(price) if price else 'free'}{pictures}")
    return "\n".join(lines) or f"none yet: name them in {variable(vendor, 'models')}"


def _spending(spent: Mapping[str, int], name: str, given: ProviderSettings) -> str:
    cap = "no cap" if given.money_cap is None else f"of {dollars(given.money_cap)}"
    return f"{dollars(spent.get(name, 0))} {cap}"
