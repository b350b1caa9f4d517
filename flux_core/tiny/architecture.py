"""Build the parts of flux-tiny: every one the class the large FLUX.1 models use, only smaller.

The widths keep the whole folder under 16 MB in half precision; the structure (double and single blocks, rotary
positions, guidance embedding, 16 latent channels, 2×2 patches) is FLUX.1's own.
"""

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordLevel
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast, T5Config, T5EncoderModel

from flux_core.tiny.definition import MAX_SEQUENCE_LENGTH
from flux_core.tiny.vocabulary import END, PAD, START, TOKENS, UNKNOWN

LATENT_CHANNELS = 16
PATCH_CHANNELS = LATENT_CHANNELS * 4
CLIP_WIDTH = 96
T5_WIDTH = 128
SCHEDULER_SHIFT = 1.0


def build_vae() -> AutoencoderKL:
    """Build the autoencoder: pixels (B, 3, H, W) in [-1, 1] ↔ latents (B, 16, H/8, W/8)."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 32, 64, 64),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        sample_size=128,
        scaling_factor=1.0,
        shift_factor=0.0,
        use_quant_conv=False,
        use_post_quant_conv=False,
        mid_block_add_attention=False,
        force_upcast=False,
    )


def build_transformer() -> FluxTransformer2DModel:
    """Build the velocity model over packed latents (B, H·W/256, 64)."""
    return FluxTransformer2DModel(
        in_channels=PATCH_CHANNELS,
        num_layers=2,
        num_single_layers=4,
        attention_head_dim=32,
        num_attention_heads=6,
        joint_attention_dim=T5_WIDTH,
        pooled_projection_dim=CLIP_WIDTH,
        guidance_embeds=True,
        axes_dims_rope=(8, 12, 12),
    )


def build_clip() -> CLIPTextModel:
    """Build the CLIP text encoder, whose pooled vector (B, 96) says what the picture is as a whole."""
    config = CLIPTextConfig(
        vocab_size=len(TOKENS),
        hidden_size=CLIP_WIDTH,
        intermediate_size=4 * CLIP_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=3,
        max_position_embeddings=MAX_SEQUENCE_LENGTH,
        projection_dim=CLIP_WIDTH,
        pad_token_id=TOKENS.index(PAD),
        bos_token_id=TOKENS.index(START),
        eos_token_id=TOKENS.index(END),
        attn_implementation="sdpa",
    )
    return CLIPTextModel(config)


def build_t5() -> T5EncoderModel:
    """Build the T5 encoder, whose tokens (B, L, 128) the transformer attends to."""
    config = T5Config(
        vocab_size=len(TOKENS),
        d_model=T5_WIDTH,
        d_kv=32,
        d_ff=2 * T5_WIDTH,
        num_layers=2,
        num_heads=4,
        relative_attention_num_buckets=32,
        relative_attention_max_distance=32,
        dropout_rate=0.0,
        feed_forward_proj="gated-gelu",
        is_encoder_decoder=False,
        use_cache=False,
        pad_token_id=TOKENS.index(PAD),
        eos_token_id=TOKENS.index(END),
        decoder_start_token_id=TOKENS.index(PAD),
    )
    return T5EncoderModel(config)


def build_tokenizer(*, start: bool) -> PreTrainedTokenizerFast:
    """Build the word-level tokenizer: lower case, punctuation dropped, `</s>` at the end, `<s>` in front if `start`."""
    ids = {token: index for index, token in enumerate(TOKENS)}
    tokenizer = Tokenizer(WordLevel(ids, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation(behavior="removed")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}" if start else f"$A {END}",
        special_tokens=[(START, ids[START]), (END, ids[END])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=MAX_SEQUENCE_LENGTH,
        pad_token=PAD,
        eos_token=END,
        unk_token=UNKNOWN,
        bos_token=START,
        padding_side="right",
    )


def build_scheduler() -> FlowMatchEulerDiscreteScheduler:
    """Build the Euler sampler, its steps even: with a shift of 2, a redrawing at 0.8 forgot where things were."""
    return FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=SCHEDULER_SHIFT, use_dynamic_shifting=False)


def build_pipeline(seed: int = 0) -> FluxPipeline:
    """Build a whole pipeline with random weights drawn from `seed`, in fp32 on the CPU."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return FluxPipeline(
            scheduler=build_scheduler(),
            vae=build_vae(),
            text_encoder=build_clip().eval(),
            tokenizer=build_tokenizer(start=True),
            text_encoder_2=build_t5().eval(),
            tokenizer_2=build_tokenizer(start=False),
            transformer=build_transformer(),
        )


def save_pipeline(pipeline: FluxPipeline, folder: Path) -> Path:
    """Write the pipeline to `folder` in half precision, marked to be loaded in fp32, and return the folder.

    Half precision halves what git has to carry; single precision keeps batch and single runs within one level.
    """
    dtypes = {name: module.dtype for name, module in pipeline.components.items() if isinstance(module, torch.nn.Module)}
    for name in dtypes:
        getattr(pipeline, name).half()
    pipeline.save_pretrained(folder, safe_serialization=True)
    for name, dtype in dtypes.items():
        getattr(pipeline, name).to(dtype)
    for encoder in ("text_encoder", "text_encoder_2"):  # transformers otherwise loads in the precision on disk
        _amend(folder / encoder / "config.json", dtype="float32")
    tokenizer_class = "PreTrainedTokenizerFast"  # the name that transformers 4 and 5 both know
    for tokenizer in ("tokenizer", "tokenizer_2"):
        _amend(folder / tokenizer / "tokenizer_config.json", tokenizer_class=tokenizer_class)
        _amend(folder / "model_index.json", **{tokenizer: ["transformers", tokenizer_class]})
    return folder


def _amend(file: Path, **facts: object) -> None:
    """Set top-level entries of a JSON file."""
    content = json.loads(file.read_text(encoding="utf-8")) | facts
    file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def build_random(folder: Path, seed: int = 0) -> Path:
    """Write a complete diffusers folder with random weights in the shipped model's shape, and return it."""
    return save_pipeline(build_pipeline(seed), folder)
