"""What `flux-bot doctor` says of the card: how each model would be drawn on it, why, and what would be faster."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from flux_core.errors import ConfigurationError
from flux_core.models import Mode
from flux_core.settings import Settings

GIB = 2**30
MOSTLY_FREE = 0.9
"""Part of a card's memory that is free where nothing of size runs there: no worker, say."""
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def examine_card(settings: Settings) -> Iterator[tuple[str, bool | None, str]]:
    """Yield (subject, whether it is well, remark) for the device and for every model drawn on it.

    Nothing is loaded or downloaded. Takes seconds: it imports torch; nothing is said where that is missing.
    """
    if find_spec("torch") is None:
        return
    from flux_core.gpu.descent import Descent
    from flux_core.gpu.device import choose_device, facts_of
    from flux_core.gpu.quiet import silence

    silence()
    try:
        facts = facts_of(choose_device(settings.device))
        descent = Descent(facts, settings.gpu_profile)
    except ConfigurationError as error:
        yield "Card", False, str(error)
        return
    about = [facts.name]
    if facts.free is not None:
        about.append(f"{_gib(facts.free)} free" + ("" if facts.total is None else f" of {_gib(facts.total)}"))
    if facts.capability is not None:
        about.append(f"compute capability {facts.capability[0]}.{facts.capability[1]}")
    if facts.total is not None and facts.free is not None and facts.free < MOSTLY_FREE * facts.total:
        about.append("the rest is taken now; a worker goes by what is free when it starts")
    yield "Card", True, ", ".join(about)
    try:
        warm = settings.warmed_up
    except ConfigurationError as error:
        warm = ()
        yield "Warm-up", False, str(error)
    for spec in settings.catalogue:
        source = spec.source or ""
        if not source or not (Path(source).expanduser().is_dir() or HUB_ID.fullmatch(source)):
            continue
        told: list[str] = []
        faster = None
        for mode in Mode:
            rung = descent.standing(spec, mode)
            if rung.mode is mode is Mode.TURBO and told:
                told.append(f"{mode}: {rung.name} with a step cache.")
            elif rung.mode is mode:
                told.append(f"{mode}: {rung.name}, {_gib(rung.card_bytes)}. {rung.why}")
                faster = faster or rung.faster
            else:
                told.append(f"{mode}: drawn in {rung.mode}, since {descent.why(spec, mode)}.")
        if spec.id in warm:
            rehearsed = ", ".join(descent.rehearsed(spec))
            told.append(f"A worker loads it when it starts, and rehearses it while nobody waits: {rehearsed}.")
        short = facts.free is not None and descent.standing(spec).card_bytes > facts.free
        remark = " ".join([*told, *([faster] if faster else []), *(["It may not fit."] if short else [])])
        yield f"{spec.id} here", None if short else True, remark


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"
