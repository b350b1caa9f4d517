"""The parts of FLUX.1 in their real sizes, without their weights: for memory plans, and to measure speed on any card.

The numbers are those of the public configurations: ``config.json`` of each part in the repositories
black-forest-labs/FLUX.1-schnell and FLUX.1-dev. What does not stand here is the class's own default.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from functools import cache
from types import MappingProxyType
from typing import Any

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from flux_core.tiny.architecture import build_tokenizer

CLIP_TOKENS = 77


class Part(StrEnum):
    """A network of a pipeline, by the name of the pipeline's component."""

    TRANSFORMER = "transformer"
    T5 = "text_encoder_2"
    CLIP = "text_encoder"
    VAE = "vae"


_ALL: Mapping[Part, Mapping[str, Any]] = {
    Part.TRANSFORMER: {
        "num_layers": 19,
        "num_single_layers": 38,
        "attention_head_dim": 128,
        "num_attention_heads": 24,
        "in_channels": 64,
        "joint_attention_dim": 4096,
        "pooled_projection_dim": 768,
    },
    Part.T5: {
        "vocab_size": 32128,
        "d_model": 4096,
        "d_kv": 64,
        "d_ff": 10240,
        "num_layers": 24,
        "num_heads": 64,
        "feed_forward_proj": "gated-gelu",
        "is_encoder_decoder": False,
        "use_cache": False,
    },
    Part.CLIP: {
        "vocab_size": 49408,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "max_position_embeddings": CLIP_TOKENS,
        "projection_dim": 768,
    },
    Part.VAE: {
        "in_channels": 3,
        "out_channels": 3,
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "block_out_channels": (128, 256, 512, 512),
        "layers_per_block": 2,
        "latent_channels": 16,
        "norm_num_groups": 32,
        "sample_size": 1024,
        "scaling_factor": 0.3611,
        "shift_factor": 0.1159,
        "use_quant_conv": False,
        "use_post_quant_conv": False,
        "force_upcast": True,
    },
}

SHAPES: Mapping[str, Mapping[Part, Mapping[str, Any]]] = {
    "flux-schnell": {**_ALL, Part.TRANSFORMER: {**_ALL[Part.TRANSFORMER], "guidance_embeds": False}},
    "flux-dev": {**_ALL, Part.TRANSFORMER: {**_ALL[Part.TRANSFORMER], "guidance_embeds": True}},
}
"""Model id → what each part is built with."""

_SCHEDULERS: Mapping[str, Mapping[str, Any]] = {
    "flux-schnell": {"shift": 1.0, "use_dynamic_shifting": False},
    "flux-dev": {"shift": 3.0, "use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15},
}


def _clip(shape: Mapping[str, Any]) -> CLIPTextModel:
    # Our own tokenizer stands in for CLIP's, whose vocabulary is not shipped; its `</s>` has this id.
    return CLIPTextModel(CLIPTextConfig(**shape, eos_token_id=_tokenizer(CLIP_TOKENS).eos_token_id))


_BUILDERS: Mapping[Part, Callable[[Mapping[str, Any]], Any]] = {
    Part.TRANSFORMER: lambda shape: FluxTransformer2DModel(**shape),
    Part.T5: lambda shape: T5EncoderModel(T5Config(**shape)),
    Part.CLIP: _clip,
    Part.VAE: lambda shape: AutoencoderKL(**shape),
}


def build(
    part: Part, model: str, device: torch.device | str = "meta", dtype: torch.dtype = torch.bfloat16, *, seed: int = 0
) -> Any:
    """Build one part of ``model`` (a key of SHAPES) with random weights drawn from ``seed``, ready to infer.

    On the "meta" device nothing is allocated. The weights are made on ``device`` in ``dtype``: no second copy.
    """
    forked = [torch.device(device)] if torch.device(device).type == "cuda" else []
    with torch.random.fork_rng(devices=forked), torch.device(device), _numbers(dtype):
        torch.manual_seed(seed)
        built = _BUILDERS[part](SHAPES[model][part])
    return built.eval()


def build_pipeline(
    model: str, device: torch.device | str, dtype: torch.dtype = torch.bfloat16, *, seed: int = 0
) -> FluxPipeline:
    """Build the whole of ``model`` with random weights on ``device``; it takes every prompt, by our own tokenizer.

    Its pictures show nothing; a step takes as long as one of the real weights.
    """
    parts = {part.value: build(part, model, device, dtype, seed=seed) for part in Part}
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, **_SCHEDULERS[model]),
        tokenizer=_tokenizer(CLIP_TOKENS),
        tokenizer_2=_tokenizer(512),
        **parts,
    )


@cache
def parameters(model: str) -> Mapping[Part, int]:
    """Return how many numbers each part of ``model`` holds; shared ones count once. Counted on the meta device."""
    return MappingProxyType({part: sum(one.numel() for one in build(part, model).parameters()) for part in Part})


def _tokenizer(length: int) -> Any:
    tokenizer = build_tokenizer(start=length == CLIP_TOKENS)
    tokenizer.model_max_length = length
    return tokenizer


@contextmanager
def _numbers(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
