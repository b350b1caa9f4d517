"""Make a loaded pipeline what its profile says: held in fewer bits, brought in parts, tiled, compiled.

What the libraries cannot do together is left apart by the ladder (``flux_core.gpu.rungs``): torchao's numbers do not
move between memories, so what is held in FP8 stays on the card.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
from diffusers import PipelineQuantizationConfig
from diffusers.hooks import apply_group_offloading
from diffusers.models.attention_dispatch import AttentionBackendName, attention_backend, dispatch_attention_fn
from torch import nn

from flux_core.gpu.float8 import round_linears
from flux_core.gpu.memory import TILE_SIDE, Weights
from flux_core.gpu.profile import Encoders, Offload, Profile
from flux_core.gpu.shortage import first_line, ran_out

log = logging.getLogger(__name__)

BLOCKS = ("transformer_blocks.", "single_transformer_blocks.")
"""Where the transformer's many numbers are; the few around them stay in 16 bits."""
NF4 = {
    "load_in_4bit": True,
    "bnb_4bit_quant_type": "nf4",
    "bnb_4bit_use_double_quant": True,
    "bnb_4bit_compute_dtype": torch.bfloat16,
}
"""Of bitsandbytes: the size of ``Weights.NF4`` is that of these."""
MOST_GRAPHS = 64
"""Most that one kind of block is compiled to: for one size, any size and several pictures, each in 16 and 8 bits, for
models whose blocks differ, and with a LoRA. After torch's own limit, 8, nothing would be compiled any more."""


def number_type(profile: Profile) -> torch.dtype:
    """Return the numbers that a profile computes in. Never fp16: FLUX overflows it and draws black."""
    return torch.float32 if profile.transformer in (Weights.FP32, Weights.FP8_EMULATED) else torch.bfloat16


def loading_options(profile: Profile, parts: frozenset[str]) -> dict[str, Any]:
    """Return what ``from_pretrained`` of a pipeline with ``parts`` is told: numbers, and what is loaded in 4 bits."""
    options: dict[str, Any] = {"dtype": number_type(profile)}
    small = []
    if profile.transformer is Weights.NF4:
        small.append("transformer")
    if profile.encoders is Encoders.NF4:
        small.append(large_encoder(parts))
    if small:
        options["quantization_config"] = PipelineQuantizationConfig(
            quant_backend="bitsandbytes_4bit", quant_kwargs=NF4, components_to_quantize=small
        )
    return options


def large_encoder(parts: frozenset[str]) -> str:
    """Return which component of a pipeline reads the words in full: T5 where there are two."""
    return "text_encoder_2" if "text_encoder_2" in parts else "text_encoder"


def fit(pipeline: Any, profile: Profile, device: torch.device) -> None:
    """Hold and place ``pipeline``, loaded with ``loading_options``, on ``device`` as ``profile`` says.

    Running out of memory is torch's own error.
    """
    _shrink(pipeline.transformer, profile.transformer, device)
    _place(pipeline, profile, device)
    if profile.vae_tiling:
        tile(pipeline.vae)
    if device.type == "cuda":
        pipeline.vae.to(memory_format=torch.channels_last)
    if profile.attention != "native":
        attend(pipeline.transformer, profile, device)
    if profile.compiled:
        compile_blocks(pipeline.transformer)


def tile(vae: Any) -> None:
    """Let a VAE work in tiles of TILE_SIDE pixels; its own would be as large as the pictures that FLUX draws."""
    vae.enable_tiling()
    if hasattr(vae, "tile_sample_min_size"):
        shrinks = vae.tile_sample_min_size // vae.tile_latent_min_size
        vae.tile_sample_min_size = min(vae.tile_sample_min_size, TILE_SIDE)
        vae.tile_latent_min_size = vae.tile_sample_min_size // shrinks


def attend(transformer: Any, profile: Profile, device: torch.device) -> None:
    """Let ``transformer`` attend as ``profile`` says, or as torch does of itself where that does not work here.

    Whether it does is tried: what a package or torch has kernels for depends on card, driver and version.
    """
    name, config = profile.attention, transformer.config
    try:
        # Meanwhile only: what diffusers sets here would else become the way of every other network of the process.
        with attention_backend(AttentionBackendName.NATIVE):
            transformer.set_attention_backend(name)
        heads = torch.ones(
            1, 64, config.num_attention_heads, config.attention_head_dim, device=device, dtype=number_type(profile)
        )
        with torch.inference_mode():
            attended = dispatch_attention_fn(heads, heads, heads, backend=AttentionBackendName(name))
        if not torch.allclose(attended.float(), heads.float(), atol=0.01):
            raise ArithmeticError("it computes something else")
    except Exception as error:
        if ran_out(error):
            raise
        transformer.reset_attention_backend()
        log.warning("Attention %s does not work here, so it is torch's own: %s", name, first_line(error))


def compile_blocks(transformer: Any, **options: Any) -> None:
    """Compile the transformer's repeated blocks: each kind once, in seconds; ``options`` go to ``torch.compile``.

    What is compiled is what a block computes, not the call of it, as diffusers' ``compile_repeated_blocks`` has it:
    hooks stay outside. The step cache, put on for one drawing and taken off again, is then neither compiled into a
    second set of graphs nor split in two by its decision.
    A block that cannot be compiled here (no C compiler, a card too old) is computed as it is, which torch logs.
    """
    import torch._dynamo.config as dynamo
    import torch.fx.experimental._config as symbols

    # Two sizes that happen to be equal in the first drawing need not be so in the next.
    symbols.use_duck_shape = False
    dynamo.suppress_errors = True
    dynamo.recompile_limit = MOST_GRAPHS
    for block in transformer.modules():
        if type(block).__name__ in transformer._repeated_blocks:
            block.forward = torch.compile(block.forward, **options)


def is_large(module: nn.Module, name: str) -> bool:
    """Say whether a module of the transformer is a product worth fewer bits; card and emulation hold the same ones."""
    return isinstance(module, nn.Linear) and name.startswith(BLOCKS)


def _shrink(transformer: Any, weights: Weights, device: torch.device) -> None:
    if weights is Weights.FP8:
        from torchao.quantization import Float8DynamicActivationFloat8WeightConfig, PerRow, quantize_

        # One by one on the card, so that it never holds all of them in 16 bits.
        how = Float8DynamicActivationFloat8WeightConfig(granularity=PerRow())
        quantize_(transformer, how, filter_fn=is_large, device=device)
    elif weights is Weights.FP8_EMULATED:
        round_linears(transformer, is_large)


def _place(pipeline: Any, profile: Profile, device: torch.device) -> None:
    if profile.offload is Offload.MODEL:
        pipeline.enable_model_cpu_offload(device=device)
        return
    parts: dict[str, Any] = {name: part for name, part in pipeline.components.items() if isinstance(part, nn.Module)}
    brought: dict[str, Any] = {"onload_device": device, "offload_device": torch.device("cpu")}
    # A stream of its own needs a card; elsewhere the same is done in turn.
    brought |= {"use_stream": True, "non_blocking": True} if device.type == "cuda" else {}
    if profile.encoders is Encoders.STREAMED:
        apply_group_offloading(parts.pop(large_encoder(frozenset(parts))), offload_type="leaf_level", **brought)
    if profile.offload is Offload.GROUP:
        parts.pop("transformer").enable_group_offload(offload_type="block_level", num_blocks_per_group=1, **brought)
    for part in parts.values():
        # What bitsandbytes made is on its card already, and would not be moved.
        if not getattr(part, "is_loaded_in_4bit", False):
            part.to(device)
