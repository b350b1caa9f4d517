"""The floor that `flux-bot bench` prints, and the prices, come from operations that were counted."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from diffusers import FluxTransformer2DModel
from torch.utils.flop_counter import FlopCounterMode

from flux_core.family import FLUX_DEV, FLUX_KLEIN, FLUX_KONTEXT_DEV, FLUX_REDUX, FLUX_SCHNELL
from flux_core.gpu.bench.work import fp8_rate, matrix_rate, operations_per_step, tokens
from flux_core.models import Architecture, ModelSpec, Operation

CONFIGS = {
    "dev": (Architecture.FLUX, {"guidance_embeds": True}),
    "schnell": (Architecture.FLUX, {"guidance_embeds": False}),
    # config.json of black-forest-labs/FLUX.2-klein-4B's transformer
    "klein": (
        Architecture.KLEIN,
        {
            "num_layers": 5,
            "num_single_layers": 20,
            "num_attention_heads": 24,
            "joint_attention_dim": 7680,
            "guidance_embeds": False,
        },
    ),
}


@cache
def teraflop(name: str, operation: Operation, words: int = 512) -> float:
    """Return the work of a step at 1024²."""
    picture, prompt = tokens(1024, 1024, words, operation)
    return operations_per_step(*CONFIGS[name], picture_tokens=picture, word_tokens=prompt) / 1e12


def test_a_step_has_as_many_operations_as_is_known_of_the_real_networks() -> None:
    assert teraflop("dev", Operation.TEXT_TO_IMAGE) == pytest.approx(74.4, abs=0.05)
    assert teraflop("schnell", Operation.TEXT_TO_IMAGE, words=256) == pytest.approx(69.5, abs=0.05)


def test_counting_a_block_of_each_kind_is_counting_them_all() -> None:
    """The real count of a network of three and two blocks."""
    config = {"num_layers": 3, "num_single_layers": 2, "num_attention_heads": 2, "guidance_embeds": True}
    with torch.device("meta"):
        network = FluxTransformer2DModel(**config)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(
                hidden_states=torch.empty(1, 64, 64),
                encoder_hidden_states=torch.empty(1, 16, 4096),
                pooled_projections=torch.empty(1, 768),
                timestep=torch.empty(1),
                guidance=torch.empty(1),
                img_ids=torch.empty(64, 3),
                txt_ids=torch.empty(16, 3),
            )
    assert (
        operations_per_step(Architecture.FLUX, config, picture_tokens=64, word_tokens=16) == counter.get_total_flops()
    )


def test_prices_follow_the_work() -> None:
    unit = teraflop("schnell", Operation.TEXT_TO_IMAGE, words=256) / 250

    def price(spec: ModelSpec, *, picture: bool) -> float:
        return spec.price(width=1024, height=1024, steps=4, count=1, picture=picture) / 4

    for spec, name, operation in (
        (FLUX_SCHNELL, "schnell", Operation.TEXT_TO_IMAGE),
        (FLUX_DEV, "dev", Operation.TEXT_TO_IMAGE),
        (FLUX_KONTEXT_DEV, "dev", Operation.EDIT),
        (FLUX_REDUX, "dev", Operation.VARIATION),
        (FLUX_KLEIN, "klein", Operation.TEXT_TO_IMAGE),
        (FLUX_KLEIN, "klein", Operation.EDIT),
    ):
        work = teraflop(name, operation, spec.max_sequence_length) / unit
        assert price(spec, picture=operation is not Operation.TEXT_TO_IMAGE) == pytest.approx(work, rel=0.1)


def test_the_rate_of_this_machine_is_what_a_product_takes() -> None:
    """A CPU core does between a tenth and some hundred operations of fp32 in a nanosecond."""
    assert 1e8 < matrix_rate(torch.device("cpu"), torch.float32, runs=2) < 1e14
    assert fp8_rate(torch.device("cpu")) is None
