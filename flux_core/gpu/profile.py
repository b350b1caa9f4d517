"""How a model is held and computed on the card at hand: the ladder from the fastest way that fits to the leanest. Pure.

Every way has a name, by which GPU_PROFILE chooses it, and says why it is taken and what would be faster. Running out of
memory leads one rung down (``Profile.leaner``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from flux_core.errors import ConfigurationError
from flux_core.gpu.memory import GIB, PAGE_LOCKED, ModelSize, Weights
from flux_core.gpu.rungs import BY_NAME_ONLY, CUDA, KINDS, NAMES, Encoders, Facts, Offload, Profile
from flux_core.models import Mode

__all__ = ["NAMES", "Encoders", "Facts", "Offload", "Profile", "Weights", "lacking", "ladder", "modes", "why_not"]

FP8_CAPABILITY = (8, 9)
"""Compute capability from which a card multiplies in 8-bit floating point: Ada and Hopper."""
COMPILED_CAPABILITY = (8, 0)
"""From which a card computes in bf16 itself: Ampere."""
RESERVE = 0.04
"""Part of a card's memory that is never planned for: fragments, and what libraries keep for themselves."""


def ladder(facts: Facts, size: ModelSize, mode: Mode = Mode.QUALITY, named: str = "auto") -> tuple[Profile, ...]:
    """Return the ways to draw in ``mode``, the fastest that fits first, each linked to the next by ``leaner``.

    Quality leaves nothing out where any way of it fits, and falls to fewer bits only then. The last one is there
    whether it fits or not: somebody has to try. ``named``: GPU_PROFILE; that one comes first and what is leaner after.
    Raises ConfigurationError for a name that is none, or that this machine cannot do.
    """
    possible = [_planned(one, facts, size) for one in KINDS[facts.kind] if lacking(one, facts) is None]
    offered = [one for one in possible if all(one.name != other.name for other in BY_NAME_ONLY)]
    if named != "auto":
        check(named, facts)
        chosen = next(one for one in possible if one.name == named)
        chosen = replace(chosen, why=f"GPU_PROFILE names it. {chosen.why}")
        rungs = [chosen, *sorted(offered, key=lambda one: -one.card_bytes)]
    else:
        fitting = [one for one in _in_order(offered, facts, mode) if _fits(one, facts)]
        leanest = min(offered, key=lambda one: (*_excess(one, facts), one.card_bytes))
        rungs = fitting if leanest in fitting else [*fitting, leanest]
    if mode is Mode.TURBO:
        rungs = [replace(one, step_cache=True) for one in rungs]
    return _chain([replace(one, faster=_faster(one, facts, size)) for one in rungs])


def check(named: str, facts: Facts) -> None:
    """Raise ConfigurationError where GPU_PROFILE is no name, or one that this machine cannot do."""
    if named != "auto" and named not in NAMES:
        raise ConfigurationError(f"GPU_PROFILE is {named!r}; it must be auto or one of {', '.join(NAMES)}.")
    of_this_kind = {one.name: lacking(one, facts) for one in KINDS[facts.kind]}
    why = of_this_kind.get(named, f"that is not for {facts.name}")
    if named != "auto" and why is not None:
        possible = [name for name, missing in of_this_kind.items() if missing is None]
        raise ConfigurationError(f"GPU_PROFILE is {named!r}, but {why}. Possible here: auto, {', '.join(possible)}.")


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
    missing = {lacking(one, facts) for one in CUDA if one.transformer is Weights.FP8} - {None}
    return next(iter(sorted(filter(None, missing))), "the card has too little memory for it")


def lacking(profile: Profile, facts: Facts) -> str | None:
    """Return what this machine lacks for a profile whatever its memory, as a part of a sentence; None: nothing."""
    if profile.transformer is Weights.FP8:
        if facts.capability is None or facts.capability < FP8_CAPABILITY:
            return "the card does not compute in 8 bits"
        if "torchao" not in facts.packages:
            return "torchao is not installed there"
    if profile.encoders is Encoders.NF4 and "bitsandbytes" not in facts.packages:
        return "bitsandbytes is not installed there"
    return None


def _planned(profile: Profile, facts: Facts, size: ModelSize) -> Profile:
    """Return ``profile`` with what it takes, and what the card's own abilities add."""
    rest = Weights.FP32 if profile.transformer in (Weights.FP32, Weights.FP8_EMULATED) else Weights.BF16
    t5 = Weights.NF4 if profile.encoders is Encoders.NF4 else rest
    whole = size.weights(profile.transformer, t5, rest)
    transformer, words = round(size.transformer * profile.transformer.bytes), round(size.t5 * t5.bytes)
    drawing = size.denoising(rest) + size.decoding(rest, tiled=profile.vae_tiling)
    card, main = whole + drawing, 0
    streamed = PAGE_LOCKED if facts.kind == "cuda" else 1
    if profile.offload is Offload.MODEL:
        # One part at a time: a picture is decoded when the transformer has left the card.
        card = max(transformer + size.denoising(rest), words, size.decoding(rest, tiled=profile.vae_tiling))
        eyes = round(size.eyes * rest.bytes)  # they are no part of the pipeline that is brought in parts, and stay
        card, main = card + eyes, whole - eyes
    else:
        if profile.encoders is Encoders.STREAMED:
            card, main = card - words, main + round(streamed * words)
        if profile.offload is Offload.GROUP:
            # The block that computes and the one on its way.
            block = round(size.largest_block * profile.transformer.bytes)
            card = card - transformer + min(2 * block, transformer)
            main += round(streamed * transformer)
    resident = profile.offload is Offload.NONE and facts.kind == "cuda" and profile.transformer is not Weights.NF4
    return replace(
        profile,
        card_bytes=card,
        main_bytes=main,
        attention=_attention(facts),
        compiled=profile.compiled or (resident and _compiles(facts)),
    )


def _compiles(facts: Facts) -> bool:
    # Torch compiles no bf16 for a card that has none of it: NVIDIA's before Ampere.
    return "triton" in facts.packages and (facts.capability or COMPILED_CAPABILITY) >= COMPILED_CAPABILITY


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
    # Weights of 4 bits are unpacked for every product: slower than whole ones that fit, faster than whole ones that
    # have to be brought.
    yield from resident
    yield from (one for one in fewer if one.transformer is not Weights.FP8)
    yield from (one for one in exact if one not in resident)


def _fits(profile: Profile, facts: Facts) -> bool:
    return not any(_excess(profile, facts))


def _excess(profile: Profile, facts: Facts) -> tuple[bool, bool]:
    """Return whether a profile takes more than there is of the card's memory, and of main memory."""
    spare = round(RESERVE * (facts.total or 0)) if facts.kind == "cuda" else 0
    on_card = facts.free is not None and profile.card_bytes + spare > facts.free
    return on_card, facts.main_free is not None and profile.main_bytes > facts.main_free


def _faster(profile: Profile, facts: Facts, size: ModelSize) -> str | None:
    """Return a sentence about what would make drawing faster here."""
    if facts.kind == "cpu":
        return "A card: a processor takes minutes for what a card draws in seconds." if size.transformer > 1e9 else None
    if facts.kind == "mps":
        return None if profile.offload is Offload.NONE else "More memory, or fewer other programs."
    advice = []
    if "torchao" not in facts.packages and (facts.capability or (0, 0)) >= FP8_CAPABILITY:
        advice.append("torchao, for mode fast in 8 bits (pip install -c constraints.txt '.[worker-cuda]')")
    if "bitsandbytes" not in facts.packages and (profile.offload is not Offload.NONE or profile.encoders != "resident"):
        advice.append("bitsandbytes, to hold the model in 4 bits (pip install -c constraints.txt '.[worker-cuda]')")
    if "triton" not in facts.packages:
        advice.append("triton and a C compiler (gcc), to compile the network")
    if (facts.capability or (0, 0))[0] == 9 and "flash_attn_interface" not in facts.packages:
        advice.append("FlashAttention-3")
    whole = _planned(CUDA[0], facts, size).card_bytes
    if profile.transformer.exact and profile.name != "bf16":
        advice.append(f"{whole / GIB:.0f} GiB of free memory on the card")
    return f"Faster with {'; '.join(advice)}." if advice else None


def _chain(rungs: Sequence[Profile]) -> tuple[Profile, ...]:
    """Return the first of ``rungs`` and those that follow it downwards, each linked to the next."""
    downwards: list[Profile] = []
    for one in rungs:
        if not downwards or one.card_bytes < downwards[-1].card_bytes:
            downwards.append(one)
    linked: list[Profile] = []
    for one in reversed(downwards):
        linked.insert(0, replace(one, leaner=linked[0] if linked else None))
    return tuple(linked)
