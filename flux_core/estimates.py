"""How long drawing takes, learnt from finished jobs, and how long a job waits for it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from flux_core.generation import GenerationRequest
from flux_core.offers import Offer

MEMORY = 20
"""Jobs over which the running means forget: long enough to average noise, short enough to notice a new card."""


@dataclass(frozen=True, slots=True)
class Speed:
    """What one model was seen to take: a least-squares line, seconds over megapixel-steps, with old jobs forgotten."""

    samples: int = 0
    units: float = 0.0
    seconds: float = 0.0
    units_squared: float = 0.0
    units_seconds: float = 0.0

    def observed(self, units: float, seconds: float) -> Speed:
        """Return the speed after one more job of ``units`` megapixel-steps in ``seconds``."""
        part = max(1 / (self.samples + 1), 1 / MEMORY)

        def mean(old: float, new: float) -> float:
            return old + part * (new - old)

        return Speed(
            self.samples + 1,
            mean(self.units, units),
            mean(self.seconds, seconds),
            mean(self.units_squared, units * units),
            mean(self.units_seconds, units * seconds),
        )

    @property
    def line(self) -> tuple[float, float]:
        """Return (fixed seconds of a job, seconds per unit).

        Jobs of one size say nothing about the fixed part, and a line that falls or starts below zero is noise: then
        all time counts as drawing.
        """
        spread = self.units_squared - self.units**2
        if spread > 1e-6 * self.units_squared:
            slope = (self.units_seconds - self.units * self.seconds) / spread
            fixed = self.seconds - slope * self.units
            if slope > 0 and fixed >= 0:
                return fixed, slope
        return 0.0, self.seconds / self.units

    def seconds_for(self, units: float, jobs: int = 1) -> float:
        """Return the seconds that ``jobs`` jobs of ``units`` megapixel-steps together take one worker."""
        fixed, slope = self.line
        return jobs * fixed + units * slope


def units_of(request: GenerationRequest, crew: Collection[Mapping[str, Offer]]) -> float:
    """Return the work of ``request``, in megapixel-steps, in the mode in which those draw it who make these offers.

    Where they draw it in several, the mean: nobody knows yet who will. Where nobody offers it, in the mode it names.
    """
    efforts = [offers[request.model].effort(request.mode) for offers in crew if request.model in offers]
    return request.megapixel_steps * sum(efforts) / len(efforts) if efforts else request.work


def wait(ahead: float, busy: Sequence[float]) -> float:
    """Return the seconds until a worker is free, when ``ahead`` seconds of other work come first.

    ``busy`` has one entry per worker: the seconds it still needs for what it does now. Work ahead is poured over the
    workers as they become free.
    """
    level = 0.0
    ordered = sorted(busy)
    poured = 0.0
    for count, until in enumerate(ordered):
        room = (until - level) * count
        if poured + room > ahead:
            break
        poured += room
        level = until
    else:
        count = len(ordered)
    return level + (ahead - poured) / count if count else level
