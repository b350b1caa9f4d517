"""8 bits by torchao and 4 by bitsandbytes, computed by a processor: only what asks for a card is answered in its place.

It takes the extra worker-cuda, which `make images-test` installs: every start of torch would take longer with it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from flux_core.family import FLUX_DEV
from flux_core.gpu.fitting import NF4, is_large, loading_options
from flux_core.gpu.loading import load
from flux_core.gpu.lora_files import LoraFiles
from flux_core.gpu.modes import stepping
from flux_core.gpu.profile import Encoders, Offload, Profile, Weights
from flux_core.gpu.shapes import build_pipeline
from flux_core.loras import Lora, LoraUse
from flux_core.models import ModelSpec
from tests.gpu.narrow import draw, narrow

pytestmark = pytest.mark.images
CPU = torch.device("cpu")
EXACT = Profile(name="exact", why="A test asks for it.")
FP8 = replace(EXACT, name="fp8", transformer=Weights.FP8)
FOUR = replace(EXACT, name="nf4", transformer=Weights.NF4, encoders=Encoders.NF4, vae_tiling=True)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    """FLUX.1 [dev], only narrow, in a folder."""
    folder = tmp_path_factory.mktemp("narrow")
    with narrow():
        build_pipeline("flux-dev", CPU).save_pretrained(folder)
    return replace(FLUX_DEV, source=str(folder), step_cache=1e9)


@pytest.fixture(scope="module")
def eight() -> Iterator[None]:
    """A processor that torchao takes for a card of 8 bits: the products are torch's own, of the same numbers."""
    import torchao.quantization.quant_api as api

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api, "_check_hardware_support", lambda granularity: None)
        yield


@pytest.fixture(scope="module")
def four() -> Iterator[None]:
    """Where diffusers looks for a card before it lets bitsandbytes make 4 bits of anything."""
    from diffusers.quantizers.bitsandbytes.bnb_quantizer import BnB4BitDiffusersQuantizer as Quantizer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Quantizer, "validate_environment", lambda self, *_, **__: None)
        patch.setattr(Quantizer, "update_device_map", lambda self, device_map: {"": "cpu"})
        yield


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


def test_eight_bits_draw_what_all_bits_do_but_for_rounding(eight: None, spec: ModelSpec) -> None:
    from torchao.quantization import Float8Tensor

    exact = draw(load(spec, CPU, profile=EXACT).pipeline)
    model = load(spec, CPU, profile=FP8)
    network = model.pipeline.transformer
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear):
            assert isinstance(module.weight, Float8Tensor) is is_large(module, name), name
            assert module.weight.dtype == torch.bfloat16
    assert 0 < apart(draw(model.pipeline), exact) < 0.1
    with stepping(network, spec, replace(FP8, step_cache=True)):
        assert apart(draw(model.pipeline), exact) < 0.1
    network.to(CPU)  # as placing does with what lies there


def test_a_lora_goes_onto_eight_bits_and_off_again(eight: None, spec: ModelSpec, tmp_path: Path) -> None:
    model = load(spec, CPU, profile=FP8)
    before = draw(model.pipeline)
    known = {
        name: _lora(model.pipeline.transformer, tmp_path / f"{name}.safetensors", seed)
        for seed, name in enumerate("ab")
    }
    drawn, files = [], LoraFiles(known)
    for name in known:
        model.wardrobe.change(LoraUse(name=name, weight=1.0), files)
        drawn.append(draw(model.pipeline))
    assert len({tuple(one.flatten().tolist()) for one in (before, *drawn)}) == 3
    model.wardrobe.take_off()
    assert torch.equal(draw(model.pipeline), before)


@pytest.mark.parametrize("offload", [Offload.NONE, Offload.MODEL])
def test_four_bits_draw_what_all_bits_do_but_for_rounding(four: None, spec: ModelSpec, offload: Offload) -> None:
    from bitsandbytes.nn import Linear4bit

    exact = draw(load(spec, CPU, profile=EXACT).pipeline)
    model = load(spec, CPU, profile=replace(FOUR, offload=offload))
    for part in (model.pipeline.transformer, model.pipeline.text_encoder_2):
        assert part.is_loaded_in_4bit
        layers = [one for one in part.modules() if isinstance(one, Linear4bit)]
        assert layers
        assert {one.weight.quant_state.quant_type for one in layers} == {"nf4"}
        assert all(one.weight.quant_state.nested and one.compute_dtype is torch.bfloat16 for one in layers)
    assert model.pipeline.vae.dtype is model.pipeline.text_encoder.dtype is torch.bfloat16
    assert 0 < apart(draw(model.pipeline), exact) < 0.5
    with stepping(model.pipeline.transformer, spec, replace(FOUR, step_cache=True)):
        draw(model.pipeline)


def test_what_is_moved_in_turns_is_made_small_one_by_one(
    four: None, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both together take more than the card has, which is why they are moved in turns."""
    from diffusers import FluxPipeline

    calls: list[set[str]] = []
    plain = FluxPipeline.from_pretrained.__func__

    def noted(kind: type, folder: str, **options: Any) -> Any:
        calls.append({name for name in ("transformer", "text_encoder_2") if name not in options})
        return plain(kind, folder, **options)

    monkeypatch.setattr(FluxPipeline, "from_pretrained", classmethod(noted))
    load(spec, CPU, profile=replace(FOUR, offload=Offload.MODEL))
    assert calls == [{"text_encoder_2"}, {"transformer"}]


def test_the_libraries_take_what_they_are_given(eight: None, four: None) -> None:
    from diffusers.quantizers.quantization_config import BitsAndBytesConfig
    from torchao.quantization import Float8DynamicActivationFloat8WeightConfig, PerRow, quantize_

    inspect.signature(quantize_).bind(None, None, filter_fn=is_large, device=torch.device("cuda", 1))
    assert Float8DynamicActivationFloat8WeightConfig(granularity=PerRow()).mm_config.use_fast_accum
    assert set(NF4) <= set(inspect.signature(BitsAndBytesConfig).parameters)
    quantization = loading_options(FOUR, frozenset({"text_encoder", "text_encoder_2"}))["quantization_config"]
    assert set(quantization.components_to_quantize) == {"transformer", "text_encoder_2"}


def _lora(network: Any, file: Path, seed: int) -> Lora:
    from safetensors.torch import save_file

    chance, weights = torch.Generator().manual_seed(seed), dict[str, torch.Tensor]()
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear) and name.startswith("transformer_blocks.") and name.endswith("attn.to_q"):
            down, up = (4, module.in_features), (module.out_features, 4)
            weights[f"transformer.{name}.lora_A.weight"] = torch.randn(down, generator=chance)
            weights[f"transformer.{name}.lora_B.weight"] = torch.randn(up, generator=chance)
    save_file(weights, file)
    return Lora(file.stem, str(file))
