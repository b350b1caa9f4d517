"""Load a FLUX model from a diffusers folder or the Hugging Face hub, once for both operations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import FluxImg2ImgPipeline, FluxPipeline
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

from flux_core.errors import ModelUnavailable
from flux_core.gpu.device import facts_of
from flux_core.gpu.fitting import fit, loading_options
from flux_core.gpu.previews import LatentPreview
from flux_core.gpu.profile import Profile, ladder
from flux_core.gpu.quiet import silence
from flux_core.gpu.sizes import size_of
from flux_core.models import ModelSpec

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
PARTS = frozenset({"transformer", "text_encoder", "text_encoder_2", "vae"})


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """One set of weights, ready to draw in both ways."""

    spec: ModelSpec
    text_to_image: FluxPipeline
    image_to_image: FluxImg2ImgPipeline
    preview: LatentPreview
    profile: Profile

    @property
    def held_as(self) -> str:
        """Return the name under which an engine holds it."""
        return held_as(self.spec, self.profile)


def held_as(spec: ModelSpec, profile: Profile) -> str:
    """Return the name under which an engine holds ``spec``: a model may be there in all bits and in fewer, too."""
    return spec.id if profile.transformer.exact else f"{spec.id} in {profile.transformer}"


def load(
    spec: ModelSpec, device: torch.device, hub_token: str | None = None, profile: Profile | None = None
) -> LoadedModel:
    """Load ``spec.source`` onto ``device`` as ``profile`` says, or else as suits the machine best.

    A folder is loaded without any network; ``hub_token`` opens gated repositories of the hub. Raises ModelUnavailable
    with what the operator should do; running out of memory is torch's own error.
    """
    if spec.source is None:
        raise ModelUnavailable(f"No place is configured for {spec.id}.", model=spec.id)
    silence()
    folder = Path(spec.source).expanduser()
    if not folder.is_dir() and not HUB_ID.fullmatch(spec.source):
        raise ModelUnavailable(
            f"{spec.id}: there is no folder {spec.source}; {_setting(spec)} names it.", model=spec.id
        )
    profile = profile or ladder(facts_of(device), size_of(spec))[0]
    try:
        pipeline = FluxPipeline.from_pretrained(
            str(folder) if folder.is_dir() else spec.source,
            **loading_options(profile, PARTS),
            local_files_only=folder.is_dir(),
            token=hub_token,
        )
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        # diffusers, transformers and the hub each raise errors of their own, often wrapped in plain OSError.
        raise ModelUnavailable(explain(error, spec, local=folder.is_dir()), model=spec.id) from error
    fit(pipeline, profile, device)
    pipeline.set_progress_bar_config(disable=True)
    # Built from the very same modules: a second operation costs no memory. `from_pipe` may cast them.
    variation = FluxImg2ImgPipeline(**pipeline.components)
    variation.set_progress_bar_config(disable=True)
    return LoadedModel(spec, pipeline, variation, LatentPreview.fit(pipeline.vae, device), profile)


def explain(error: BaseException, spec: ModelSpec, *, local: bool) -> str:
    """Say what an operator should do about a model that did not load."""
    source, kinds = spec.source, {type(cause) for cause in _causes(error)}
    if GatedRepoError in kinds:
        return (
            f"{spec.id}: {source} is gated. Accept its licence at https://huggingface.co/{source} "
            "and give a token of that account in HF_TOKEN."
        )
    if RepositoryNotFoundError in kinds:
        return f"{spec.id}: there is neither a folder nor a hub repository {source}; check {_setting(spec)}."
    if any(issubclass(kind, (LocalEntryNotFoundError, ConnectionError, TimeoutError)) for kind in kinds):
        return f"{spec.id}: the hub cannot be reached and {source} was not downloaded before; check the network."
    first = str(error).strip().split("\n", 1)[0]
    if local:
        return f"{spec.id}: {source} is no complete diffusers folder ({first}); check {_setting(spec)}."
    return f"{spec.id}: {source} cannot be loaded from the hub ({first})."


def _setting(spec: ModelSpec) -> str:
    return f"{spec.id.replace('-', '_').upper()}_PATH"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
