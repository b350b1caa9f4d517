"""Load a FLUX model from a diffusers folder or the Hugging Face hub, once for all its operations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from flux_core.downloads import explain, folder_of
from flux_core.errors import ModelUnavailable
from flux_core.gpu.adapters import Wardrobe
from flux_core.gpu.decoding import Decoder
from flux_core.gpu.device import facts_of, free_bytes
from flux_core.gpu.fitting import fit, loading_options, number_type
from flux_core.gpu.latents import LatentSpace
from flux_core.gpu.pipelines import FAMILIES, pipelines_of
from flux_core.gpu.previews import LatentPreview
from flux_core.gpu.profile import RESERVE, Encoders, Offload, Profile, Weights, ladder
from flux_core.gpu.quiet import silence
from flux_core.gpu.shapes import SHAPES, build_pipeline
from flux_core.gpu.shortage import collect, first_line, ran_out
from flux_core.gpu.sizes import size_of
from flux_core.models import ModelSpec, Operation

RANDOM = "random"
"""A source for which the real shapes are filled with random numbers: they draw nothing, and as fast as real ones."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """One set of weights, ready to draw in all its ways."""

    spec: ModelSpec
    pipeline: Any
    """What encodes the words, and holds transformer, VAE and scheduler."""
    pipelines: Mapping[Operation, Any]
    """What draws each operation, of the same modules."""
    preview: LatentPreview
    latents: LatentSpace
    wardrobe: Wardrobe
    """What it wears; pipelines of the same modules wear it, too."""
    profile: Profile
    decoder: Decoder
    """The only one of its VAE: whoever decodes waits for its turn, since one of them may compute in other numbers."""
    prior: Any | None = None
    """What looks at a picture for the words, where the weights of another model draw."""

    @property
    def text_to_image(self) -> Any:
        """Return the pipeline that was loaded."""
        return self.pipeline

    @property
    def image_to_image(self) -> Any:
        """Return the pipeline that starts from pictures; raises KeyError where there is none."""
        return self.pipelines[Operation.IMAGE_TO_IMAGE]

    @property
    def held_as(self) -> str:
        """Return the name under which an engine holds it."""
        return held_as(self.spec, self.profile)


def held_as(spec: ModelSpec, profile: Profile) -> str:
    """Return the name under which an engine holds ``spec``: a model may be there in all bits and in fewer, too."""
    return spec.id if profile.transformer.exact else f"{spec.id} in {profile.transformer}"


def load(
    spec: ModelSpec,
    device: torch.device,
    hub_token: str | None = None,
    profile: Profile | None = None,
    *,
    base: LoadedModel | None = None,
) -> LoadedModel:
    """Load ``spec.source`` onto ``device`` as ``profile`` says, or else as suits the machine best.

    ``base``: the model whose weights draw for one that has none of its own (``spec.base``), already loaded.

    A folder is loaded without any network; ``hub_token`` opens gated repositories of the hub. Raises ModelUnavailable
    with what the operator should do; running out of memory is torch's own error.
    """
    if spec.source is None:
        raise ModelUnavailable(f"No place is configured for {spec.id}.", model=spec.id)
    silence()
    if spec.source == RANDOM:
        profile = profile or ladder(facts_of(device), size_of(spec))[0]
        return _furnished(spec, _at_random(spec, profile, device), profile, device)
    folder = folder_of(spec, hub_token)
    loads = FAMILIES[spec.architecture].loads
    _check_kind(spec, folder, loads.__name__)
    profile = profile or ladder(facts_of(device), size_of(spec.base or spec))[0]
    if spec.drawn_by is not None and base is None:
        raise ModelUnavailable(f"{spec.id} is drawn with the weights of {spec.drawn_by}.", model=spec.id)
    try:
        if base is not None:
            pipeline = loads.from_pretrained(str(folder), dtype=number_type(profile), local_files_only=True)
        else:
            pipeline = _read(loads, folder, profile, device)
    except Exception as error:
        if ran_out(error):
            raise
        # diffusers, transformers and the hub each raise errors of their own, often wrapped in plain OSError.
        raise ModelUnavailable(explain(error, spec, local=True), model=spec.id) from error
    pipeline.set_progress_bar_config(disable=True)
    if base is not None:
        pipeline.to(device)
        ways = dict.fromkeys(FAMILIES[spec.architecture].ways, base.pipelines[Operation.TEXT_TO_IMAGE])
        return replace(base, spec=spec, pipelines=ways, prior=pipeline)
    return _furnished(spec, pipeline, profile, device)


def _furnished(spec: ModelSpec, pipeline: Any, profile: Profile, device: torch.device) -> LoadedModel:
    try:
        fit(pipeline, profile, device)
    except Exception as error:
        if ran_out(error):
            raise
        # What quantizes, attends or moves parts about is optional, and of a version of its own.
        raise ModelUnavailable(
            f"{spec.id} cannot be held as profile {profile.name} has it ({type(error).__name__}: {first_line(error)}); "
            "GPU_PROFILE names another.",
            model=spec.id,
        ) from error
    latents, wardrobe = LatentSpace(pipeline.vae), Wardrobe(pipeline, spec.id, compiled=profile.compiled)
    preview = LatentPreview.fit(pipeline.vae, device, latents)
    ways = pipelines_of(spec.architecture, pipeline)
    return LoadedModel(spec, pipeline, ways, preview, latents, wardrobe, profile, Decoder(pipeline))


def _read(loads: Any, folder: Path, profile: Profile, device: torch.device) -> Any:
    """Load a pipeline from ``folder``. What a card makes 4 bits of, to stay in main memory, comes there one by one."""
    options = loading_options(profile, _parts(folder)) | {"local_files_only": True}
    if profile.offload is not Offload.MODEL or profile.transformer is not Weights.NF4:
        return loads.from_pretrained(str(folder), **options)
    words = loads.from_pretrained(str(folder), transformer=None, **options).to("cpu")
    collect(device)
    rest = {name: part for name, part in words.components.items() if part is not None}
    return loads.from_pretrained(str(folder), **rest, **options)


def _at_random(spec: ModelSpec, profile: Profile, device: torch.device) -> Any:
    """Build ``spec`` in its real shapes; raises ModelUnavailable for one whose shapes are not known, or for 4 bits."""
    if spec.id not in SHAPES:
        raise ModelUnavailable(f"Only {' and '.join(SHAPES)} have random weights, not {spec.id}.", model=spec.id)
    if profile.transformer is Weights.NF4 or profile.encoders is Encoders.NF4:
        raise ModelUnavailable(
            f"Random weights cannot be held in 4 bits, as profile {profile.name} has them; GPU_PROFILE names another.",
            model=spec.id,
        )
    whole = profile.offload is Offload.NONE and profile.encoders is Encoders.RESIDENT
    if profile.transformer is Weights.FP8:
        # All of it in 16 bits first, where the card has room for that.
        size, free = size_of(spec), free_bytes(device)
        whole &= free is None or size.weights(Weights.BF16, Weights.BF16, Weights.BF16) < (1 - RESERVE) * free
    pipeline = build_pipeline(spec.id, device if whole else "cpu", number_type(profile))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _parts(folder: Path) -> frozenset[str]:
    """Return the names of a pipeline's parts: each has a folder."""
    return frozenset(part.name for part in folder.iterdir() if part.is_dir())


def _check_kind(spec: ModelSpec, folder: Path, wanted: str) -> None:
    """Refuse the weights of another architecture: many of them load, and then draw nonsense. Raises ModelUnavailable.

    A folder without the file that names its pipeline is left to diffusers, which says what is missing.
    """
    try:
        kind = json.loads((folder / "model_index.json").read_text(encoding="utf-8")).get("_class_name", wanted)
    except (OSError, ValueError):
        return
    if kind != wanted:
        raise ModelUnavailable(
            f"{spec.id}: {spec.source} holds weights for {kind}, not for {wanted}; check {spec.setting}.",
            model=spec.id,
        )
