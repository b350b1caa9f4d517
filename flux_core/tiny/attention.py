"""Compute FLUX attention in a form that trains fast on a CPU: bf16 products, fp32 norms and softmax.

The mathematics is diffusers' `FluxAttnProcessor`; only the training uses this, the pipeline keeps diffusers' own.
On two AVX-512 cores it took the compiled training step from 40 to 68 pictures a second and core.
"""

import math

import torch
from diffusers.models.transformers.transformer_flux import FluxAttention
from torch import Tensor


class TrainingAttention:
    """An attention processor for `FluxTransformer2DModel.set_attn_processor`."""

    def __call__(
        self,
        attn: FluxAttention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Attend over text and picture tokens together: (B, L, C) each, returned in the same shapes."""
        heads = (-1, attn.head_dim)
        query = _normalise(attn.to_q(hidden_states).unflatten(-1, heads), attn.norm_q)
        key = _normalise(attn.to_k(hidden_states).unflatten(-1, heads), attn.norm_k)
        value = attn.to_v(hidden_states).unflatten(-1, heads)
        if encoder_hidden_states is not None:
            text_query = _normalise(attn.add_q_proj(encoder_hidden_states).unflatten(-1, heads), attn.norm_added_q)
            text_key = _normalise(attn.add_k_proj(encoder_hidden_states).unflatten(-1, heads), attn.norm_added_k)
            text_value = attn.add_v_proj(encoder_hidden_states).unflatten(-1, heads)
            query = torch.cat([text_query, query], dim=1)
            key = torch.cat([text_key, key], dim=1)
            value = torch.cat([text_value, value], dim=1)
        assert image_rotary_emb is not None
        query, key = _rotate(query, image_rotary_emb), _rotate(key, image_rotary_emb)
        mixed = _attend(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)).transpose(1, 2).flatten(2, 3)
        if encoder_hidden_states is None:
            return mixed
        length = encoder_hidden_states.shape[1]
        text, picture = mixed[:, :length], mixed[:, length:]
        return attn.to_out[0](picture.contiguous()), attn.to_add_out(text.contiguous())


def _normalise(states: Tensor, norm: torch.nn.RMSNorm) -> Tensor:
    states = states.float()
    return states * torch.rsqrt(states.square().mean(-1, keepdim=True) + (norm.eps or 1e-6)) * norm.weight


def _rotate(states: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    cos, sin = rotary
    turned = torch.stack([-states[..., 1::2], states[..., 0::2]], dim=-1).flatten(-2)
    return states * cos[:, None] + turned * sin[:, None]


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        scale = 1 / math.sqrt(query.shape[-1])
        scores = query.bfloat16() @ (key * scale).bfloat16().transpose(-1, -2)
        return torch.softmax(scores.float(), dim=-1).bfloat16() @ value.bfloat16()
