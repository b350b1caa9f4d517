"""LoRAs: small files that teach a model a style. The operator lists them, a member picks one and its weight. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from flux_core.errors import LoraNotForModel, NotANumber, OutOfRange, UnknownLora

LOW, HIGH, USUAL = 0.0, 1.5, 1.0
"""Bounds of a weight, and the one taken where none is given: beyond 1.5, hardly one still draws pictures."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,39}")
_DECIMAL = re.compile(r"\+?(?:[0-9]{1,3}(?:[.,][0-9]{0,6})?|[.,][0-9]{1,6})")


@dataclass(frozen=True, slots=True)
class Lora:
    """One that the operator has listed."""

    name: str
    source: str
    """A .safetensors file, a folder with one, or a repository of the hub with one, or with the file behind it."""
    model: str | None = None
    """The only model it is for; None: any, and one that it does not fit refuses it when it draws."""

    def fits(self, model: str) -> bool:
        """Say whether it may be asked for with ``model``."""
        return self.model in (None, model)


Known = Mapping[str, Collection[str]]
"""Name of a LoRA → ids of the models with which it may be asked for."""


class LoraUse(BaseModel):
    """One in a request."""

    model_config = ConfigDict(frozen=True)

    name: str
    weight: float = USUAL
    """How strongly it speaks; with 0, the picture is that without it."""

    def __str__(self) -> str:
        """Return it as a member types it."""
        return f"{self.name}:{self.weight:g}"


def listed(text: str, models: tuple[str, ...]) -> dict[str, Lora]:
    """Read ``name=path-or-hub-id[:model]``, separated by commas; ``models`` are the ids that may be named.

    Raises ValueError with what is wrong, without the text: it may hold paths.
    """
    found: dict[str, Lora] = {}
    for number, part in enumerate((one.strip() for one in text.split(",") if one.strip()), 1):
        name, equals, source = (piece.strip() for piece in part.partition("="))
        name = name.lower()
        if not equals or not source or _NAME.fullmatch(name) is None:
            raise ValueError(
                f"entry {number} is not written as name=path-or-hub-id; a name has letters, digits, dots and dashes"
            )
        if name in found:
            raise ValueError(f"entry {number} repeats a name")
        place, colon, model = source.rpartition(":")
        # A colon can be part of a path (C:\loras); only a model of ours behind it means a model.
        if colon and model.strip() in models:
            found[name] = Lora(name, place.strip(), model.strip())
        elif colon and model.strip().startswith("flux-"):
            raise ValueError(f"entry {number} is for a model that flux-bot does not know; it knows {', '.join(models)}")
        else:
            found[name] = Lora(name, source)
    return found


def chosen(text: str | None, known: Known, model: str) -> LoraUse | None:
    """Read what a member typed, ``name`` or ``name:0.8``, for a picture by ``model``; None where nothing was typed.

    Raises UnknownLora, LoraNotForModel, NotANumber or OutOfRange.
    """
    if text is None or not text.strip():
        return None
    name, colon, typed = (piece.strip() for piece in text.strip().lower().partition(":"))
    allow(name, known, model)
    return LoraUse(name=name, weight=_weight(typed) if colon else USUAL)


def allow(name: str, known: Known, model: str) -> None:
    """Raise UnknownLora or LoraNotForModel for a LoRA that nobody may ask for, or not with ``model``."""
    models = known.get(name)
    if not models:
        raise UnknownLora(value=name[:40], known=[one for one, fitting in known.items() if model in fitting])
    if model not in models:
        raise LoraNotForModel(lora=name, model=model, fits="`, `".join(models))


def _weight(typed: str) -> float:
    if _DECIMAL.fullmatch(typed) is None:
        try:
            minus = float(typed.replace(",", ".").translate(str.maketrans("−–—", "---")))
        except ValueError:
            minus = math.nan
        if not math.isfinite(minus):
            raise NotANumber(field="lora", value=typed[:40])
        raise OutOfRange(field="lora", value=minus, low=LOW, high=HIGH)
    value = float(typed.replace(",", "."))
    if not LOW <= value <= HIGH:
        raise OutOfRange(field="lora", value=value, low=LOW, high=HIGH)
    return value
