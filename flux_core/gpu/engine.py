"""Draw requests with FLUX on one device, in stages: words, steps, pixels.

The steps of a drawing belong to one thread, since they use the scheduler that all pipelines of a model share. Words
and pixels need none of it: other threads may read the words of the next drawing, and decode the last one, meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from PIL import Image

from flux_core.errors import DrawingBroken, FluxError, OutOfMemory
from flux_core.generation import GenerationRequest
from flux_core.gpu.decoding import DECODE_BYTES_PER_PIXEL
from flux_core.gpu.denoising import Audience, StepWatch
from flux_core.gpu.descent import Descent
from flux_core.gpu.developing import Darkroom, is_the_same, needs_mending
from flux_core.gpu.device import answers, facts_of, free_bytes
from flux_core.gpu.drawing import Flawed, Latent, Outcome, Piece, Shot, Sketch
from flux_core.gpu.idle import IdleClock
from flux_core.gpu.loading import LoadedModel
from flux_core.gpu.lora_files import LoraFiles
from flux_core.gpu.modes import stepping
from flux_core.gpu.pipelines import Words, illustrated, words_as_options
from flux_core.gpu.profile import Encoders, Offload
from flux_core.gpu.shelf import Shelf
from flux_core.gpu.shortage import collect, first_line, ran_out
from flux_core.gpu.words import Reader
from flux_core.loras import Lora
from flux_core.metrics import definitions as m
from flux_core.models import MEGAPIXEL, Mode, ModelSpec
from flux_core.providers.base import Progress
from flux_core.worker.watchdog import LOAD_SECONDS, StepPace, Watchdog

log = logging.getLogger(__name__)

BATCH_PIXELS = {"cpu": MEGAPIXEL}
BATCH_PIXELS_ELSEWHERE = 4 * MEGAPIXEL
"""Most pixels drawn at once: larger batches gain nothing and their memory grows."""
READING_BYTES = 1 << 30
"""What must be free on a card for words to be read while it draws."""
STALL_SECONDS = 60.0


class Engine:
    """The models of one device. ``read`` and ``develop`` may be called from any thread, all else from one alone."""

    def __init__(
        self,
        device: torch.device,
        *,
        hub_token: str | None = None,
        watchdog: Watchdog | None = None,
        stall_seconds: float = STALL_SECONDS,
        profile: str = "auto",
        loras: Mapping[str, Lora] | None = None,
    ) -> None:
        """Take a device; nothing is loaded yet. ``hub_token`` opens gated repositories of the hub.

        ``loras``: those that requests may name.

        ``profile``: GPU_PROFILE; raises ConfigurationError for one that this device cannot do. ``watchdog`` is told
        what is done; a step may always take ``stall_seconds``.
        """
        self.device = device
        self.profiles = Descent(facts_of(device), profile)
        self.loras = LoraFiles(loras or {}, hub_token)
        self._watchdog = watchdog or Watchdog()
        self._pace = StepPace(stall_seconds)
        self._idle = IdleClock(device)
        self.models = Shelf(device, self.profiles, self._watchdog, hub_token)
        self._darkroom = Darkroom(device, self._watchdog, self._pace)

    @property
    def loaded(self) -> list[str]:
        """Return what is in memory (``held_as``), the longest unused first."""
        return list(self.models.loaded)

    # A whole drawing

    def draw(
        self,
        spec: ModelSpec,
        request: GenerationRequest,
        input_image: Image.Image | None,
        progress: Progress,
        input_mask: Image.Image | None = None,
    ) -> list[Image.Image]:
        """Draw all pictures of ``request``: RGB, ``request.width`` × ``request.height`` pixels.

        The same request gives the same bytes on the same machine; picture i of a batch is the single picture of
        seed + i, give or take one level in 8 bits. Raises ModelUnavailable, OutOfMemory, DrawingBroken, or what
        ``progress.step`` raised.
        """
        (outcome,) = self.draw_together(spec, [Piece(request, input_image, progress, input_mask)])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def draw_together(self, spec: ModelSpec, pieces: Sequence[Piece]) -> list[Outcome]:
        """Draw requests of one shape (``flux_core.batching``) side by side; return the pictures of each, as ``draw``.

        In the place of a piece that ended by itself is what its ``progress.step`` raised, or its own DrawingBroken.
        Raises what ``draw`` does for what befell all.
        """
        sketch = self.denoise(spec, pieces)
        return self.mend(sketch, self.develop(sketch))

    # Its stages

    def load(self, spec: ModelSpec) -> None:
        """Have a model in memory, as lean as it takes; raises ModelUnavailable and OutOfMemory."""
        while True:
            try:
                self.models.get(spec)
                return
            except Exception as error:
                if not ran_out(error):
                    raise
                said = first_line(error)
            if not self.models.make_room(spec, Mode.QUALITY, said):
                raise OutOfMemory(f"{spec.id} does not fit into memory: {said}")

    def read(self, spec: ModelSpec, prompt: str, mode: Mode = Mode.QUALITY) -> None:
        """Read words beforehand, from any thread; nothing where that has to wait for the drawing itself."""
        known = self.models.known(spec, mode)
        if known is not None and self._has_room(known[0], READING_BYTES):
            self._words(*known, prompt)

    def denoise(self, spec: ModelSpec, pieces: Sequence[Piece], *, since: float | None = None) -> Sketch:
        """Take all steps of a drawing; ``since``: when it was asked for, on the monotonic clock.

        Raises what ``draw_together`` does. Who left on the way is noted in the sketch, also where that was everybody.
        """
        audience = Audience([piece.progress for piece in pieces])
        while True:
            try:
                return self._attempt(spec, pieces, audience, since)
            except FluxError:
                if len(audience.left) < len(pieces):
                    raise
                return Sketch(spec, pieces, audience)
            except Exception as error:
                if len(audience.left) == len(pieces):
                    return Sketch(spec, pieces, audience)
                said = first_line(error)
                if not ran_out(error):
                    if not answers(self.device):
                        self._watchdog.alarm(f"The card answers no more ({said})")
                    raise DrawingBroken(f"{spec.id}: {type(error).__name__}: {said}") from error
            # Here the error is gone, and its traceback with the very tensors that did not fit.
            if not self.models.make_room(spec, pieces[0].request.mode, said):
                size = f"{pieces[0].request.width}×{pieces[0].request.height}"
                raise OutOfMemory(f"{spec.id} at {size}: {said}")
            since = None

    def _attempt(self, spec: ModelSpec, pieces: Sequence[Piece], audience: Audience, since: float | None) -> Sketch:
        audience.look()
        if self.profiles.climb(spec):
            log.info("%s is held as it was before memory ran out", spec.id)
        model = self.models.get(spec, pieces[0].request.mode)
        audience.look()
        with self._watchdog.over(f"putting a LoRA on {spec.id}", LOAD_SECONDS):
            model.wardrobe.change(pieces[0].request.lora, self.loras)
        with torch.inference_mode():
            return self._sketch(model, pieces, audience, self._denoise(model, pieces, audience, since))

    def develop(self, sketch: Sketch) -> list[Outcome]:
        """Decode the pictures of a drawing, from any thread where ``sketch.beside`` says so.

        Returns what ``draw_together`` does, but for the pieces that ``mend`` has to look after.
        """
        return self._darkroom.develop(sketch)

    def mend(self, sketch: Sketch, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Draw once more, in the safest way there is, what came out Flawed or did not fit into memory."""
        return [
            self._mended(sketch.spec, piece, outcome) if needs_mending(outcome) else outcome
            for piece, outcome in zip(sketch.pieces, outcomes, strict=True)
        ]

    def _mended(self, spec: ModelSpec, piece: Piece, outcome: Outcome) -> Outcome:
        blank = outcome.pictures if isinstance(outcome, Flawed) else None
        short = isinstance(outcome, OutOfMemory)
        if short and not self.models.make_room(spec, piece.request.mode, str(outcome)):
            return outcome
        log.warning("%s It is drawn once more", outcome)
        m.REDRAWN.labels(spec.id, "memory" if short else "broken" if blank is None else "blank").inc()
        if not short:
            piece = replace(piece, request=piece.request.model_copy(update={"mode": Mode.QUALITY}))
        try:
            (again,) = self._darkroom.develop(self.denoise(spec, [piece]), careful=not short)
        except FluxError as error:
            return error
        if not isinstance(again, Flawed):
            return again
        if blank is not None and again.pictures is not None and is_the_same(blank, again.pictures):
            return [piece.finished(spec, picture) for picture in again.pictures]  # so it is what was asked for
        return DrawingBroken(f"{again} It was drawn twice.")

    def unload(self) -> None:
        """Forget every model and give its memory back."""
        self.models.clear()

    # Memory

    def _has_room(self, model: LoadedModel, wanted: int) -> bool:
        """Whether another stage of a drawing may go on beside the steps of the next: all is in place, and room left."""
        if self.device.type != "cuda":
            return self.device.type == "cpu"
        if model.profile.offload is not Offload.NONE or model.profile.encoders is Encoders.STREAMED:
            return False  # parts come onto the card in turn, and go
        unused = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        return (free_bytes(self.device) or 0) + unused > wanted

    # Steps

    def _denoise(
        self, model: LoadedModel, pieces: Sequence[Piece], audience: Audience, since: float | None
    ) -> list[Latent]:
        request = pieces[0].request
        if any(piece.shape != pieces[0].shape for piece in pieces):
            raise ValueError("Only pictures of one shape can be drawn side by side.")
        most = max(1, BATCH_PIXELS.get(self.device.type, BATCH_PIXELS_ELSEWHERE) // (request.width * request.height))
        shots = [Shot(place, seed) for place, piece in enumerate(pieces) for seed in piece.request.seeds]
        audience.step(0, request.steps_taken * -(-len(shots) // most))
        words = []
        for piece in pieces:
            said = self._words(model, self.models.reader(model), piece.request.prompt)
            if model.prior is not None and piece.input_image is not None:
                said = self._illustrated(model, said, piece.input_image)
            words.append(said)
            audience.look()
        with self._idle.over(since):
            while True:
                try:
                    return self._draw_batches(model, pieces, words, shots, most, audience)
                except RuntimeError as error:
                    if min(most, len(shots)) == 1 or not ran_out(error):
                        raise
                most = max(1, min(most, len(shots)) // 2)
                collect(self.device)
                audience.step(0, request.steps_taken * -(-len(shots) // most))

    def _draw_batches(
        self,
        model: LoadedModel,
        pieces: Sequence[Piece],
        words: Sequence[Words],
        shots: Sequence[Shot],
        most: int,
        audience: Audience,
    ) -> list[Latent]:
        batches = [shots[at : at + most] for at in range(0, len(shots), most)]
        drawn: list[Latent] = []
        for number, batch in enumerate(batches):
            wanted = [shot for shot in batch if audience.wants(shot.piece)]
            if wanted:
                drawn += self._draw_batch(model, pieces, words, wanted, number, len(batches), audience)
        return drawn

    def _words(self, model: LoadedModel, reader: Reader, prompt: str) -> Words:
        if reader.knows(prompt):  # which says nothing of how long reading takes
            return reader.read(prompt)
        return self._paced(model, "reading a prompt", lambda: reader.read(prompt))

    def _illustrated(self, model: LoadedModel, words: Words, picture: Image.Image) -> Words:
        return self._paced(model, "looking at a picture", lambda: illustrated(words, model.prior, picture, self.device))

    def _paced(self, model: LoadedModel, what: str, work: Callable[[], Words]) -> Words:
        # What took no time on the card may take long where it is brought there in parts.
        kind = (what, model.spec.id, model.profile.weights)
        with self._watchdog.over(f"{what} for {model.spec.id}", self._pace.bound(kind)) as guarded:
            words = work()
            self._pace.took(kind, guarded.seconds)
        return words

    def _draw_batch(
        self,
        model: LoadedModel,
        pieces: Sequence[Piece],
        words: Sequence[Words],
        shots: Sequence[Shot],
        number: int,
        batches: int,
        audience: Audience,
    ) -> list[Latent]:
        """Take all steps of ``shots`` at once."""
        request = pieces[0].request
        operation, way = pieces[0].way(model.spec)
        pipeline = model.pipelines[operation]
        scale = pipeline.vae_scale_factor
        latent_size = (request.height // scale, request.width // scale)
        owners = [shot.piece for shot in shots]
        rows = {owner: slice(owners.index(owner), owners.index(owner) + owners.count(owner)) for owner in owners}
        options: dict[str, Any] = {
            **words_as_options([words[owner] for owner in owners]),
            "width": request.width,
            "height": request.height,
            "num_inference_steps": request.steps,
            "guidance_scale": 1.0 if request.guidance is None else request.guidance,
            # Noise comes from the CPU, so that a seed means the same picture on every kind of device.
            "generator": [torch.Generator("cpu").manual_seed(shot.seed) for shot in shots],
            "output_type": "latent",
            "return_dict": False,
        }
        if way.one_start and len(rows) > 1:
            raise ValueError(f"{operation} is drawn for one request at a time.")
        starts = [start for owner in owners if (start := pieces[owner].start) is not None]
        options |= way.options(model.spec, request, starts)
        # Whatever makes the compiler begin anew, or the steps much longer: their first one may take long again.
        held = (model.profile.weights, request.mode, request.lora is not None)
        kind = (model.spec.id, operation, held, request.width, request.height, len(shots))
        with self._watchdog.over(f"a step of {model.spec.id}", self._pace.bound(kind)) as guarded:

            def on_step() -> None:
                self._pace.took(kind, guarded.seconds)
                guarded.renew(self._pace.bound(kind))

            options["callback_on_step_end"] = StepWatch(
                audience,
                model.preview,
                latent_size=latent_size,
                unpack=model.latents.unpack,
                rows=rows,
                batch=number,
                batches=batches,
                on_step=on_step,
            )
            profile = self.profiles.standing(model.spec, request.mode)
            with stepping(pipeline.transformer, model.spec, profile):
                latents = model.latents.unpack(pipeline(**options)[0], *latent_size)
        return [Latent(owner, latents[n : n + 1]) for n, owner in enumerate(owners)]

    def _sketch(
        self, model: LoadedModel, pieces: Sequence[Piece], audience: Audience, latents: Sequence[Latent]
    ) -> Sketch:
        ready = None
        if self.device.type == "cuda":
            ready = torch.cuda.Event()  # type: ignore[no-untyped-call]
            ready.record(torch.cuda.current_stream(self.device))
        request = pieces[0].request
        beside = self._has_room(model, DECODE_BYTES_PER_PIXEL * request.width * request.height)
        mode = self.profiles.standing(model.spec, request.mode).mode
        return Sketch(model.spec, pieces, audience, latents, model.decoder, ready, beside, mode)
