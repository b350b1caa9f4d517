"""Which waiting jobs are drawn together with the one whose turn it is: where that was seen to be faster. Pure.

Pictures of one model, size, number of steps, guidance and mode can go through the network side by side. What that gains
depends on the device and on the size of the pictures, so it is measured: a drawing's *pace* is its seconds per
megapixel-step, kept by the number of pictures drawn at once. Jobs go together when that is faster by a tenth at least,
and when those who wait gain more time in sum than they lose: the first of them waits for the pictures of the others.

Company is looked for among the next `WINDOW` jobs in line only, in the order of the line. The job whose turn it is is
always among those drawn, so nobody waits for more drawings than there were jobs before theirs; each may be longer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flux_core.generation import GenerationRequest
from flux_core.loras import LoraUse
from flux_core.models import Mode

WINDOW = 16
"""How far along the line company is looked for: some people's turns, not a whole evening's."""
GAIN = 0.1
"""Least part of the time that drawing together saves, to be worth it: less than this drowns in what a machine's speed
varies by itself."""
TRIALS = 3
"""Drawings after which a pace is believed."""
LOOK_AGAIN = 50
"""Of this many drawings, one tries a number of pictures anew that is not worth it so far: cards and drivers change."""
MEMORY = 20
"""Drawings over which the running mean forgets, as ``flux_core.estimates`` does."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What pictures must have in common to be drawn side by side."""

    model: str
    width: int
    height: int
    steps: int
    guidance: float | None
    mode: Mode = Mode.QUALITY
    lora: LoraUse | None = None

    @property
    def paced_as(self) -> str:
        """Return the name by which paces are kept: the model, and the mode where it is not quality."""
        return self.model if self.mode is Mode.QUALITY else f"{self.model} {self.mode}"

    @property
    def scale(self) -> int:
        """Return the size class by which paces are kept: half octaves of the pixels of a picture."""
        return scale_of(self.width * self.height)


def scale_of(pixels: int) -> int:
    """Return the half octave of ``pixels``."""
    return round(2 * math.log2(pixels))


def shape_of(request: GenerationRequest) -> Shape | None:
    """Return a request's shape; None for one that is drawn alone: from a picture, or in turbo.

    Which steps turbo leaves out is decided for all pictures at once, so company would change them.
    """
    if request.input_picture is not None or request.mode is Mode.TURBO:
        return None
    return Shape(
        request.model, request.width, request.height, request.steps, request.guidance, request.mode, request.lora
    )


@dataclass(frozen=True, slots=True)
class Pace:
    """What drawings of one number of pictures at once were seen to take."""

    samples: int
    seconds: float
    """Per megapixel-step: a running mean with old drawings forgotten."""

    def observed(self, seconds: float) -> Pace:
        """Return the pace after one more drawing with ``seconds`` per megapixel-step."""
        part = max(1 / (self.samples + 1), 1 / MEMORY)
        return Pace(self.samples + 1, self.seconds + part * (seconds - self.seconds))


UNSEEN = Pace(0, 0.0)


@dataclass(frozen=True, slots=True)
class InLine:
    """One of the jobs next in line."""

    pictures: int
    alike: bool
    """Whether it has the shape of the job whose turn it is, and may be drawn with it."""


def company(own: int, line: Sequence[InLine], paces: Mapping[int, Pace], most: int) -> list[int]:
    """Return which jobs of ``line`` to draw together with the one whose turn it is, by their place in it, in order.

    ``own``: its pictures; ``paces``: by number of pictures drawn at once, for this device, model and size; ``most``:
    pictures drawn at once at most. Alike jobs are taken in their turn: none is left standing for one behind it.
    """
    best: list[int] = []
    trial: list[int] = []
    saved = 0.0
    total, members = own, list[int]()
    for place, job in enumerate(line[:WINDOW]):
        if not job.alike:
            continue
        total += job.pictures
        if total > most:
            break
        members.append(place)
        if not all(_believed(paces, alone) for alone in {own, job.pictures}):
            break
        if _is_due(total, paces):
            trial = trial or list(members)
        elif (now := _saved(own, line[:WINDOW], members, paces)) > saved:
            best, saved = list(members), now
    return trial or best


def _believed(paces: Mapping[int, Pace], pictures: int) -> bool:
    return paces.get(pictures, UNSEEN).samples >= TRIALS


def _is_due(pictures: int, paces: Mapping[int, Pace]) -> bool:
    """Say whether this number of pictures at once is to be tried, because too little is known of it."""
    seen = paces.get(pictures, UNSEEN).samples
    return seen < TRIALS or seen * LOOK_AGAIN < sum(pace.samples for pace in paces.values())


def _saved(own: int, line: Sequence[InLine], members: Sequence[int], paces: Mapping[int, Pace]) -> float:
    """Return the waiting that all in ``line`` and the one whose turn it is save in sum; 0 when it is hardly faster.

    In seconds, for a picture of one megapixel-step. What is drawn between members when they go one by one is not
    counted in their favour, so the truth is at least this good.
    """

    def alone(pictures: int) -> float:
        return pictures * paces[pictures].seconds

    pictures = own + sum(line[place].pictures for place in members)
    together = pictures * paces[pictures].seconds
    gone = alone(own)  # the time at which the members so far would have been drawn, one by one
    if together > (1 - GAIN) * (gone + sum(alone(line[place].pictures) for place in members)):
        return 0.0
    saved = gone - together
    for place, job in enumerate(line):
        if place in members:
            gone += alone(job.pictures)
        saved += gone - together
    return saved
