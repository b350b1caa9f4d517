"""The ways in which a model can be held and computed, by kind of machine. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from flux_core.gpu.memory import Weights
from flux_core.models import Mode


class Encoders(StrEnum):
    """Where T5, the large text encoder, stays."""

    RESIDENT = "resident"
    STREAMED = "streamed"
    """In main memory; its layers visit the card one after the other when a prompt is read."""
    NF4 = "nf4"
    """On the card, in 4 bits."""


class Offload(StrEnum):
    """Where the transformer stays between two steps."""

    NONE = "none"
    MODEL = "model"
    """Every part of the pipeline is in main memory until its turn, then wholly on the card."""
    GROUP = "group"
    """In main memory; while one block computes, a stream of its own brings the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of the machine."""

    kind: Literal["cuda", "mps", "cpu"]
    name: str
    total: int | None
    """Bytes of memory there; None where nobody says."""
    free: int | None
    """Bytes that are free now."""
    main_free: int | None = None
    """Bytes of main memory that are free now."""
    capability: tuple[int, int] | None = None
    """CUDA compute capability; None for a card of AMD's."""
    packages: frozenset[str] = frozenset()
    """Those of torchao, bitsandbytes, triton and flash_attn_interface that can be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One way to hold and compute a model."""

    name: str
    why: str
    """In which case it is the right one: a sentence for the operator."""
    transformer: Weights = Weights.BF16
    encoders: Encoders = Encoders.RESIDENT
    offload: Offload = Offload.NONE
    vae_tiling: bool = False
    attention: str = "native"
    """A name of diffusers' ``AttentionBackendName``."""
    compiled: bool = False
    """Whether the repeated blocks are compiled."""
    step_cache: bool = False
    """Whether steps that would change little are left out."""
    card_bytes: int = 0
    """What it takes on the card to draw one megapixel."""
    main_bytes: int = 0
    """What it takes in main memory."""
    faster: str | None = None
    """What would make it faster; None: nothing that is known."""
    leaner: Profile | None = None
    """The next one down the ladder; None: there is none."""

    @property
    def mode(self) -> Mode:
        """Return what a picture drawn so is to be called."""
        if self.step_cache:
            return Mode.TURBO
        return Mode.QUALITY if self.transformer.exact else Mode.FAST

    @property
    def weights(self) -> tuple[object, ...]:
        """Return what two profiles must share to share one loaded model."""
        return (self.transformer, self.encoders, self.offload, self.vae_tiling, self.attention, self.compiled)


CUDA = (
    Profile(name="bf16", why="All of the model fits on the card."),
    Profile(name="bf16-streamed-words", why="The transformer fits, not T5 beside it.", encoders=Encoders.STREAMED),
    Profile(
        name="bf16-streamed",
        why="The transformer does not fit: its blocks visit the card while others compute.",
        encoders=Encoders.STREAMED,
        offload=Offload.GROUP,
        vae_tiling=True,
    ),
    Profile(name="fp8", why="The card computes in 8 bits.", transformer=Weights.FP8),
    Profile(
        name="fp8-small-words",
        why="The card computes in 8 bits; T5 fits in 4.",
        transformer=Weights.FP8,
        encoders=Encoders.NF4,
    ),
    Profile(
        name="fp8-streamed-words",
        why="The card computes in 8 bits; T5 does not fit beside.",
        transformer=Weights.FP8,
        encoders=Encoders.STREAMED,
        vae_tiling=True,
    ),
    Profile(
        name="nf4",
        why="In 4 bits, all of the model fits on the card.",
        transformer=Weights.NF4,
        encoders=Encoders.NF4,
        vae_tiling=True,
    ),
    Profile(
        name="nf4-in-turns",
        why="Even in 4 bits, only one part at a time fits on the card.",
        transformer=Weights.NF4,
        encoders=Encoders.NF4,
        offload=Offload.MODEL,
        vae_tiling=True,
    ),
)
MPS = (
    Profile(name="mps", why="An Apple GPU: all of the model is in the memory that it shares."),
    Profile(
        name="mps-in-turns",
        why="An Apple GPU with little free memory: one part of the model at a time is in use.",
        offload=Offload.MODEL,
        vae_tiling=True,
    ),
)
CPU = (
    Profile(name="cpu", why="No card: the processor draws.", transformer=Weights.FP32),
    Profile(name="cpu-bf16", why="No card, and little free memory: half the bits.", vae_tiling=True),
)
BY_NAME_ONLY = (
    Profile(
        name="cpu-compiled", why="Chosen by name: compiled for the processor.", transformer=Weights.FP32, compiled=True
    ),
    Profile(
        name="cpu-fp8",
        why="Chosen by name: rounded as a card's 8 bits are, to see the pictures; no faster.",
        transformer=Weights.FP8_EMULATED,
    ),
)
KINDS = {"cuda": CUDA, "mps": MPS, "cpu": (*CPU, *BY_NAME_ONLY)}
NAMES = tuple(one.name for kind in KINDS.values() for one in kind)
"""What GPU_PROFILE may name, besides auto."""
