"""Hold the three networks trained together (transformer, CLIP, T5) and the text that feeds them."""

from random import Random

import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor, nn

from flux_core.tiny.architecture import build_clip, build_t5, build_tokenizer, build_transformer
from flux_core.tiny.attention import TrainingAttention
from flux_core.tiny.definition import MAX_SEQUENCE_LENGTH


class TextReader:
    """Turn captions into the token ids of both encoders."""

    def __init__(self) -> None:
        self._clip = build_tokenizer(start=True)
        self._t5 = build_tokenizer(start=False)

    def __call__(self, captions: list[str]) -> tuple[Tensor, Tensor]:
        """Return ids (B, L) for CLIP and for T5."""
        options = {
            "padding": "max_length",
            "max_length": MAX_SEQUENCE_LENGTH,
            "truncation": True,
            "return_tensors": "pt",
        }
        return self._clip(captions, **options).input_ids, self._t5(captions, **options).input_ids


def with_unknown_words(caption: str, rng: Random) -> str:
    """Now and then put unknown words into a caption, so that people's other words do no harm."""
    words = caption.split()
    for _ in range(rng.choices((0, 1, 2), weights=(0.92, 0.05, 0.03))[0]):
        words.insert(rng.randint(0, len(words)), UNKNOWN_WORD)
    return " ".join(words)


UNKNOWN_WORD = "zyzzyva"
"""A word outside the vocabulary, which the tokenizers turn into the unknown token."""


class TinyFlux(nn.Module):
    """The trained networks; the transformer is started as DiT is, every block an identity and the output zero."""

    def __init__(self) -> None:
        super().__init__()
        self.clip = build_clip()
        self.t5 = build_t5()
        self.transformer = build_transformer()
        self.transformer.set_attn_processor(TrainingAttention())
        _start_as_identity(self.transformer)

    def read(self, clip_ids: Tensor, t5_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Encode token ids (B, L) to the pooled vector (B, 96) and the text tokens (B, L, 128)."""
        return self.clip(clip_ids).pooler_output, self.t5(t5_ids).last_hidden_state


def _start_as_identity(transformer: FluxTransformer2DModel) -> None:
    for name, module in transformer.named_modules():
        if isinstance(module, nn.Linear):
            if name.endswith("norm.linear") or ".norm1" in name or name in ("norm_out.linear", "proj_out"):
                nn.init.zeros_(module.weight)
            else:
                nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)


def position_ids(width: int, height: int) -> Tensor:
    """Return the rotary positions (tokens, 3) of a picture of that size in pixels, as `FluxPipeline` numbers them."""
    rows, columns = height // 16, width // 16
    ids = torch.zeros(rows, columns, 3)
    ids[..., 1] += torch.arange(rows)[:, None]
    ids[..., 2] += torch.arange(columns)[None, :]
    return ids.reshape(rows * columns, 3)


def detail_weights(latents: Tensor, width: int, height: int) -> Tensor:
    """Weigh each token (B, tokens, 1), mean 1, by how much it differs from its neighbours.

    Most tokens of a flat picture are plain background; outlines would hardly count in an even mean.
    """
    rows, columns = height // 16, width // 16
    grid = latents.float().view(latents.shape[0], rows, columns, -1)
    down = (grid[:, 1:] - grid[:, :-1]).abs().mean(-1)
    across = (grid[:, :, 1:] - grid[:, :, :-1]).abs().mean(-1)
    contrast = torch.zeros(grid.shape[:3])
    contrast[:, 1:] = torch.maximum(contrast[:, 1:], down)
    contrast[:, :-1] = torch.maximum(contrast[:, :-1], down)
    contrast[:, :, 1:] = torch.maximum(contrast[:, :, 1:], across)
    contrast[:, :, :-1] = torch.maximum(contrast[:, :, :-1], across)
    weights = 1 + (contrast / contrast.mean((1, 2), keepdim=True).clamp_min(1e-6)).clamp_max(4)
    return (weights / weights.mean((1, 2), keepdim=True)).view(latents.shape[0], rows * columns, 1)
