"""The compiled blocks: torch follows them for real and counts its graphs; the compiler behind it is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from flux_core.catalogue import Catalogue
from flux_core.family import FLUX_DEV
from flux_core.gpu.engine import Engine
from flux_core.gpu.fitting import compile_blocks
from flux_core.gpu.loading import LoadedModel
from flux_core.gpu.modes import stepping
from flux_core.gpu.profile import Profile, Weights
from flux_core.gpu.shapes import Part, build
from flux_core.loras import Lora, LoraUse
from flux_core.models import Mode
from tests.gpu.conftest import Watcher
from tests.gpu.narrow import narrow
from tests.gpu.test_adapters import Ask, lora_file

# Who imports what follows the blocks for the first time waits for it.
pytestmark = pytest.mark.timeout(300)
PLAIN = Profile(name="plain", why="A test asks for it.", transformer=Weights.FP32)


class Compiler:
    """A backend that runs what it is given, and counts it."""

    graphs = 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: object) -> Callable[..., Any]:
        self.graphs += 1
        return graph.forward

    def during(self, action: Callable[[], object]) -> int:
        """Return how many graphs were compiled meanwhile."""
        before = self.graphs
        action()
        return self.graphs - before


@pytest.fixture
def compiler() -> Iterator[Compiler]:
    torch.compiler.reset()
    yield Compiler()
    torch.compiler.reset()


def inputs(batch: int, tokens: int, words: int = 3) -> dict[str, Any]:
    chance = torch.Generator().manual_seed(batch + tokens)
    return {
        "hidden_states": torch.randn(batch, tokens, 64, generator=chance),
        "encoder_hidden_states": torch.randn(batch, words, 64, generator=chance),
        "pooled_projections": torch.randn(batch, 64, generator=chance),
        "timestep": torch.ones(batch),
        "guidance": torch.ones(batch),
        "img_ids": torch.zeros(tokens, 3),
        "txt_ids": torch.zeros(words, 3),
        "return_dict": False,
    }


@torch.inference_mode()
def test_two_sizes_and_two_numbers_are_all_that_is_ever_compiled(compiler: Compiler) -> None:
    """They are rehearsed at the start. Any other size or number needs no more, and the step cache none of its own."""
    with narrow():
        network = build(Part.TRANSFORMER, "flux-dev", "cpu", torch.float32)
    given = [inputs(batch, tokens) for batch, tokens in [(1, 4), (1, 6), (2, 4), (1, 8), (3, 9)]]
    plain = [network(**one)[0] for one in given]
    compile_blocks(network, backend=compiler)
    for one in given[:3]:
        network(**one)
    assert compiler.graphs

    def others() -> None:
        for one, before in zip(given, plain, strict=True):
            torch.testing.assert_close(network(**one)[0], before)

    assert compiler.during(others) == 0
    spec = replace(FLUX_DEV, step_cache=1e9)

    def turbo() -> None:
        for one in given[-2:]:
            with stepping(network, spec, replace(PLAIN, step_cache=True)):
                first, again = network(**one)[0], network(**one)[0]
                torch.testing.assert_close(first, again)

    assert compiler.during(turbo) == 0
    assert compiler.during(others) == 0


def test_what_cannot_be_compiled_is_computed_as_it_is(compiler: Compiler, caplog: pytest.LogCaptureFixture) -> None:
    def broken(graph: object, inputs: object) -> Callable[..., Any]:
        raise RuntimeError("Failed to find C compiler. Please specify via CC environment variable.")

    with narrow():
        network = build(Part.TRANSFORMER, "flux-dev", "cpu", torch.float32)
    with torch.inference_mode():
        (plain,) = network(**inputs(1, 4))
        compile_blocks(network, backend=broken)
        torch.testing.assert_close(network(**inputs(1, 4))[0], plain)


def test_a_lora_takes_the_place_of_another_and_nothing_is_compiled_anew(
    compiler: Compiler, catalogue: Catalogue, ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "flux_core.gpu.fitting.compile_blocks", lambda network: compile_blocks(network, backend=compiler)
    )
    ranks = {"ink": 4, "oil": 4, "wide": 6}
    loras = {
        name: Lora(name, str(lora_file(tmp_path / f"{name}.safetensors", rank=rank, seed=rank)))
        for name, rank in ranks.items()
    }
    engine = Engine(torch.device("cpu"), profile="cpu-compiled", loras=loras)

    def draw(name: str, mode: Mode = Mode.QUALITY, weight: float = 1.0) -> None:
        use = LoraUse(name=name, weight=weight)
        request = ask(steps=2).model_copy(update={"lora": use, "mode": mode})
        engine.draw(catalogue[request.model], request, None, Watcher())

    assert compiler.during(lambda: draw("ink")) > 0
    model: LoadedModel = next(iter(engine.models.loaded.values()))
    assert model.profile.compiled
    for name, mode in [("oil", Mode.QUALITY), ("wide", Mode.QUALITY), ("ink", Mode.TURBO)]:
        assert compiler.during(lambda name=name, mode=mode: draw(name, mode)) == 0  # type: ignore[misc]
    for weight in (0.5, 1.2):
        assert compiler.during(lambda weight=weight: draw("oil", weight=weight)) == 0  # type: ignore[misc]
