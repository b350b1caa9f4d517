"""What a graphics card says of itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from flux_core.gpu.card import Card
from flux_core.gpu.device import choose_device
from flux_core.metrics.definitions import GPU_BUSY, GPU_MEMORY


def told(device: str) -> dict[tuple[str, str], float]:
    families = list(Card(torch.device(device)).collect())
    return {(one.name, one.labels.get("kind", "")): one.value for family in families for one in family.samples}


def test_a_cpu_says_nothing() -> None:
    assert told("cpu") == {}


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A card of 80 GB, as far as torch says."""
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (30 << 30, 80 << 30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 48 << 30)
    monkeypatch.setattr(torch.cuda, "utilization", lambda _: 75)
    return monkeypatch


def test_a_card_that_is_in_use(driver: pytest.MonkeyPatch) -> None:
    memory = GPU_MEMORY.name
    assert told("cuda:0") == {
        (memory, "used"): 50 << 30,
        (memory, "total"): 80 << 30,
        (memory, "ours"): 48 << 30,
        (GPU_BUSY.name, ""): 0.75,
    }


def test_a_card_that_nothing_was_drawn_on_is_not_woken(driver: pytest.MonkeyPatch) -> None:
    driver.setattr(torch.cuda, "is_initialized", lambda: False)
    assert told("cuda:0") == {}


def test_a_driver_that_does_not_say_how_busy_it_is(driver: pytest.MonkeyPatch) -> None:
    def refuses(_: Any) -> int:
        raise RuntimeError("Not Supported")

    driver.setattr(torch.cuda, "utilization", refuses)
    assert {name for name, _ in told("cuda:0")} == {GPU_MEMORY.name}


def test_the_card_of_this_machine_if_it_has_one() -> None:
    device = choose_device("auto")
    torch.zeros(1 << 20, device=device)
    said = told(str(device))
    if device.type != "cuda":
        assert said == {}
        return
    assert 0 < said[GPU_MEMORY.name, "ours"] <= said[GPU_MEMORY.name, "used"] <= said[GPU_MEMORY.name, "total"]
    assert 0 <= said.get((GPU_BUSY.name, ""), 0.0) <= 1
