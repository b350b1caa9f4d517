"""What /settings shows: what holds for a member here, and who has said so. Pure."""

from __future__ import annotations

from typing import Any

from discord import ui

from bot.defaults import Source, settle
from bot.layouts.cards import BLURPLE, Card
from bot.words.phrasing import escape
from flux_core.catalogue import Catalogue
from flux_core.generation import OutputFormat, RequestOptions
from flux_core.models import Mode
from flux_core.preferences import Preferences
from flux_core.service.personal import Circumstances

NAMES = {
    "model": "Model",
    "aspect": "Aspect",
    "count": "Count",
    "output_format": "Format",
    "mode": "Mode",
    "private": "Private",
    "notify": "Notify",
}
"""Field of Preferences → how the card calls it."""
FROM = {
    Source.OWN: "your own setting",
    Source.CHANNEL: "this channel's default",
    Source.STUDIO: "the studio's default",
}


def settings(known: Circumstances, catalogue: Catalogue, *, lead: str | None = None) -> Card:
    """Show what a member gets here where they name nothing; ``lead`` tells what was just done."""
    own = known.preferences
    found = settle(RequestOptions(prompt=""), own, known.channel, catalogue, known.permitted)
    options, sources = found.options, found.sources
    spec = catalogue[options.model] if options.model is not None else catalogue.default
    holds: dict[str, Any] = {
        "model": spec.title,
        "aspect": options.aspect or "1:1",
        "count": options.count or int(spec.count.default),
        "output_format": options.output_format or OutputFormat.WEBP.value,
        "mode": options.mode or Mode.QUALITY.value,
        "private": _switch(found.private),
        "notify": _switch(bool(own.notify)),
    }
    notify = Source.STUDIO if own.notify is None else Source.OWN
    rows = []
    for field, name in NAMES.items():
        source = notify if field == "notify" else sources.get(field, Source.STUDIO)
        wish = getattr(own, field)
        aside = f" (your setting {escape(str(wish))} can't be had here)" if wish is not None and source != "own" else ""
        rows.append(f"**{name}:** {escape(str(holds[field]))} · {FROM[source]}{aside}")
    told = [] if lead is None else [ui.TextDisplay[Any](lead)]
    return Card(
        *told,
        ui.Container(
            ui.TextDisplay("### What you get here\n" + "\n".join(rows)),
            ui.TextDisplay(
                "-# Whatever you type with `/imagine` goes first. **Private** shows pictures to you alone; **Notify** "
                "sends you a direct message when they are there. `/settings set` changes your own, "
                "`/settings reset` forgets them."
            ),
            accent_colour=BLURPLE,
        ),
    )


def named(given: Preferences) -> str:
    """Return the settings in ``given`` as a list: ``Model, Count``."""
    return ", ".join(f"**{name}**" for field, name in NAMES.items() if getattr(given, field) is not None)


def _switch(on: bool) -> str:
    return "on" if on else "off"
