"""How large a model is, before it is loaded: by the files of its folder, or by the published shapes."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from flux_core.gpu.memory import ModelSize
from flux_core.models import Architecture, ModelSpec

NUMBER = 2
"""Bytes of a number in published weights, ours included."""
KLEIN = ModelSize(
    transformer=3_875_544_576, t5=4_022_468_096, clip=0, vae=84_046_115, width=3072, largest_block=245_367_296
)
"""FLUX.2 [klein] 4B, whose words are read by Qwen3-4B alone: counted on the meta device, from config.json of the parts
in black-forest-labs/FLUX.2-klein-4B (tests/gpu/test_fitting.py)."""

EYES = 492_729_408
"""SigLIP's so400m-patch14-384, and what makes words of what it sees: counted on the meta device, from config.json of
the parts in black-forest-labs/FLUX.1-Redux-dev (tests/gpu/test_fitting.py)."""


def size_of(spec: ModelSpec) -> ModelSize:
    """Return how large the model at ``spec.source`` is; of a hub id nothing is downloaded: published shapes count.

    Those of FLUX.1 [dev] stand for every model made of it, those of FLUX.2 [klein] 4B for its own architecture. What
    the model that draws with its weights has besides is counted as well.
    """
    folder = Path(spec.source or "").expanduser()
    if spec.source and (folder / "model_index.json").is_file():
        size = _by_files(folder)
    else:
        size = KLEIN if spec.architecture is Architecture.KLEIN else _by_shapes()
    return size if spec.lends_to is None else replace(size, eyes=_eyes(Path(spec.lends_to).expanduser()))


def _eyes(folder: Path) -> int:
    if (folder / "model_index.json").is_file():
        return _numbers(folder / "image_encoder") + _numbers(folder / "image_embedder")
    return EYES


@cache
def _by_shapes() -> ModelSize:
    from flux_core.gpu.shapes import Part, parameters

    parts = parameters("flux-dev")
    return ModelSize(transformer=parts[Part.TRANSFORMER], t5=parts[Part.T5], clip=parts[Part.CLIP], vae=parts[Part.VAE])


@cache
def _by_files(folder: Path) -> ModelSize:
    transformer, vae = _config(folder / "transformer"), _config(folder / "vae")
    width = int(transformer.get("num_attention_heads", 24)) * int(transformer.get("attention_head_dim", 128))
    channels = vae.get("block_out_channels") or [256]
    encoders = [_numbers(folder / name) for name in ("text_encoder", "text_encoder_2")]
    return ModelSize(
        transformer=_numbers(folder / "transformer"),
        t5=max(encoders),
        clip=min(encoders),
        vae=_numbers(folder / "vae"),
        width=width,
        largest_block=36 * width**2,
        vae_channels=int(channels[min(1, len(channels) - 1)]),
    )


def _numbers(part: Path) -> int:
    return sum(file.stat().st_size for file in part.glob("*.safetensors")) // NUMBER


def _config(part: Path) -> dict[str, Any]:
    try:
        read = json.loads((part / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}
