"""The command line of ``flux-bot bench``: what was typed becomes a plan, what was found a table and a file."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rich.console import Console

from flux_core.errors import ConfigurationError
from flux_core.family import FLUX_SCHNELL
from flux_core.generation import mode_named
from flux_core.gpu.bench.plan import Plan
from flux_core.gpu.bench.report import Bench, show
from flux_core.gpu.bench.trial import Trial, at_random
from flux_core.logs import configure_logging
from flux_core.models import Mode
from flux_core.settings import Settings


def run(
    settings: Settings,
    console: Console,
    *,
    model: str | None,
    sizes: str | None,
    modes: str | None,
    steps: int | None,
    random_weights: bool,
    quick: bool,
    file: Path | None,
    minutes: float = 30,
) -> None:
    """Measure for ``minutes`` at most and print; write the figures to ``file`` as JSON, each as soon as it is known.

    Raises InvalidRequest or ConfigurationError for what cannot be measured, before anything is loaded.
    """
    configure_logging(settings)
    if file is not None and not file.absolute().parent.is_dir():
        raise ConfigurationError(f"There is no folder {file.absolute().parent}.")
    plan = Plan(
        sizes=_listed(sizes),
        modes=[mode_named(name) for name in _listed(modes)] or tuple(Mode),
        steps=steps,
        minutes=minutes,
        **({"runs": 1, "batch": 2, "prompts": 2} if quick else {}),
    )
    catalogue = at_random(model or FLUX_SCHNELL.id) if random_weights else settings.catalogue
    token = settings.hf_token
    trial = Trial(
        catalogue,
        model or catalogue.default.id,
        device=settings.device,
        threads=settings.torch_threads,
        hub_token=None if token is None else token.get_secret_value(),
        profile=settings.gpu_profile,
    )
    if quick:
        plan = plan.only_first(trial.spec)
    trial.check(plan)
    found: list[Bench] = []

    def keep(known: Bench) -> None:
        found[:] = [known]
        if file is not None:
            file.write_text(known.model_dump_json(indent=2) + "\n", encoding="utf-8")

    try:
        with Console(stderr=True).status("Starting") as status:
            asyncio.run(trial.run(plan, lambda text: status.update(f"Measuring: {text}"), keep))
    finally:
        # Also where somebody has seen enough and interrupts it.
        if found and found[0].drawings:
            show(found[0], console)


def _listed(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]
