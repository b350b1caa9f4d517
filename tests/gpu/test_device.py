"""Choosing a device, on whatever machine this is."""

from __future__ import annotations

import pytest
import torch

from flux_core.errors import ConfigurationError
from flux_core.gpu.device import choose_device, free_bytes, settle, title


def test_auto_takes_the_best_there_is() -> None:
    wanted = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert choose_device("auto").type == wanted
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "", "cuda:99", "meta", "cpu!"])
def test_a_device_that_is_not_here_is_the_operators_to_put_right(name: str) -> None:
    with pytest.raises(ConfigurationError, match="DEVICE"):
        choose_device(name)


def test_a_cpu_has_a_name_and_says_what_is_free() -> None:
    assert title(torch.device("cpu")) == "cpu"
    free = free_bytes(torch.device("cpu"))
    assert free is None or free > 0


def test_a_thread_works_on_the_card_that_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """What bitsandbytes makes would otherwise lie on the first card, whichever draws."""
    chosen: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    before = torch.get_num_threads()
    settle(torch.device("cuda", 1), 0)
    settle(torch.device("cpu"), 0)
    assert chosen == [torch.device("cuda", 1)]
    assert torch.get_num_threads() == before
