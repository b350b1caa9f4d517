"""Draw requests with FLUX on one device."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from PIL import Image

from flux_core.errors import DrawingBroken, FluxError, OutOfMemory
from flux_core.generation import GenerationRequest
from flux_core.gpu.denoising import Audience, StepWatch
from flux_core.gpu.device import free_bytes, precision, weight_bytes
from flux_core.gpu.loading import HEADROOM, LoadedModel, load
from flux_core.gpu.pipelines import FAMILIES, Start, Words, encoded, illustrated, words_as_options
from flux_core.loras import Lora
from flux_core.models import MEGAPIXEL, ModelSpec
from flux_core.providers.base import Progress

BATCH_PIXELS = {"cpu": MEGAPIXEL}
BATCH_PIXELS_ELSEWHERE = 4 * MEGAPIXEL
"""Most pixels drawn at once: larger batches gain nothing and their memory grows."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One request among those drawn side by side."""

    request: GenerationRequest
    input_image: Image.Image | None
    progress: Progress
    input_mask: Image.Image | None = None

    @property
    def shape(self) -> tuple[object, ...]:
        """Return what all pieces of a drawing have in common."""
        request = self.request
        size = (request.model, request.width, request.height)
        return (*size, request.steps, request.guidance, request.strength, request.lora, self.input_image is None)

    @property
    def start(self) -> Start | None:
        """Return what the drawing starts from."""
        return None if self.input_image is None else Start(self.input_image, self.input_mask)


class Shot(NamedTuple):
    """One picture to draw: for which piece, from which seed."""

    piece: int
    seed: int


class Engine:
    """The models of one device. Not thread-safe: one call at a time, all from one thread."""

    def __init__(
        self, device: torch.device, *, hub_token: str | None = None, loras: Mapping[str, Lora] | None = None
    ) -> None:
        """Take a device; nothing is loaded yet. ``hub_token`` opens gated repositories of the hub.

        ``loras``: those that requests may name.
        """
        self.device = device
        self._loras: Mapping[str, Lora] = loras or {}
        self._hub_token = hub_token
        self._loaded: dict[str, LoadedModel] = {}

    @property
    def loaded(self) -> list[str]:
        """Return the ids of the models in memory, the longest unused first."""
        return list(self._loaded)

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

    def draw_together(self, spec: ModelSpec, pieces: Sequence[Piece]) -> list[list[Image.Image] | Exception]:
        """Draw requests of one shape (``flux_core.batching``) side by side; return the pictures of each, as ``draw``.

        In the place of a piece that ended by itself is what its ``progress.step`` raised, or its own DrawingBroken.
        Raises what ``draw`` does for what befell all.
        """
        audience = Audience([piece.progress for piece in pieces])
        try:
            model = self._model(spec)
            model.wardrobe.change(pieces[0].request.lora, self._loras)
            with torch.inference_mode():
                pictures = self._draw(model, pieces, audience)
            return [audience.left.get(place, drawn) for place, drawn in enumerate(pictures)]
        except torch.OutOfMemoryError as error:
            # The traceback holds on to the very tensors that did not fit.
            size = f"{pieces[0].request.width}×{pieces[0].request.height}"
            raise OutOfMemory(f"{spec.id} at {size}: {_first_line(error)}") from None
        except Exception as error:
            if len(audience.left) == len(pieces):
                return [audience.left[place] for place in range(len(pieces))]
            if isinstance(error, FluxError):
                raise
            raise DrawingBroken(f"{spec.id}: {type(error).__name__}: {_first_line(error)}") from error

    def unload(self) -> None:
        """Forget every model and give its memory back."""
        self._loaded.clear()
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _model(self, spec: ModelSpec) -> LoadedModel:
        base = None if spec.base is None else self._model(spec.base)
        model = self._loaded.pop(spec.id, None)
        if model is None or model.spec != spec or (base is not None and model.pipeline is not base.pipeline):
            if self._loaded and not self._room_for(spec):
                self.unload()
                self._loaded |= {} if base is None else {base.spec.id: base}
            model = self._load(spec, base)
        self._loaded[spec.id] = model
        return model

    def _load(self, spec: ModelSpec, base: LoadedModel | None) -> LoadedModel:
        try:
            return load(spec, self.device, self._hub_token, base=base)
        except torch.OutOfMemoryError:
            if not self._loaded:
                raise
        self.unload()
        return load(spec, self.device, self._hub_token, base=base)

    def _room_for(self, spec: ModelSpec) -> bool:
        wanted, free = weight_bytes(spec.source or "", precision(self.device)), free_bytes(self.device)
        return wanted is not None and free is not None and wanted * HEADROOM < free

    def _draw(self, model: LoadedModel, pieces: Sequence[Piece], audience: Audience) -> list[list[Image.Image]]:
        request = pieces[0].request
        if any(piece.shape != pieces[0].shape for piece in pieces):
            raise ValueError("Only pictures of one shape can be drawn side by side.")
        most = max(1, BATCH_PIXELS.get(self.device.type, BATCH_PIXELS_ELSEWHERE) // (request.width * request.height))
        shots = [Shot(place, seed) for place, piece in enumerate(pieces) for seed in piece.request.seeds]
        words: list[Words] = []
        while True:
            batches = [shots[at : at + most] for at in range(0, len(shots), most)]
            audience.step(0, request.steps_taken * len(batches))
            try:
                # One prompt at a time, so that company changes nothing of what a prompt says.
                words = words or [self._encoded(model, piece) for piece in pieces]
                drawn: list[list[Image.Image]] = [[] for _ in pieces]
                for number, batch in enumerate(batches):
                    wanted = [shot for shot in batch if shot.piece not in audience.left]
                    if wanted:
                        self._draw_batch(model, pieces, words, wanted, drawn, number, len(batches), audience)
                return drawn
            except torch.OutOfMemoryError:
                if most == 1:
                    raise
            most = max(1, min(most, len(shots)) // 2)
            torch.cuda.empty_cache()

    def _encoded(self, model: LoadedModel, piece: Piece) -> Words:
        words = encoded(model.pipeline, piece.request.prompt, model.spec.max_sequence_length)
        if model.prior is None or piece.input_image is None:
            return words
        return illustrated(words, model.prior, piece.input_image, self.device)

    def _draw_batch(
        self,
        model: LoadedModel,
        pieces: Sequence[Piece],
        words: Sequence[Words],
        shots: Sequence[Shot],
        drawn: list[list[Image.Image]],
        number: int,
        batches: int,
        audience: Audience,
    ) -> None:
        """Draw ``shots`` at once and add the pictures to ``drawn``, each to those of its piece."""
        request, start = pieces[0].request, pieces[0].start
        operation = model.spec.operation(picture=start is not None, mask=pieces[0].input_mask is not None)
        way, pipeline = FAMILIES[model.spec.architecture].ways[operation], model.pipelines[operation]
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
            "callback_on_step_end": StepWatch(
                audience,
                model.preview,
                latent_size=latent_size,
                unpack=model.latents.unpack,
                rows=rows,
                batch=number,
                batches=batches,
            ),
            "output_type": "latent",
            "return_dict": False,
        }
        starts = {owner: start for owner in rows if (start := pieces[owner].start) is not None}
        if way.one_start and len(rows) > 1:
            raise ValueError(f"{operation} is drawn for one request at a time.")
        options |= way.options(model.spec, request, [starts[owner] for owner in owners if owner in starts])
        latents = model.latents.unpack(pipeline(**options)[0], *latent_size)
        # One at a time: the decoder's memory does not grow with the batch, and a batch decodes as single runs do.
        for n, owner in enumerate(owners):
            if owner in audience.left:
                continue
            try:
                picture = self._decode(model, latents[n : n + 1])
                drawn[owner].append(way.finish(picture, starts.get(owner), request))
            except DrawingBroken as error:
                audience.leave(owner, error)

    def _decode(self, model: LoadedModel, latents: torch.Tensor) -> Image.Image:
        pipeline = model.pipeline
        pixels = pipeline.vae.decode(model.latents.for_decoder(latents), return_dict=False)[0]
        if not torch.isfinite(pixels).all():
            raise DrawingBroken(f"{pipeline.__class__.__name__} drew numbers that are no colours.")
        picture: Image.Image = pipeline.image_processor.postprocess(pixels, output_type="pil")[0]
        return picture


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
