"""Decode drawings, beside the next one where there is room, and look whether pictures came of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from PIL import Image, ImageChops

from flux_core.errors import DrawingBroken, OutOfMemory
from flux_core.gpu.decoding import extremes, is_blank
from flux_core.gpu.drawing import Flawed, Latent, Outcome, Sketch
from flux_core.gpu.shortage import collect, first_line, ran_out
from flux_core.worker.watchdog import StepPace, Watchdog

NEAR = 2
"""Levels in 8 bits by which a plain colour may differ between two precisions."""


class Darkroom:
    """Decodes what an engine has drawn. One drawing at a time, from any thread."""

    def __init__(self, device: torch.device, watchdog: Watchdog, pace: StepPace) -> None:
        """Decode on ``device``, and tell ``watchdog`` of it."""
        self._device = device
        self._watchdog = watchdog
        self._pace = pace
        self._stream: torch.cuda.Stream | None = None

    def develop(self, sketch: Sketch, *, careful: bool = False) -> list[Outcome]:
        """Return the pictures of each piece, or why it left, or Flawed or OutOfMemory.

        ``careful``: decode in fp32.
        """
        audience, troubles = sketch.audience, dict[int, Exception]()
        drawn: list[list[Image.Image]] = [[] for _ in sketch.pieces]
        with torch.inference_mode(), self._after(sketch):
            for latent in sketch.latents:
                if latent.piece in troubles or not audience.wants(latent.piece):
                    continue
                try:
                    drawn[latent.piece].append(self._decoded(sketch, latent, careful))
                except (DrawingBroken, OutOfMemory) as error:
                    troubles[latent.piece] = error
        for piece, pictures in enumerate(drawn):
            if piece not in troubles and any(map(is_blank, pictures)):
                troubles[piece] = Flawed(f"{sketch.spec.id} drew a picture of a single colour.", pictures)
        finished = [
            [piece.finished(sketch.spec, one) for one in drawn[place]] for place, piece in enumerate(sketch.pieces)
        ]
        return [audience.left.get(place) or troubles.get(place) or finished[place] for place in range(len(drawn))]

    def _decoded(self, sketch: Sketch, latent: Latent, careful: bool) -> Image.Image:
        assert sketch.decoder is not None
        kind = ("pixels", sketch.spec.id, latent.values.shape, careful)
        for last in (False, True):
            try:
                with self._watchdog.over(f"decoding a picture of {sketch.spec.id}", self._pace.bound(kind)) as guarded:
                    picture = sketch.decoder.decode(latent.values, careful=careful)
                    self._pace.took(kind, guarded.seconds)
                return picture
            except ArithmeticError as error:
                raise Flawed(f"{sketch.spec.id}: {error}") from None
            except RuntimeError as error:
                said = first_line(error)
                if not ran_out(error):
                    raise DrawingBroken(f"{sketch.spec.id}: {type(error).__name__}: {said}") from error
            if not last:
                collect(self._device)
        raise OutOfMemory(f"{sketch.spec.id}: the picture cannot be decoded: {said}")

    @contextmanager
    def _after(self, sketch: Sketch) -> Iterator[None]:
        """Wait, on a card, until the steps are done, on a stream of our own: the next drawing has the other one."""
        if sketch.ready is None:
            yield
            return
        if self._stream is None:
            self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        with torch.cuda.stream(self._stream):
            self._stream.wait_event(sketch.ready)
            for latent in sketch.latents:
                # Made on the engine's stream: its memory must not be given away there while we read it here.
                latent.values.record_stream(self._stream)
            yield
            self._stream.synchronize()


def needs_mending(outcome: Outcome) -> bool:
    """Say whether a drawing may become better when it is drawn once more."""
    return isinstance(outcome, Flawed | OutOfMemory)


def is_the_same(first: list[Image.Image], second: list[Image.Image]) -> bool:
    """Say whether two drawings of plain colours show the same, so that it seems to be what was asked for."""
    return all(
        is_blank(one) == is_blank(other)
        and (not is_blank(one) or all(high <= NEAR for _, high in extremes(ImageChops.difference(one, other))))
        for one, other in zip(first, second, strict=True)
    )
