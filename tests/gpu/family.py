"""Tiny models of every architecture with random weights, in the very classes that the large ones are made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKLFlux2,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
    FluxFillPipeline,
    FluxKontextPipeline,
    FluxPriorReduxPipeline,
    FluxTransformer2DModel,
)
from diffusers.pipelines.flux.modeling_flux import ReduxImageEncoder
from transformers import Qwen3Config, Qwen3ForCausalLM, SiglipImageProcessor, SiglipVisionConfig, SiglipVisionModel

from flux_core.family import FAMILY
from flux_core.models import ModelSpec
from flux_core.tiny import architecture as tiny
from flux_core.tiny.vocabulary import PAD, TOKENS

SIDE = 64
"""What the tiny models draw: short side in pixels."""
TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


def spec_of(id: str, source: Path, **changes: object) -> ModelSpec:
    """Return the family's model, told to draw small pictures from few words."""
    spec = next(spec for spec in FAMILY if spec.id == id)
    return replace(spec, source=str(source), native_short_side=SIDE, max_sequence_length=16, **changes)  # type: ignore[arg-type]


def kontext(folder: Path) -> Path:
    """Write a tiny Kontext: FLUX.1's parts under another pipeline."""
    return _saved(FluxKontextPipeline(**_flux(1)), folder)


def fill(folder: Path) -> Path:
    """Write a tiny Fill: its transformer also takes the masked picture (64 numbers a token) and the mask (256)."""
    parts, optional = _flux(2), ("image_encoder", "feature_extractor")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        parts["transformer"] = FluxTransformer2DModel.from_config(
            {name: value for name, value in parts["transformer"].config.items() if not name.startswith("_")}
            | {"in_channels": 64 + 64 + 256, "out_channels": 64}
        )
    return _saved(FluxFillPipeline(**{name: part for name, part in parts.items() if name not in optional}), folder)


def redux(folder: Path) -> Path:
    """Write a tiny Redux: what sees a picture, and what makes words of it for flux-tiny's transformer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        config = SiglipVisionConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            image_size=32,
            patch_size=16,
        )
        prior = FluxPriorReduxPipeline(
            image_encoder=SiglipVisionModel(config).eval(),
            feature_extractor=SiglipImageProcessor(size={"height": 32, "width": 32}),
            image_embedder=ReduxImageEncoder(redux_dim=32, txt_in_features=tiny.T5_WIDTH),
        )
    return _saved(prior, folder)


def klein(folder: Path) -> Path:
    """Write a tiny FLUX.2: Qwen3 for the words, a VAE with 32 channels and a batch norm."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        words = Qwen3Config(
            vocab_size=len(TOKENS),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=28,  # the pipeline listens to layers 9, 18 and 27
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=8,
            max_position_embeddings=64,
            pad_token_id=TOKENS.index(PAD),
        )
        tokenizer = tiny.build_tokenizer(start=False)
        tokenizer.chat_template = TEMPLATE
        vae = AutoencoderKLFlux2(block_out_channels=(16, 16, 16, 16), layers_per_block=1, norm_num_groups=8)
        vae.bn.running_mean.normal_()
        vae.bn.running_var.uniform_(0.5, 2.0)
        pipeline = Flux2KleinPipeline(
            scheduler=tiny.build_scheduler(),
            vae=vae,
            text_encoder=Qwen3ForCausalLM(words).eval(),
            tokenizer=tokenizer,
            transformer=Flux2Transformer2DModel(
                in_channels=128,
                num_layers=1,
                num_single_layers=2,
                attention_head_dim=32,
                num_attention_heads=2,
                joint_attention_dim=48,
                timestep_guidance_channels=16,
                axes_dims_rope=(8, 8, 8, 8),
                guidance_embeds=False,
            ),
            is_distilled=True,
        )
    return _saved(pipeline, folder)


def _flux(seed: int) -> dict[str, torch.nn.Module]:
    return dict(tiny.build_pipeline(seed).components)


def _saved(pipeline: object, folder: Path) -> Path:
    pipeline.save_pretrained(folder)  # type: ignore[attr-defined]
    return folder
