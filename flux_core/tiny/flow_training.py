"""Train the flow: one single-threaded process per core, gradients averaged over gloo.

A few pictures of each square batch are redrawn from the same layout in other colours, for image-to-image.

A run goes through three phases, by the share of its time that has passed: shapes alone, scenes and other aspects
mixed in, and guidance. In the last, a quarter of each batch learns v + (g - 1)·(v̂(caption) - v̂(nothing)) for a
random guidance g, with v̂ from the running average of the weights. That distils classifier-free guidance into the
guidance embedding while the data goes on teaching (Tang et al. 2025, "Diffusion Models without Classifier-free
Guidance").
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from flux_core.tiny import checkpoints
from flux_core.tiny.captions import training_caption
from flux_core.tiny.definition import GUIDANCE_MAX, NATIVE_SIZES
from flux_core.tiny.latent_cache import Shard, load_shard
from flux_core.tiny.muon import Muon
from flux_core.tiny.network import TextReader, TinyFlux, detail_weights, position_ids, with_unknown_words
from flux_core.tiny.world import Picture

ADAM_RATE = 4e-3
MUON_RATE = 1.2e-2
WARM_UP = 40
EMA_DECAY = 0.995
CAPTION_DROPOUT = 0.08
SHAPES_ALONE_UNTIL = 0.35
GUIDANCE_FROM = 0.75
REDRAWN = 6
"""Pictures in a square batch whose noisy latents come from the same layout in other colours."""
REDRAWN_TIMES = (0.6, 0.97)
SCENES_SHARE = 0.25
WIDE_SHARE = 0.15
"""Share of the steps, once scenes are mixed in, at an aspect other than 1:1."""

SQUARE = (128, 128)
WIDE = tuple(NATIVE_SIZES[aspect] for aspect in ("3:2", "2:3", "16:9", "9:16"))
BATCHES = {64: 64, 96: 40, 112: 36}
"""Picture tokens → pictures in a step and process."""


@dataclass
class Batch:
    """Pictures of one size with their captions: packed latents (B, T, 64); the last `len(twins)` have a twin each."""

    size: tuple[int, int]
    latents: Tensor
    captions: list[str]
    twins: Tensor


class Feed:
    """Draw batches from the shards on disk; shards that appear later are taken up as they come."""

    def __init__(self, folder: Path, rng: Random) -> None:
        self._folder, self._rng = folder, rng
        self._shards: dict[tuple[bool, tuple[int, int]], list[tuple[list[Picture], Tensor]]] = {}
        self._twins: list[Tensor] = []

    def refresh(self) -> None:
        """Load the shards that were encoded since the last call."""
        for scenes in (False, True):
            for size in (SQUARE, *WIDE):
                held = self._shards.setdefault((scenes, size), [])
                while True:
                    shard = Shard(scenes, *size, len(held))
                    latents = load_shard(self._folder / "latents", shard)
                    if latents is None:
                        break
                    held.append((shard.pictures(), latents))
        while (
            twins := load_shard(self._folder / "latents", Shard(False, *SQUARE, len(self._twins), True))
        ) is not None:
            self._twins.append(twins)

    def batch(self, size: tuple[int, int], scenes: float) -> Batch:
        """Draw a batch with the given share of scenes."""
        latents, captions = [], []
        twins = [torch.empty(0, *self._shards[False, size][0][1].shape[1:])]
        count = BATCHES[size[0] * size[1] // 256]
        redrawn = REDRAWN if self._twins and size == SQUARE else 0
        for number in range(count):
            if number < count - redrawn:
                held = self._shards[self._rng.random() < scenes, size]
                pictures, encoded = self._rng.choice(held)
                index = self._rng.randrange(len(pictures))
            else:
                shard = self._rng.randrange(len(self._twins))
                pictures, encoded = self._shards[False, size][shard]
                index = self._rng.randrange(len(pictures))
                twins.append(self._twins[shard][index][None])
            latents.append(encoded[index])
            text = training_caption(pictures[index], self._rng)
            captions.append(with_unknown_words(text, self._rng))
        return Batch(size, torch.stack(latents).float(), captions, torch.cat(twins).float())

    def has(self, size: tuple[int, int]) -> bool:
        """Say whether both kinds of pictures are there in that size."""
        return all(self._shards.get((scenes, size)) for scenes in (False, True))


def sample_times(count: int) -> Tensor:
    """Draw noise levels (B,): a fifth near pure noise, where the layout is decided, the others logit-normal."""
    normal, choice = torch.randn(count), torch.rand(count)
    times = torch.sigmoid(1.1 * normal + 0.35)
    times = torch.where(choice < 0.5, torch.sigmoid(normal + 1.5), times)
    return torch.where(choice < 0.2, 0.95 + 0.05 * torch.rand(count), times).clamp(1e-3, 1)


def redraw(clean: Tensor, twins: Tensor, noise: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
    """Return noisy latents of ``twins`` (B, T, 64) at ``times`` (B,), and the velocity from there to ``clean``.

    A strong image-to-image run meets just this: a layout in colours that the prompt contradicts.
    """
    noisy = torch.lerp(twins, noise, times[:, None, None])
    return noisy, (noisy - clean) / times[:, None, None]


class Trainer:
    """The networks, their running average and the optimisers of one process."""

    def __init__(self, folder: Path, network: TinyFlux, minutes: float, rank: int, seed: int) -> None:
        self.file = folder / "flow.pt"
        self.network, self.minutes, self.rank = network, minutes, rank
        self.average = copy.deepcopy(network).requires_grad_(False).eval()
        matrices, others = _split(network)
        self.muon = Muon(matrices, lr=MUON_RATE)
        self.adam = torch.optim.AdamW(others, lr=ADAM_RATE, betas=(0.9, 0.98), weight_decay=0.0)
        self.step, self.pictures, self.spent = 0, 0, 0.0
        if state := checkpoints.load(self.file):
            network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            if "muon" in state:  # adopted weights come without the state of an optimiser
                self.muon.load_state_dict(state["muon"])
                self.adam.load_state_dict(state["adam"])
            self.step, self.pictures, self.spent = state["step"], state["pictures"], state["spent"]
        self.clock = checkpoints.Stopwatch(self.spent)
        torch.manual_seed(seed * 1000 + self.step * 2 + rank)
        self.rng = Random(f"flow {seed} {self.step} {rank}")
        self.shared_rng = Random(f"flow {seed} {self.step}")
        self.reader, self.feed = TextReader(), Feed(folder, self.rng)
        self.feed.refresh()
        self._compiled = torch.compile(network.transformer, dynamic=False)

    @property
    def progress(self) -> float:
        """Return the share of the run that has passed, 0 to 1."""
        return self.spent / (self.minutes * 60)

    def train(self) -> None:
        """Train until the run's time is spent; write a checkpoint every few minutes."""
        while self.progress < 1:
            self._train_step()
            if self.step % 50 == 0:
                self.feed.refresh()
            if self.step % 40 == 0:
                self._save()
        self._save()

    def _save(self) -> None:
        if self.rank:
            return
        state = {name: getattr(self, name).state_dict() for name in ("network", "average", "muon", "adam")}
        checkpoints.save(self.file, state | {"step": self.step, "pictures": self.pictures, "spent": self.spent})

    def _train_step(self) -> None:
        progress = self.progress
        rate = min(1.0, (self.step + 1) / WARM_UP) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(progress, 1))))
        for optimiser, base in ((self.adam, ADAM_RATE), (self.muon, MUON_RATE)):
            for group in optimiser.param_groups:
                group["lr"] = base * rate
        mixed = progress >= SHAPES_ALONE_UNTIL
        size = SQUARE
        if mixed and self.shared_rng.random() < WIDE_SHARE:
            wide = self.shared_rng.choice(WIDE)
            size = wide if self.feed.has(wide) else SQUARE
        batch = self.feed.batch(size, SCENES_SHARE if mixed else 0.0)
        loss = self._loss(batch, guide=progress >= GUIDANCE_FROM)
        loss.backward()  # type: ignore[no-untyped-call]
        self._share_gradients()
        self.adam.step()
        self.muon.step()
        self.network.zero_grad(set_to_none=True)
        decay = min(EMA_DECAY, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            for mean, value in zip(self.average.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(value, 1 - decay)
        self.step += 1
        self.pictures += len(batch.captions) * dist.get_world_size()
        self._agree_on_time(loss)

    def _agree_on_time(self, loss: Tensor) -> None:
        """Take the slowest process's clock, so that all change phase and stop at the same step."""
        facts = torch.tensor([self.clock.lap(), loss.item()], dtype=torch.float64)
        dist.all_reduce(facts, op=dist.ReduceOp.MAX)
        self.spent = facts[0].item()
        if self.rank == 0 and self.step % 20 == 0:
            print(
                f"flow step {self.step} {self.spent:.0f} s {self.pictures} pictures loss {facts[1].item():.4f}",
                flush=True,
            )

    def _loss(self, batch: Batch, *, guide: bool) -> Tensor:
        count = len(batch.captions)
        guided = count // 4 if guide else 0
        captions = [
            text if index < guided or self.rng.random() >= CAPTION_DROPOUT else ""
            for index, text in enumerate(batch.captions)
        ]
        clean, noise, times = batch.latents, torch.randn_like(batch.latents), sample_times(count)
        noisy = torch.lerp(clean, noise, times[:, None, None])
        target = noise - clean
        if redrawn := len(batch.twins):
            times[-redrawn:].uniform_(*REDRAWN_TIMES)
            noisy[-redrawn:], target[-redrawn:] = redraw(
                clean[-redrawn:], batch.twins, noise[-redrawn:], times[-redrawn:]
            )
        guidance = torch.ones(count)
        if guided:
            guidance[:guided] = 1 + torch.rand(guided) * (GUIDANCE_MAX - 1)
            difference = self._caption_effect(noisy[:guided], times[:guided], captions[:guided], batch.size)
            target[:guided] += (guidance[:guided, None, None] - 1) * difference
        # Compiling takes a minute a shape, which only the shape of most steps gives back.
        transformer = self._compiled if batch.size == SQUARE else self.network.transformer
        velocity = self._predict(self.network, transformer, noisy, times, captions, guidance, batch.size)
        # The guided targets are as much larger as their guidance; unweighted they would drown the others.
        weights = detail_weights(clean, *batch.size) / guidance.square()[:, None, None]
        return (weights * (velocity - target).square()).mean()

    @torch.no_grad()
    def _caption_effect(self, noisy: Tensor, times: Tensor, captions: list[str], size: tuple[int, int]) -> Tensor:
        """Return what the caption adds to the averaged networks' velocity, in one pass with and without it."""
        count = len(captions)
        velocity = self._predict(
            self.average,
            self.average.transformer,
            torch.cat([noisy, noisy]),
            torch.cat([times, times]),
            captions + [""] * count,
            torch.ones(2 * count),
            size,
        )
        return velocity[:count] - velocity[count:]

    def _predict(
        self,
        network: TinyFlux,
        transformer: Callable[..., Any],
        noisy: Tensor,
        times: Tensor,
        captions: list[str],
        guidance: Tensor,
        size: tuple[int, int],
    ) -> Tensor:
        clip_ids, t5_ids = self.reader(captions)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            pooled, tokens = network.read(clip_ids, t5_ids)
            output: Tensor = transformer(
                hidden_states=noisy,
                timestep=times,
                encoder_hidden_states=tokens.float(),
                pooled_projections=pooled.float(),
                txt_ids=torch.zeros(tokens.shape[1], 3),
                img_ids=position_ids(*size),
                guidance=guidance,
                return_dict=False,
            )[0]
        return output.float()

    def _share_gradients(self) -> None:
        """Average the gradients over the processes and clip their norm to 1."""
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
        flat *= min(1.0, 1.0 / (flat.norm().item() + 1e-6))
        offset = 0
        for gradient in gradients:
            gradient.copy_(flat[offset : offset + gradient.numel()].view_as(gradient))
            offset += gradient.numel()


def _split(network: TinyFlux) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Give Muon the weight matrices inside blocks and Adam the rest (embeddings, modulations, ends, vectors)."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        inside = "blocks." in name or ".layers." in name or ".block." in name
        modulation = "norm" in name or "relative_attention_bias" in name
        (matrices if inside and not modulation and parameter.ndim == 2 else others).append(parameter)
    return matrices, others


def train_flow(folder: Path, network: TinyFlux, minutes: float, rank: int, seed: int = 0) -> None:
    """Run one process of the flow training; the process group must be there already."""
    torch.set_num_threads(1)
    Trainer(folder, network, minutes, rank, seed).train()
