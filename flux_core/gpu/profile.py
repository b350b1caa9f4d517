"""How a model is held and computed on the card at hand: the ladder from the fastest way that fits to the leanest. Pure.

Every way has a name, by which GPU_PROFILE chooses it, and says why it is taken and what would be faster. Running out of
memory leads one rung down (``Profile.leaner``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from flux_core.errors import ConfigurationError
from flux_core.gpu.memory import GIB, ModelSize, Weights
from flux_core.models import Mode

FP8_CAPABILITY = (8, 9)
"""Compute capability from which a card multiplies in 8-bit floating point: Ada and Hopper."""
RESERVE = 0.04
"""Part of a card's memory that is never planned for: fragments, and what libraries keep for themselves."""


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
    """CUDA compute capability."""
    packages: frozenset[str] = frozenset()
    """Those of torchao, bitsandbytes, triton and flash_attn_interface that are installed."""


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


_CUDA = (
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
_MPS = (
    Profile(name="mps", why="An Apple GPU: all of the model is in the memory that it shares."),
    Profile(
        name="mps-in-turns",
        why="An Apple GPU with little free memory: one part of the model at a time is in use.",
        offload=Offload.MODEL,
        vae_tiling=True,
    ),
)
_CPU = (
    Profile(name="cpu", why="No card: the processor draws.", transformer=Weights.FP32),
    Profile(name="cpu-bf16", why="No card, and little free memory: half the bits.", vae_tiling=True),
)
_BY_NAME_ONLY = (
    Profile(
        name="cpu-compiled", why="Chosen by name: compiled for the processor.", transformer=Weights.FP32, compiled=True
    ),
    Profile(
        name="cpu-fp8",
        why="Chosen by name: rounded as a card's 8 bits are, to see the pictures; no faster.",
        transformer=Weights.FP8_EMULATED,
    ),
)
_KINDS = {"cuda": _CUDA, "mps": _MPS, "cpu": (*_CPU, *_BY_NAME_ONLY)}
NAMES = tuple(one.name for kind in _KINDS.values() for one in kind)
"""What GPU_PROFILE may name, besides auto."""


def ladder(facts: Facts, size: ModelSize, mode: Mode = Mode.QUALITY, named: str = "auto") -> tuple[Profile, ...]:
    """Return the ways to draw in ``mode``, the fastest that fits first, each linked to the next by ``leaner``.

    Quality leaves nothing out where any way of it fits, and falls to fewer bits only then. The last one is there
    whether it fits or not: somebody has to try. ``named``: GPU_PROFILE; that one comes first and what is leaner after.
    Raises ConfigurationError for a name that is none, or that this machine cannot do.
    """
    possible = [_planned(one, facts, size) for one in _KINDS[facts.kind] if lacking(one, facts) is None]
    if named != "auto":
        chosen = _named(named, facts, possible)
        rungs = [
            chosen,
            *(one for one in possible if one.card_bytes < chosen.card_bytes and one not in _set_aside(possible)),
        ]
    else:
        offered = [one for one in possible if one not in _set_aside(possible)]
        fitting = [one for one in _in_order(offered, facts, mode) if _fits(one, facts)]
        leanest = min(offered, key=lambda one: one.card_bytes)
        rungs = fitting if leanest in fitting else [*fitting, leanest]
    if mode is Mode.TURBO:
        rungs = [replace(one, step_cache=True) for one in rungs]
    return tuple(_linked([replace(one, faster=_faster(one, facts, size)) for one in rungs]))


def modes(facts: Facts, size: ModelSize, named: str = "auto") -> tuple[Mode, ...]:
    """Return the modes in which this machine draws; fast only where it is another way than quality."""
    quality, fast = (ladder(facts, size, mode, named)[0] for mode in (Mode.QUALITY, Mode.FAST))
    drawn = {quality.mode, *({Mode.FAST} if fast.mode is Mode.FAST else ()), Mode.TURBO}
    return tuple(mode for mode in Mode if mode in drawn)


def why_not(mode: Mode, facts: Facts, size: ModelSize) -> str:
    """Return why ``mode`` is not drawn here, as a part of a sentence that a member reads."""
    if mode is Mode.QUALITY:
        return "the card has too little memory for all bits of the model"
    if facts.kind != "cuda":
        return f"{'an Apple GPU' if facts.kind == 'mps' else 'a processor'} is no faster in 8 bits"
    missing = {lacking(one, facts) for one in _CUDA if one.transformer is Weights.FP8} - {None}
    return next(iter(sorted(filter(None, missing))), "the card has too little memory for it")


def lacking(profile: Profile, facts: Facts) -> str | None:
    """Return what this machine lacks for a profile whatever its memory, as a part of a sentence; None: nothing."""
    if profile.transformer is Weights.FP8:
        if facts.capability is None or facts.capability < FP8_CAPABILITY:
            return "the card does not compute in 8 bits"
        if "torchao" not in facts.packages:
            return "torchao is not installed there"
    if Weights.NF4 in (profile.transformer, Weights(profile.encoders) if profile.encoders == "nf4" else None):
        if "bitsandbytes" not in facts.packages:
            return "bitsandbytes is not installed there"
    return None


def _set_aside(profiles: Sequence[Profile]) -> list[Profile]:
    names = {one.name for one in _BY_NAME_ONLY}
    return [one for one in profiles if one.name in names]


def _planned(profile: Profile, facts: Facts, size: ModelSize) -> Profile:
    """Return ``profile`` with what it takes, and what the card's own abilities add."""
    rest = Weights.FP32 if profile.transformer in (Weights.FP32, Weights.FP8_EMULATED) else Weights.BF16
    t5 = Weights.NF4 if profile.encoders is Encoders.NF4 else rest
    whole = size.weights(profile.transformer, t5, rest)
    transformer, words = round(size.transformer * profile.transformer.bytes), round(size.t5 * t5.bytes)
    drawing = size.denoising(rest) + size.decoding(rest, tiled=profile.vae_tiling)
    card, main = whole + drawing, 0
    if profile.offload is Offload.MODEL:
        # One part at a time: a picture is decoded when the transformer has left the card.
        card = max(transformer + size.denoising(rest), words, size.decoding(rest, tiled=profile.vae_tiling))
        main = whole
    else:
        if profile.encoders is Encoders.STREAMED:
            card, main = card - words, main + words
        if profile.offload is Offload.GROUP:
            # The block that computes and the one on its way.
            block = round(size.largest_block * profile.transformer.bytes)
            card, main = card - transformer + min(2 * block, transformer), main + transformer
    resident = profile.offload is Offload.NONE and facts.kind == "cuda" and profile.transformer is not Weights.NF4
    return replace(
        profile,
        card_bytes=card,
        main_bytes=main,
        attention=_attention(facts),
        compiled=profile.compiled or (resident and "triton" in facts.packages),
    )


def _attention(facts: Facts) -> str:
    if facts.kind != "cuda" or facts.capability is None or facts.capability < (9, 0):
        return "native"
    hopper = facts.capability[0] == 9
    return "_flash_3" if hopper and "flash_attn_interface" in facts.packages else "_native_cudnn"


def _in_order(profiles: Sequence[Profile], facts: Facts, mode: Mode) -> Iterator[Profile]:
    """Yield profiles from the one to take first: for quality exact ones, else those of fewer bits that are faster."""
    exact = [one for one in profiles if one.transformer.exact]
    fewer = [one for one in profiles if not one.transformer.exact]
    if mode is Mode.QUALITY:
        yield from (*exact, *fewer)
        return
    resident = [one for one in exact if one.offload is Offload.NONE]
    yield from (one for one in fewer if one.transformer is Weights.FP8)
    # Weights of 4 bits are unpacked for every product: slower than whole ones that fit, faster than whole ones that do not.
    yield from resident
    yield from (one for one in fewer if one.transformer is not Weights.FP8)
    yield from (one for one in exact if one not in resident)


def _fits(profile: Profile, facts: Facts) -> bool:
    if facts.free is None:
        return True
    spare = round(RESERVE * (facts.total or facts.free)) if facts.kind == "cuda" else 0
    on_card = profile.card_bytes + spare <= facts.free
    if facts.kind != "cuda" or facts.main_free is None:
        return on_card
    return on_card and profile.main_bytes <= facts.main_free


def _named(name: str, facts: Facts, possible: Sequence[Profile]) -> Profile:
    if name not in NAMES:
        raise ConfigurationError(f"GPU_PROFILE is {name!r}; it must be auto or one of {', '.join(NAMES)}.")
    for one in possible:
        if one.name == name:
            return replace(one, why=f"GPU_PROFILE names it. {one.why}")
    here = [one.name for one in possible]
    of_this_kind = next((one for one in _KINDS[facts.kind] if one.name == name), None)
    why = lacking(of_this_kind, facts) if of_this_kind is not None else f"it is not for {facts.name}"
    raise ConfigurationError(f"GPU_PROFILE is {name!r}, but {why}. Here: auto, {', '.join(here)}.")


def _faster(profile: Profile, facts: Facts, size: ModelSize) -> str | None:
    """Return a sentence about what would make drawing faster here."""
    if facts.kind == "cpu":
        return "A card: a processor takes minutes for what a card draws in seconds." if size.transformer > 1e9 else None
    if facts.kind == "mps":
        return None if profile.offload is Offload.NONE else "More memory, or fewer other programs."
    advice = []
    if "torchao" not in facts.packages and (facts.capability or (0, 0)) >= FP8_CAPABILITY:
        advice.append("torchao, for mode fast in 8 bits (pip install '.[worker-cuda]')")
    if "bitsandbytes" not in facts.packages and (profile.offload is not Offload.NONE or profile.encoders != "resident"):
        advice.append("bitsandbytes, to hold the model in 4 bits (pip install '.[worker-cuda]')")
    if "triton" not in facts.packages:
        advice.append("triton, to compile the network")
    if (facts.capability or (0, 0))[0] == 9 and "flash_attn_interface" not in facts.packages:
        advice.append("FlashAttention-3")
    whole = _planned(_CUDA[0], facts, size).card_bytes
    if profile.transformer.exact and profile.name != "bf16":
        advice.append(f"{whole / GIB:.0f} GiB of free memory on the card")
    return f"Faster with {'; '.join(advice)}." if advice else None


def _linked(rungs: Sequence[Profile]) -> list[Profile]:
    """Return ``rungs`` with each one's ``leaner``: the next that takes less of the card."""
    linked: list[Profile] = []
    for one in reversed(rungs):
        below = next((other for other in linked if other.card_bytes < one.card_bytes), None)
        linked.insert(0, replace(one, leaner=below))
    return linked
