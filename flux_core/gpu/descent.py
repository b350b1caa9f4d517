"""On which rung each model stands: the first that fits, and a lower one after it ran out of memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from flux_core.gpu.profile import Facts, Profile, check, ladder, modes, why_not
from flux_core.gpu.sizes import size_of
from flux_core.models import Mode, ModelSpec

AGAIN_SECONDS = 3600.0
"""So long after it ran out of memory a model is held as before again: a game may have had the card, or one large
picture been too much. Each time that does not last, it takes twice as long, up to MOST_SECONDS."""
MOST_SECONDS = 86400.0


class Descent:
    """The profiles of one device. May be asked from any thread."""

    def __init__(self, facts: Facts, named: str = "auto", *, clock: Callable[[], float] = time.monotonic) -> None:
        """Take what is known of the machine, and GPU_PROFILE; raises ConfigurationError for one that it cannot do."""
        check(named, facts)
        self._facts = facts
        self._named = named
        self._standing: dict[tuple[str, Mode], Profile] = {}
        self._fallen: dict[str, Profile] = {}
        self._clock = clock
        self._fell_at: dict[str, float] = {}
        self._climbs: dict[str, int] = {}
        # Who looks for the first time must not undo a fall meanwhile.
        self._lock = threading.RLock()

    def standing(self, spec: ModelSpec, mode: Mode = Mode.QUALITY) -> Profile:
        """Return how ``spec`` is drawn when ``mode`` is asked for; raises ConfigurationError as ``ladder`` does."""
        spec = spec.base or spec
        key = spec.id, mode
        with self._lock:
            if key not in self._standing:
                wanted = mode if mode in self.modes(spec) else Mode.QUALITY
                self._standing[key] = ladder(self._facts, size_of(spec), wanted, self._named)[0]
            return self._standing[key]

    def fall(self, spec: ModelSpec, mode: Mode) -> Profile | None:
        """Go one rung down, and return it; None where there is none.

        Modes that share the weights go along: else the two would take turns to load them.
        """
        spec = spec.base or spec  # whose weights draw
        with self._lock:
            before = self.standing(spec, mode)
            if before.leaner is None:
                return None
            for one in Mode:
                same = self.standing(spec, one)
                if same.weights == before.weights and same.leaner is not None:
                    self._standing[spec.id, one] = same.leaner
            self._fallen[spec.id] = before.leaner
            self._fell_at[spec.id] = self._clock()
            return before.leaner

    def climb(self, spec: ModelSpec) -> bool:
        """Go back to the first rung, where ``spec`` fell long enough ago (AGAIN_SECONDS); say whether it did."""
        spec = spec.base or spec
        with self._lock:
            climbs = self._climbs.get(spec.id, 0)
            wait = min(MOST_SECONDS, AGAIN_SECONDS * 2.0 ** min(climbs, 32))
            if spec.id not in self._fallen or self._clock() - self._fell_at[spec.id] < wait:
                return False
            del self._fallen[spec.id]
            self._climbs[spec.id] = climbs + 1
            for mode in Mode:
                self._standing.pop((spec.id, mode), None)
            return True

    def fallen(self, spec: ModelSpec) -> Profile | None:
        """Return the profile to which ``spec`` fell last; None where it stands on its first rung."""
        return self._fallen.get((spec.base or spec).id)

    def modes(self, spec: ModelSpec) -> tuple[Mode, ...]:
        """Return in which modes ``spec`` is drawn here."""
        found = modes(self._facts, size_of(spec.base or spec), self._named)
        return tuple(mode for mode in found if mode is not Mode.TURBO or spec.step_cache is not None)

    def rehearsed(self, spec: ModelSpec) -> tuple[Mode, ...]:
        """Return in which modes ``spec`` is rehearsed: without a card nothing is compiled, the weights are shared."""
        return self.modes(spec) if self._facts.kind == "cuda" else (Mode.QUALITY,)

    def why(self, spec: ModelSpec, wanted: Mode) -> str | None:
        """Return why ``wanted`` is drawn in another mode, as a part of a sentence; None where it is not."""
        if self.standing(spec, wanted).mode is wanted:
            return None
        if wanted is Mode.TURBO and spec.step_cache is None:
            return "this model takes too few steps to leave any out"
        return why_not(wanted, self._facts, size_of(spec.base or spec))
