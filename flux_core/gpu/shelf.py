"""The models of one device that are in memory: loaded when they are needed, let go when their memory is."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import torch

from flux_core.downloads import folder_of
from flux_core.gpu.descent import Descent
from flux_core.gpu.device import free_bytes
from flux_core.gpu.loading import RANDOM, LoadedModel, held_as, load
from flux_core.gpu.profile import Profile
from flux_core.gpu.shortage import collect
from flux_core.gpu.words import Reader
from flux_core.metrics import definitions as m
from flux_core.models import Mode, ModelSpec
from flux_core.worker.watchdog import LOAD_SECONDS, Watchdog

log = logging.getLogger(__name__)


class Shelf:
    """Models side by side while memory allows. Only ``known`` and ``fetch`` may be called from any thread."""

    def __init__(self, device: torch.device, profiles: Descent, watchdog: Watchdog, hub_token: str | None) -> None:
        """Hold nothing yet; ``profiles`` say how each model is held. ``hub_token`` opens gated repositories."""
        self._device = device
        self._profiles = profiles
        self._watchdog = watchdog
        self._hub_token = hub_token
        self.loaded: dict[str, LoadedModel] = {}
        """By the name under which each is held (``held_as``), the longest unused first."""
        self._readers: dict[str, Reader] = {}

    def fetch(self, spec: ModelSpec) -> None:
        """Bring the weights of a model from the hub to the disk, from any thread; raises ModelUnavailable."""
        for one in (spec, spec.base):
            if one is not None and one.source not in (None, RANDOM):
                folder_of(one, self._hub_token)

    def get(self, spec: ModelSpec, mode: Mode = Mode.QUALITY) -> LoadedModel:
        """Return the model as it is drawn in ``mode``: there may be one of all bits and one of fewer.

        Raises ModelUnavailable; running out of memory is torch's own error.
        """
        base = None if spec.base is None else self.get(spec.base, mode)
        profile = self._profiles.standing(spec, mode)
        held = held_as(spec, profile)
        model = self.loaded.pop(held, None)
        moved = model is not None and base is not None and model.pipeline is not base.pipeline
        if model is None or model.spec != spec or model.profile.weights != profile.weights or moved:
            self._readers.pop(held, None)
            if model is not None:  # its memory is wanted, and others may draw with its weights
                self._forget([name for name, one in self.loaded.items() if one.pipeline is model.pipeline])
                model = None
                collect(self._device)  # a compiled network refers to itself
            if base is None and self.loaded and not self._room_for(profile):
                self.clear()
            if spec.source not in (None, RANDOM):
                folder_of(spec, self._hub_token)  # which may take an hour, and is no loading that hangs
            with self._watchdog.over(f"loading {spec.id}", LOAD_SECONDS):
                log.info("%s is loaded as %s: %s", spec.id, profile.name, profile.why)
                model = load(spec, self._device, self._hub_token, profile, base=base)
            self._readers[held] = Reader(model)
        self.loaded[held] = model
        return model

    def reader(self, model: LoadedModel) -> Reader:
        """Return what reads words for a model that is here."""
        return self._readers[model.held_as]

    def known(self, spec: ModelSpec, mode: Mode) -> tuple[LoadedModel, Reader] | None:
        """Return the model for ``mode``, and what reads words for it; None where it is not in memory."""
        held = held_as(spec, self._profiles.standing(spec, mode))
        model, reader = self.loaded.get(held), self._readers.get(held)
        return None if model is None or reader is None else (model, reader)

    def fits_beside(self, spec: ModelSpec, mode: Mode) -> bool:
        """Say whether a model is here for ``mode``, or can be without another one having to go."""
        profile = self._profiles.standing(spec, mode)
        return held_as(spec.base or spec, profile) in self.loaded or self._room_for(profile)

    def make_room(self, spec: ModelSpec, mode: Mode, said: str) -> bool:
        """Let go of other models, or else hold this one in a leaner way; False: neither helps.

        ``said``: how memory ran out.
        """
        standing = self._profiles.standing(spec, mode)
        # A model without weights of its own draws with those of its base: without it, nothing would be won.
        wanted = {held_as(one, standing) for one in (spec, spec.base) if one is not None}
        if self.loaded.keys() - wanted:
            self.loaded = {name: model for name, model in self.loaded.items() if name in wanted}
            self._readers = {name: reader for name, reader in self._readers.items() if name in wanted}
            log.warning("%s ran out of memory as %s (%s): the other models go", spec.id, standing.name, said)
        elif (below := self._profiles.fall(spec, mode)) is not None:
            self.loaded.clear()
            self._readers.clear()
            log.warning(
                "%s ran out of memory as %s (%s): from now on it is %s", spec.id, standing.name, said, below.name
            )
            m.LEANER.labels(spec.id, below.name).inc()
        else:
            collect(self._device)
            return False
        collect(self._device)
        return True

    def _forget(self, names: Iterable[str]) -> None:
        for name in names:
            del self.loaded[name]
            self._readers.pop(name, None)

    def clear(self) -> None:
        """Forget every model and give its memory back."""
        self.loaded.clear()
        self._readers.clear()
        collect(self._device)

    def _room_for(self, profile: Profile) -> bool:
        """Whether another model fits beside those here; also into main memory: who takes too much of that is killed."""
        free, main = free_bytes(self._device), free_bytes(torch.device("cpu"))
        on_card = free is not None and profile.card_bytes < free
        return on_card and (not profile.main_bytes or main is None or profile.main_bytes < main)
