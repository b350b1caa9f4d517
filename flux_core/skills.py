"""What a worker of our own must have to draw a job, as one word: its model, and the LoRA it names. Pure.

Jobs wait under that word and workers claim by it, so one that lacks a LoRA never meets a job that asks for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flux_core.generation import GenerationRequest
from flux_core.loras import Known
from flux_core.offers import Offer

BETWEEN = " "
"""In no model's id, and in no LoRA's name."""


def skill(model: str, lora: str | None = None) -> str:
    """Return what it takes to draw with ``model``, and with ``lora`` where one is named."""
    return model if lora is None else f"{model}{BETWEEN}{lora}"


def skill_for(request: GenerationRequest) -> str:
    """Return what it takes to draw ``request``."""
    return skill(request.model, None if request.lora is None else request.lora.name)


def model_of(needed: str) -> str:
    """Return the model of a skill."""
    return needed.partition(BETWEEN)[0]


def draws(offers: Mapping[str, Offer], needed: str) -> bool:
    """Say whether who makes ``offers`` has a skill."""
    model, _, lora = needed.partition(BETWEEN)
    offer = offers.get(model)
    return offer is not None and (not lora or lora in offer.loras)


def skills_of(offers: Mapping[str, Offer]) -> list[str]:
    """Return all skills of who makes ``offers``: each model by itself, then with each of its LoRAs."""
    return [*offers, *(skill(model, lora) for model, offer in offers.items() for lora in offer.loras)]


def loras_at_hand(listed: Known, crew: Iterable[Mapping[str, Offer]]) -> dict[str, set[str]]:
    """Return the LoRAs that can be drawn now, with their models: what those who make the offers in ``crew`` have.

    ``listed``: what holds of models that none of them draws at the moment.
    """
    found: dict[str, set[str]] = {}
    drawn: set[str] = set()
    for offers in crew:
        drawn.update(offers)
        for model, offer in offers.items():
            for lora in offer.loras:
                found.setdefault(lora, set()).add(model)
    for lora, models in listed.items():
        if expected := set(models) - drawn:
            found.setdefault(lora, set()).update(expected)
    return found


def of_use(skills: Iterable[str], waited_for: Iterable[str]) -> list[str]:
    """Return the models among ``skills``, and those with a LoRA for which a job waits.

    A claim looks into the line of each of them, and there may be hundreds of LoRAs for which nothing waits.
    """
    wanted = set(waited_for)
    return [one for one in skills if BETWEEN not in one or one in wanted]
