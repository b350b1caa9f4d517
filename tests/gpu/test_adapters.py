"""LoRAs change the picture while they are asked for, and not a bit of it before or after."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from flux_core.catalogue import Catalogue
from flux_core.errors import LoraUnusable
from flux_core.generation import GenerationRequest
from flux_core.gpu.engine import Engine
from flux_core.loras import Lora, LoraUse
from flux_core.tiny.architecture import build_transformer
from tests.gpu.conftest import Watcher

Ask = Callable[..., GenerationRequest]
PARTS = ("attn.to_q", "attn.to_v", "ff.net.0.proj")


def lora_file(
    file: Path,
    *,
    rank: int = 4,
    seed: int = 0,
    alpha: float | None = None,
    extra: dict[str, torch.Tensor] | None = None,
) -> Path:
    """Write a random LoRA for flux-tiny, as trainers write them: two thin matrices for each layer, and their alpha."""
    chance = torch.Generator().manual_seed(seed)
    weights: dict[str, torch.Tensor] = {}
    for name, module in build_transformer().named_modules():
        if isinstance(module, torch.nn.Linear) and name.startswith("transformer_blocks.") and name.endswith(PARTS):
            down, up = (rank, module.in_features), (module.out_features, rank)
            weights[f"transformer.{name}.lora_A.weight"] = torch.randn(down, generator=chance) * 0.2
            weights[f"transformer.{name}.lora_B.weight"] = torch.randn(up, generator=chance) * 0.2
            if alpha is not None:
                weights[f"transformer.{name}.alpha"] = torch.tensor(alpha)
    save_file(weights | (extra or {}), file)
    return file


@pytest.fixture(scope="module")
def loras(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Lora]:
    folder = tmp_path_factory.mktemp("loras")
    (folder / "ink").mkdir()
    lora_file(folder / "ink" / "weights.safetensors")
    lora_file(folder / "oil.safetensors", seed=1)
    lora_file(folder / "wide.safetensors", seed=2, rank=6)
    lora_file(folder / "loud.safetensors", seed=3, alpha=8.0)
    words = {"text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight": torch.ones(4, 96)}
    lora_file(folder / "wordy.safetensors", extra=words)
    save_file(
        {
            "transformer.transformer_blocks.0.attn.to_q.lora_A.weight": torch.ones(4, 3072),
            "transformer.transformer_blocks.0.attn.to_q.lora_B.weight": torch.ones(3072, 4),
        },
        folder / "large.safetensors",
    )
    (folder / "broken.safetensors").write_bytes(b"no weights")
    names = ("oil", "wide", "loud", "wordy", "large", "broken", "gone")
    places = {name: str(folder / f"{name}.safetensors") for name in names}
    places["ink"] = str(folder / "ink")
    return {name: Lora(name, place) for name, place in places.items()}


@pytest.fixture(scope="module")
def engine(loras: dict[str, Lora]) -> Engine:
    return Engine(torch.device("cpu"), loras=loras)


Draw = Callable[..., bytes]


@pytest.fixture
def draw(engine: Engine, catalogue: Catalogue, ask: Ask) -> Draw:
    def drawn(name: str | None = None, weight: float = 1.0, engine: Engine = engine) -> bytes:
        use = None if name is None else LoraUse(name=name, weight=weight)
        request = ask(steps=2).model_copy(update={"lora": use})
        picture: Image.Image
        (picture,) = engine.draw(catalogue[request.model], request, None, Watcher())
        return picture.tobytes()

    return drawn


def test_a_lora_changes_the_picture_and_leaves_no_trace(draw: Draw) -> None:
    never = draw(engine=Engine(torch.device("cpu")))
    assert draw() == never
    full, half = draw("ink"), draw("ink", 0.5)
    assert len({never, full, half}) == 3
    assert draw("ink") == full
    assert draw("ink", 0.0) == never
    assert draw("ink") == full
    assert draw() == never


def test_one_takes_the_place_of_another_in_the_same_layers(engine: Engine, draw: Draw) -> None:
    """Nothing that was compiled is compiled anew: the layers stay, only their numbers change."""
    oil_alone = draw("oil")
    draw()
    ink = draw("ink")
    network = next(iter(engine.models.loaded.values())).pipeline.transformer
    layers = {name: parameter for name, parameter in network.named_parameters() if "lora_" in name}
    oil = draw("oil")
    assert oil == oil_alone
    assert oil != ink
    assert layers
    assert all(dict(network.named_parameters())[name] is parameter for name, parameter in layers.items())


def test_one_of_another_rank_is_loaded_all_the_same(draw: Draw) -> None:
    alone = draw("wide")
    draw("ink", 0.7)
    assert draw("wide") == alone


def test_each_speaks_as_loudly_as_it_was_trained_whoever_came_before(draw: Draw) -> None:
    """Alpha over rank belongs to the LoRA, and not to the layers in which it takes the place of another."""
    alone, half = draw("loud"), draw("loud", 0.5)
    draw()
    ink = draw("ink")
    assert draw("loud") == alone
    draw("ink")
    assert draw("loud", 0.5) == half
    assert draw("ink") == ink


def test_what_is_for_text_encoders_is_left_aside(draw: Draw) -> None:
    assert draw("wordy") == draw("ink")


@pytest.mark.parametrize(
    ("name", "why"),
    [("large", "does not fit flux-tiny"), ("broken", "does not fit"), ("gone", "check LORAS"), ("other", "LORAS")],
)
def test_one_that_cannot_be_used_says_so_and_harms_nobody(draw: Draw, name: str, why: str) -> None:
    before = draw()
    draw("ink")
    with pytest.raises(LoraUnusable, match=why) as caught:
        draw(name)
    assert "\n" not in str(caught.value)
    assert caught.value.facts["lora"] == name
    assert draw() == before


def test_a_batch_wears_it_as_single_runs_do(
    engine: Engine, catalogue: Catalogue, ask: Ask, loras: dict[str, Lora]
) -> None:
    use = LoraUse(name="ink", weight=0.8)
    request = ask(steps=2, count=2, seed=3).model_copy(update={"lora": use})
    pair = engine.draw(catalogue[request.model], request, None, Watcher())
    for place, picture in enumerate(pair):
        alone = request.model_copy(update={"count": 1, "seed": 3 + place})
        (single,) = engine.draw(catalogue[request.model], alone, None, Watcher())
        apart = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).int() - torch.frombuffer(
            bytearray(single.tobytes()), dtype=torch.uint8
        )
        assert int(apart.abs().max()) <= 1


def test_the_file_of_a_lora_is_as_a_trainer_writes_it(loras: dict[str, Lora]) -> None:
    """Two blocks, three layers each, two matrices for each layer: the tests above change something real."""
    assert len(load_file(loras["oil"].source)) == 2 * 3 * 2
