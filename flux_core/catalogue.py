"""What one studio offers of the FLUX family."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from flux_core.errors import ConfigurationError, UnknownModel
from flux_core.family import FAMILY
from flux_core.models import ModelSpec, Operation

if TYPE_CHECKING:
    from flux_core.loras import Lora


class Catalogue:
    """The models one studio offers: those whose weights it has, and those that hosted providers draw for it."""

    def __init__(
        self,
        weights: Mapping[str, str],
        *,
        hosted: Collection[str] = (),
        default: str | None = None,
        non_commercial: bool = True,
        loras: Mapping[str, Lora] | None = None,
    ) -> None:
        """Offer the models in ``weights`` (id → folder or hub id) and those in ``hosted`` (ids).

        ``loras``: those that the operator has listed. Without ``non_commercial``, models whose licence forbids
        commercial use are left out.
        Raises ConfigurationError for an id outside the family, for weights that nobody has published, for no model at
        all, or for a default that is not offered.
        """
        family = {spec.id: spec for spec in FAMILY}
        self.loras: Mapping[str, Lora] = {} if loras is None else loras
        if unknown := [id for id in (*weights, *hosted) if id not in family]:
            raise ConfigurationError(f"Unknown model {unknown[0]!r}; flux-bot knows {', '.join(family)}.")
        if closed := [id for id in weights if not family[id].weights]:
            raise ConfigurationError(f"{closed[0]} has no published weights; only hosted providers draw it.")
        configured = {
            id: replace(spec, source=weights.get(id)) for id, spec in family.items() if id in weights or id in hosted
        }
        for id, spec in configured.items():
            if id in weights and spec.drawn_by is not None:
                if spec.drawn_by not in weights:
                    base = family[spec.drawn_by]
                    raise ConfigurationError(
                        f"{spec.setting} is set, but {spec.title} is drawn with the weights of {base.title}: "
                        f"set {base.setting} as well."
                    )
                configured[spec.drawn_by] = replace(configured[spec.drawn_by], lends_to=weights[id])
                configured[id] = replace(spec, base=configured[spec.drawn_by])
        self._specs = {id: spec for id, spec in configured.items() if non_commercial or spec.commercial}
        if default is not None and default in configured.keys() - self._specs.keys():
            raise ConfigurationError(
                f"DEFAULT_MODEL is {default!r}, whose licence is non-commercial, and NON_COMMERCIAL_MODELS is false. "
                "Name another model, or allow such models."
            )
        if configured and not self._specs:
            raise ConfigurationError(
                f"Of the configured models ({', '.join(configured)}) none may be used commercially, and "
                "NON_COMMERCIAL_MODELS is false. Configure another one, or allow such models."
            )
        if not self._specs:
            raise ConfigurationError(
                "No model is configured. Set FLUX_TINY_PATH, FLUX_SCHNELL_PATH or FLUX_DEV_PATH, or a provider's key."
            )
        if default is not None and default not in self._specs:
            raise ConfigurationError(f"DEFAULT_MODEL is {default!r}, but only {', '.join(self._specs)} is offered.")
        drawing = [id for id, spec in self._specs.items() if Operation.TEXT_TO_IMAGE in spec.operations]
        if not drawing:
            raise ConfigurationError(
                f"{', '.join(self._specs)} cannot draw from words alone. Configure one that can, such as flux-tiny."
            )
        if default is not None and default not in drawing:
            raise ConfigurationError(
                f"DEFAULT_MODEL is {default!r}, which draws nothing from words alone. Name {' or '.join(drawing)}."
            )
        self.default = self._specs[default or drawing[0]]

    @property
    def known_loras(self) -> dict[str, list[str]]:
        """Return the models with which each LoRA of the list may be asked for: those with weights, which it fits."""
        return {
            name: [one.id for one in self if one.weights and lora.fits(one.id)] for name, lora in self.loras.items()
        }

    def __iter__(self) -> Iterator[ModelSpec]:
        return iter(self._specs.values())

    def __contains__(self, id: str) -> bool:
        return id in self._specs

    def __getitem__(self, id: str) -> ModelSpec:
        """Return the offered model; raises UnknownModel."""
        try:
            return self._specs[id]
        except KeyError:
            raise UnknownModel(value=id, known=list(self._specs)) from None
