"""The ladder of profiles, for every kind of card: no card is here, so what is known of each is made up."""

from __future__ import annotations

from itertools import pairwise, product

import pytest

from flux_core.errors import ConfigurationError
from flux_core.gpu.memory import GIB, PAGE_LOCKED, ModelSize, Weights
from flux_core.gpu.profile import NAMES, Encoders, Facts, Offload, Profile, ladder, modes, why_not
from flux_core.gpu.shapes import Part, build, parameters
from flux_core.models import MEGAPIXEL, Mode

ALL = frozenset({"torchao", "bitsandbytes", "triton"})


@pytest.fixture(scope="module")
def dev() -> ModelSize:
    """FLUX.1 [dev], counted from its published configuration."""
    parts = parameters("flux-dev")
    return ModelSize(transformer=parts[Part.TRANSFORMER], t5=parts[Part.T5], clip=parts[Part.CLIP], vae=parts[Part.VAE])


def card(
    total: float,
    capability: tuple[int, int],
    *,
    free: float | None = None,
    main: float = 64,
    packages: frozenset[str] = ALL,
) -> Facts:
    return Facts(
        kind="cuda",
        name=f"a card of {total:g} GiB",
        total=round(total * GIB),
        free=round((total - 0.5 if free is None else free) * GIB),
        main_free=round(main * GIB),
        capability=capability,
        packages=packages,
    )


def first(facts: Facts, size: ModelSize, mode: Mode = Mode.QUALITY) -> str:
    return ladder(facts, size, mode)[0].name


def test_the_plan_knows_the_published_sizes(dev: ModelSize) -> None:
    assert dev.transformer * Weights.BF16.bytes / GIB == pytest.approx(22.2, abs=0.05)
    assert dev.transformer * Weights.FP8.bytes / GIB == pytest.approx(11.1, abs=0.05)
    assert dev.t5 * Weights.BF16.bytes / GIB == pytest.approx(8.87, abs=0.01)
    whole = dev.weights(Weights.BF16, Weights.BF16, Weights.BF16) / GIB
    assert whole == pytest.approx(22.2 + 8.87 + 0.23 + 0.16, abs=0.05)
    assert dev.weights(Weights.NF4, Weights.NF4, Weights.BF16) < dev.weights(Weights.FP8, Weights.NF4, Weights.BF16)
    assert dev.decoding(Weights.BF16, tiled=True) == dev.decoding(Weights.BF16) / 4
    assert dev.denoising(Weights.BF16, 2 * MEGAPIXEL) > 1.8 * dev.denoising(Weights.BF16)


def test_main_memory_is_planned_as_torch_locks_it(dev: ModelSize) -> None:
    """Each tensor in a piece of its own, rounded up to a power of two: a half more than the weights are."""
    locked = sum(1 << (2 * one.numel() - 1).bit_length() for one in build(Part.TRANSFORMER, "flux-dev").parameters())
    assert locked / (2 * dev.transformer) == pytest.approx(PAGE_LOCKED, abs=0.01)
    (streamed,) = (one for one in ladder(card(15.9, (8, 6)), dev) if one.name == "bf16-streamed")
    assert streamed.main_bytes / GIB == pytest.approx(48.7, abs=0.1)


@pytest.mark.parametrize(
    ("facts", "quality", "fast", "offered"),
    [
        pytest.param(card(139, (9, 0)), "bf16", "fp8", "quality fast turbo", id="H200"),
        pytest.param(card(79, (8, 0)), "bf16", "bf16", "quality turbo", id="A100, which has no 8 bits"),
        pytest.param(card(31.8, (12, 0)), "bf16-streamed-words", "fp8", "quality fast turbo", id="RTX 5090"),
        pytest.param(card(23.9, (8, 9)), "bf16-streamed", "fp8-small-words", "quality fast turbo", id="RTX 4090"),
        pytest.param(card(23.7, (8, 6)), "bf16-streamed", "nf4", "quality fast turbo", id="RTX 3090"),
        pytest.param(card(15.9, (8, 9)), "bf16-streamed", "fp8-streamed-words", "quality fast turbo", id="RTX 4080"),
        pytest.param(card(11.9, (8, 6)), "bf16-streamed", "nf4", "quality fast turbo", id="RTX 3060"),
        pytest.param(card(7.8, (8, 9)), "bf16-streamed", "nf4-in-turns", "quality fast turbo", id="RTX 4060"),
        pytest.param(card(7.8, (8, 6), main=16), "nf4-in-turns", "nf4-in-turns", "fast turbo", id="8 GB, 16 GB main"),
        pytest.param(card(23.9, (8, 9), main=40), "fp8-small-words", "fp8-small-words", "fast turbo", id="40 GB main"),
        pytest.param(card(139, (9, 0), free=12), "bf16-streamed", "nf4-in-turns", "quality fast turbo", id="busy"),
        pytest.param(
            card(23.9, (8, 9), packages=frozenset()), "bf16-streamed", "bf16-streamed", "quality turbo", id="no extras"
        ),
        pytest.param(
            Facts(kind="mps", name="Apple GPU", total=96 * GIB, free=80 * GIB), "mps", "mps", "quality turbo", id="M3"
        ),
        pytest.param(
            Facts(kind="mps", name="Apple GPU", total=16 * GIB, free=11 * GIB),
            "mps-in-turns",
            "mps-in-turns",
            "quality turbo",
            id="M1",
        ),
        pytest.param(
            Facts(kind="cpu", name="cpu", total=None, free=120 * GIB), "cpu", "cpu", "quality turbo", id="processor"
        ),
        pytest.param(
            Facts(kind="cpu", name="cpu", total=None, free=40 * GIB),
            "cpu-bf16",
            "cpu-bf16",
            "quality turbo",
            id="small processor",
        ),
        pytest.param(Facts(kind="cpu", name="cpu", total=None, free=None), "cpu", "cpu", "quality turbo", id="unknown"),
    ],
)
def test_each_kind_of_card_draws_in_the_fastest_way_that_fits(
    dev: ModelSize, facts: Facts, quality: str, fast: str, offered: str
) -> None:
    assert (first(facts, dev), first(facts, dev, Mode.FAST)) == (quality, fast)
    assert " ".join(modes(facts, dev)) == offered
    turbo = ladder(facts, dev, Mode.TURBO)
    assert turbo[0].name == fast
    assert all(one.step_cache and one.mode is Mode.TURBO for one in turbo)
    for mode in Mode:
        if mode not in modes(facts, dev):
            assert why_not(mode, facts, dev)


MACHINES = [
    card(total, capability, main=main, packages=packages)
    for total, capability, main, packages in product(
        (2, 6, 8, 12, 16, 24, 32, 48, 80, 141),
        ((7, 5), (8, 6), (8, 9), (9, 0), (12, 0)),
        (8, 24, 64),
        (frozenset[str](), frozenset({"bitsandbytes"}), ALL | {"flash_attn_interface"}),
    )
]


@pytest.mark.parametrize("mode", Mode)
def test_a_ladder_leads_down_within_what_the_card_can_do(dev: ModelSize, mode: Mode) -> None:
    for facts in MACHINES:
        rungs = ladder(facts, dev, mode)
        for rung, below in pairwise(rungs):
            assert rung.leaner is below
            assert below.card_bytes < rung.card_bytes
        assert rungs[-1].leaner is None
        if len(rungs) > 1:  # where nothing fits, the leanest is tried all the same
            assert rungs[0].card_bytes < (facts.free or 0)
            assert rungs[0].main_bytes <= (facts.main_free or 0)
        for rung in rungs:
            check_rung(rung, facts)


def check_rung(rung: Profile, facts: Facts) -> None:
    assert facts.capability is not None
    assert rung.why.endswith(".")
    if rung.transformer is Weights.FP8:
        assert facts.capability >= (8, 9)
        assert "torchao" in facts.packages
        assert rung.offload is Offload.NONE, "torchao cannot be moved about"
    if rung.transformer is Weights.NF4 or rung.encoders is Encoders.NF4:
        assert "bitsandbytes" in facts.packages
    if rung.compiled:
        assert rung.offload is Offload.NONE
        assert "triton" in facts.packages
    hopper = facts.capability == (9, 0)
    assert (rung.attention == "_flash_3") == (hopper and "flash_attn_interface" in facts.packages)
    assert rung.attention != "_native_cudnn" or facts.capability >= (9, 0)


def test_quality_gives_bits_up_only_where_nothing_else_fits(dev: ModelSize) -> None:
    for facts in MACHINES:
        rungs = ladder(facts, dev)
        exact = [one for one in rungs if one.transformer.exact]
        assert rungs[: len(exact)] == tuple(exact)
        assert rungs[0].mode is (Mode.QUALITY if exact else Mode.FAST)


def test_more_memory_is_never_a_worse_way(dev: ModelSize) -> None:
    order = ["bf16-streamed", "bf16-streamed-words", "bf16"]
    found = [first(card(total, (9, 0)), dev) for total in (8, 16, 24, 32, 48, 80)]
    assert [order.index(name) for name in found] == sorted(order.index(name) for name in found)


def test_what_would_be_faster_is_said(dev: ModelSize) -> None:
    bare = ladder(card(23.9, (8, 9), packages=frozenset()), dev)[0]
    assert bare.faster is not None
    assert all(word in bare.faster for word in ("torchao", "bitsandbytes", "triton", "34 GiB"))
    hopper = ladder(card(139, (9, 0)), dev)[0]
    assert hopper.faster == "Faster with FlashAttention-3."
    assert ladder(card(139, (9, 0), packages=ALL | {"flash_attn_interface"}), dev)[0].faster is None


def test_a_profile_can_be_named(dev: ModelSize) -> None:
    rungs = ladder(card(139, (9, 0)), dev, named="nf4")
    assert [one.name for one in rungs] == ["nf4", "nf4-in-turns", "bf16-streamed"]
    assert rungs[0].why.startswith("GPU_PROFILE names it.")
    processor = Facts(kind="cpu", name="cpu", total=None, free=120 * GIB)
    assert ladder(processor, dev, named="cpu-fp8")[0].mode is Mode.FAST
    with pytest.raises(ConfigurationError, match="must be auto or one of bf16, ") as told:
        ladder(card(139, (9, 0)), dev, named="fastest")
    assert all(name in str(told.value) for name in NAMES)
    with pytest.raises(
        ConfigurationError, match=r"'fp8', but that is not for cpu\. Possible here: auto, cpu, cpu-bf16"
    ):
        ladder(processor, dev, named="fp8")
    with pytest.raises(ConfigurationError, match="'fp8', but the card does not compute in 8 bits"):
        ladder(card(24, (8, 6)), dev, named="fp8")
