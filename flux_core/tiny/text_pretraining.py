"""Teach the text encoders what captions look like before the flow starts: regress the clean latents from the text.

The pooled CLIP vector alone, and the T5 tokens through one attention layer, each predict the picture's mean; the
pooled vector also says which words were in the caption. The heads are thrown away afterwards.
"""

from pathlib import Path
from random import Random

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flux_core.tiny import checkpoints
from flux_core.tiny.architecture import CLIP_WIDTH, PATCH_CHANNELS, T5_WIDTH
from flux_core.tiny.captions import training_caption
from flux_core.tiny.latent_cache import Shard, load_shard
from flux_core.tiny.network import TextReader, TinyFlux, detail_weights
from flux_core.tiny.vocabulary import TOKENS

BATCH = 128
LEARNING_RATE = 3e-3


class Heads(nn.Module):
    """Predict latents (B, 64, 64) from the pooled vector and from the tokens, and the words from the pooled vector."""

    def __init__(self, tokens: int = 64) -> None:
        super().__init__()
        self.tokens = tokens
        self.from_pooled = nn.Sequential(nn.Linear(CLIP_WIDTH, 256), nn.GELU(), nn.Linear(256, tokens * PATCH_CHANNELS))
        self.words = nn.Linear(CLIP_WIDTH, len(TOKENS))
        self.queries = nn.Parameter(torch.randn(1, tokens, T5_WIDTH))
        self.attention = nn.MultiheadAttention(T5_WIDTH, 8, batch_first=True)
        self.mlp = nn.Sequential(nn.LayerNorm(T5_WIDTH), nn.Linear(T5_WIDTH, 512), nn.GELU(), nn.Linear(512, T5_WIDTH))
        self.out = nn.Linear(T5_WIDTH, PATCH_CHANNELS)

    def forward(self, pooled: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return both predictions of the latents and the words' logits."""
        queries = self.queries.expand(tokens.shape[0], -1, -1)
        mixed = queries + self.attention(queries, tokens, tokens, need_weights=False)[0]
        return (
            self.from_pooled(pooled).view(-1, self.tokens, PATCH_CHANNELS),
            self.out(mixed + self.mlp(mixed)),
            self.words(pooled),
        )


def pretrain_text(folder: Path, steps: int, seed: int = 0) -> TinyFlux:
    """Train the text encoders for `steps` on the first shards of shapes and scenes; return the networks."""
    file = folder / "text.pt"
    torch.manual_seed(seed)
    network = TinyFlux()
    if state := checkpoints.load(file):
        network.load_state_dict(state["network"])
        return network
    heads, reader, rng = Heads(), TextReader(), Random(f"text {seed}")
    parameters = [*network.clip.parameters(), *network.t5.parameters(), *heads.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=LEARNING_RATE, betas=(0.9, 0.98))
    shards = (Shard(False, 128, 128, 0), Shard(True, 128, 128, 0))
    loaded = [(shard.pictures(), load_shard(folder / "latents", shard)) for shard in shards]
    pictures = [picture for part, latents in loaded if latents is not None for picture in part]
    latents = torch.cat([latents for _, latents in loaded if latents is not None]).float()
    weights = detail_weights(latents, 128, 128)
    for step in range(steps):
        rate = LEARNING_RATE * min(1, (step + 1) / 30) * (1 - 0.9 * step / steps)
        for group in optimiser.param_groups:
            group["lr"] = rate
        chosen = rng.sample(range(len(pictures)), BATCH)
        clip_ids, t5_ids = reader([training_caption(pictures[index], rng) for index in chosen])
        from_pooled, from_tokens, words = heads(*network.read(clip_ids, t5_ids))
        target, weight = latents[chosen], weights[chosen]
        present = torch.zeros_like(words).scatter_(1, t5_ids, 1.0)
        regression = [(weight * (prediction - target).square()).mean() for prediction in (from_pooled, from_tokens)]
        loss = regression[0] + regression[1] + 5 * F.binary_cross_entropy_with_logits(words, present)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        if step % 20 == 0:
            pooled, tokens = (value.item() for value in regression)
            print(f"text step {step} from pooled {pooled:.3f} from tokens {tokens:.3f}", flush=True)
    checkpoints.save(file, {"network": network.state_dict()})
    return network
