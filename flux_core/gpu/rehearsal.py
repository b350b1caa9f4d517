"""Draw what nobody asked for, so that the first member waits for no compiler and no cold memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from flux_core.errors import Cancelled, FluxError
from flux_core.generation import GenerationRequest
from flux_core.gpu.drawing import Piece
from flux_core.gpu.engine import Engine
from flux_core.gpu.unwatched import Unwatched
from flux_core.models import Mode, ModelSpec, Operation

log = logging.getLogger(__name__)

ASPECTS = ("1:1", "16:9")
COUNTS = (1, 2)
"""What is compiled for one size or number alone is compiled anew for the next, for any from then on."""


def rehearsals(spec: ModelSpec, kind: str) -> Iterator[GenerationRequest]:
    """Yield what to draw on a device of ``kind``: on a card, two sizes and two numbers of pictures; else one step."""
    if Operation.TEXT_TO_IMAGE not in spec.operations:
        return
    sizes = [spec.size_for_aspect(aspect) for aspect in ASPECTS] if kind == "cuda" else [_smallest(spec)]
    for count in COUNTS if kind == "cuda" else COUNTS[:1]:
        for width, height in sizes:
            yield GenerationRequest(
                prompt="a circle",
                model=spec.id,
                width=width,
                height=height,
                steps=1,
                guidance=None if spec.guidance is None else spec.guidance.default,
                seed=0,
                count=count,
                mode=Mode.QUALITY,
            )


def _smallest(spec: ModelSpec) -> tuple[int, int]:
    return (256, 256) if spec.native_short_side is None else spec.size_for_aspect("1:1")


def rehearse(engine: Engine, spec: ModelSpec, *, is_wanted: Callable[[], bool]) -> None:
    """Draw each of ``rehearsals`` until ``is_wanted`` says no, which is asked at every step. For the engine's thread.

    A model that loads and does not draw is found out here, in the log; its first job tells its member.
    """
    for request in rehearsals(spec, engine.device.type):
        if not is_wanted():
            return
        try:
            engine.develop(engine.denoise(spec, [Piece(request, None, _Rehearsal(is_wanted))]))
        except FluxError as error:
            log.warning("%s was loaded and does not draw: %s", spec.id, error)
            return


@dataclass(frozen=True, slots=True)
class _Rehearsal(Unwatched):
    """Lets a drawing go on as long as it is wanted."""

    is_wanted: Callable[[], bool]

    def step(self, done: int, total: int) -> None:
        if self.cancelled:
            raise Cancelled("Somebody waits for a real drawing.")

    @property
    def cancelled(self) -> bool:
        return not self.is_wanted()
