"""FLUX.1 as it is, of the real classes and wired as the real ones are, and so narrow that a processor draws with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from flux_core.gpu import shapes, sizes
from flux_core.gpu.shapes import Part, parameters
from flux_core.tiny.architecture import build_tokenizer

# 4 bits come in blocks of 64: every width is a multiple of that.
NARROW: Mapping[Part, Mapping[str, Any]] = {
    Part.TRANSFORMER: {
        "num_layers": 2,
        "num_single_layers": 1,
        "attention_head_dim": 32,
        "num_attention_heads": 2,
        "joint_attention_dim": 64,
        "pooled_projection_dim": 64,
        "axes_dims_rope": (8, 12, 12),
    },
    Part.T5: {"vocab_size": len(build_tokenizer(start=False)), "d_model": 64, "d_kv": 32, "d_ff": 128}
    | {"num_layers": 2, "num_heads": 2},
    Part.CLIP: {"vocab_size": len(build_tokenizer(start=True)), "hidden_size": 64, "intermediate_size": 128}
    | {"num_hidden_layers": 2, "num_attention_heads": 2, "projection_dim": 64},
    Part.VAE: {"block_out_channels": (8, 8, 16, 16), "layers_per_block": 1, "norm_num_groups": 4},
}


@contextmanager
def narrow(model: str = "flux-dev") -> Iterator[None]:
    """Build ``model`` narrow for a while, wherever random weights are built."""
    shape = {part: {**one, **NARROW[part]} for part, one in shapes.SHAPES[model].items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(shapes.SHAPES, model, shape)  # type: ignore[misc]
        _forget()
        yield
    _forget()


def _forget() -> None:
    parameters.cache_clear()
    sizes._by_shapes.cache_clear()


def draw(pipeline: Any) -> torch.Tensor:
    """Return the latent of a small picture in two steps: (1, tokens, channels), fp32."""
    with torch.inference_mode():
        latents = pipeline(
            "a red circle",
            width=128,
            height=128,
            num_inference_steps=2,
            generator=torch.Generator().manual_seed(1),
            max_sequence_length=32,
            output_type="latent",
        ).images
    assert isinstance(latents, torch.Tensor)
    return latents.float()
