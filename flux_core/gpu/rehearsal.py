"""Draw what nobody asked for, so that the first member waits for no compiler and no cold memory, whatever the mode."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from PIL import Image

from flux_core.errors import Cancelled, FluxError
from flux_core.generation import GenerationRequest, InputPicture
from flux_core.gpu.drawing import Flawed, Piece
from flux_core.gpu.engine import Engine
from flux_core.gpu.unwatched import Unwatched
from flux_core.models import Mode, ModelSpec, Operation

log = logging.getLogger(__name__)

ASPECTS = ("1:1", "16:9")
COUNTS = (1, 2)
"""What is compiled for one size or number alone is compiled anew for the next, for any from then on."""
STEPS = {Mode.TURBO: 2}
"""The step cache decides with the second step what it leaves out. In other modes, the first one has been everywhere."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """One drawing for nobody."""

    spec: ModelSpec
    request: GenerationRequest
    picture: Image.Image | None = None
    mask: Image.Image | None = None


def rehearsals(spec: ModelSpec, kind: str, modes: Sequence[Mode]) -> Iterator[Rehearsal]:
    """Yield what to draw on a device of ``kind``, in each of ``modes``.

    On a card, two sizes and two numbers of pictures, or one of each for a model that has to be given a picture.
    Elsewhere nothing is compiled: one step, and nothing of a model that has to be given a picture.
    """
    whole = Operation.TEXT_TO_IMAGE in spec.operations
    for mode in modes:
        if kind != "cuda":
            if whole:
                yield _rehearsal(spec, _smallest(spec), 1, mode)
            continue
        for count in COUNTS if whole else COUNTS[:1]:
            for aspect in ASPECTS if whole else ASPECTS[:1]:
                yield _rehearsal(spec, spec.size_for_aspect(aspect), count, mode)


def _rehearsal(spec: ModelSpec, size: tuple[int, int], count: int, mode: Mode) -> Rehearsal:
    given = Operation.TEXT_TO_IMAGE not in spec.operations
    masked = Operation.INPAINT in spec.operations and given
    place = InputPicture(key="", width=size[0], height=size[1])
    request = GenerationRequest(
        prompt="a circle",
        model=spec.id,
        width=size[0],
        height=size[1],
        steps=STEPS.get(mode, 1),
        guidance=None if spec.guidance is None else spec.guidance.default,
        seed=0,
        count=count,
        mode=mode,
        input_picture=place if given else None,
        input_mask=place if masked else None,
    )
    picture = Image.linear_gradient("L").resize(size).convert("RGB")
    return Rehearsal(spec, request, picture if given else None, picture.rotate(90) if masked else None)


def _smallest(spec: ModelSpec) -> tuple[int, int]:
    return (256, 256) if spec.native_short_side is None else spec.size_for_aspect("1:1")


class Programme:
    """What is still to be rehearsed with the models of one engine: first all in quality, then the other modes."""

    def __init__(self, engine: Engine) -> None:
        """Begin with nothing to rehearse."""
        self._engine = engine
        self._left: list[Rehearsal] = []

    def add(self, spec: ModelSpec) -> None:
        """Rehearse a model that is loaded."""
        self._left = [one for one in self._left if one.spec.id != spec.id]
        self._left += rehearsals(spec, self._engine.device.type, self._engine.profiles.rehearsed(spec))
        self._left.sort(key=lambda one: list(Mode).index(one.request.mode))

    @property
    def next(self) -> Rehearsal | None:
        """Return what comes next; None when all is rehearsed."""
        return self._left[0] if self._left else None

    def done(self, one: Rehearsal, *, works: bool) -> None:
        """Go on behind ``one``; where it does not work, without the others of its model and mode."""

        def of_its_kind(other: Rehearsal) -> bool:
            return (other.spec.id, other.request.mode) == (one.spec.id, one.request.mode)

        self._left = [other for other in self._left if other is not one and (works or not of_its_kind(other))]
        if works and not any(of_its_kind(other) for other in self._left):
            log.info("%s is rehearsed in %s", one.spec.id, one.request.mode)


def rehearse(engine: Engine, one: Rehearsal, *, is_wanted: Callable[[], bool]) -> bool | None:
    """Draw ``one``; say whether that works. None: ``is_wanted``, which is asked at every step, said no on the way.

    For the engine's thread. A mode that needs weights of its own is left alone where they find no room beside what is
    loaded: else whoever comes first would wait for that to be loaded once more. A model that loads and does not draw is
    found out here, in the log; its first job tells its member.
    """
    spec, mode = one.spec, one.request.mode
    if not is_wanted():
        return None
    if not engine.models.fits_beside(spec, mode):
        log.info("%s is not rehearsed in %s: no memory for it beside what is loaded", spec.id, mode)
        return False
    began = time.monotonic()
    try:
        piece = Piece(one.request, one.picture, _Watched(is_wanted), one.mask)
        outcomes = engine.develop(engine.denoise(spec, [piece]))
    except FluxError as error:
        log.warning("%s was loaded and does not draw in %s: %s", spec.id, mode, error)
        return False
    for outcome in outcomes:
        if isinstance(outcome, Cancelled):
            return None
        if isinstance(outcome, FluxError) and not isinstance(outcome, Flawed):  # one step makes no picture
            log.warning("%s was loaded and does not draw in %s: %s", spec.id, mode, outcome)
            return False
    size = f"{one.request.width}×{one.request.height}"
    log.debug("%s in %s, %d of %s: %.1f s", spec.id, mode, one.request.count, size, time.monotonic() - began)
    return True


@dataclass(frozen=True, slots=True)
class _Watched(Unwatched):
    """Lets a drawing go on as long as it is wanted."""

    is_wanted: Callable[[], bool]

    def step(self, done: int, total: int) -> None:
        if self.cancelled:
            raise Cancelled("Somebody waits for a real drawing.")

    @property
    def cancelled(self) -> bool:
        return not self.is_wanted()
