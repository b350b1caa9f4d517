"""Choosing a device, on whatever machine this is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from flux_core.errors import ConfigurationError
from flux_core.family import FLUX_DEV
from flux_core.gpu import device
from flux_core.gpu.bench import work
from flux_core.gpu.device import PACKAGES, choose_device, facts_of, free_bytes, settle, title
from flux_core.gpu.memory import Weights
from flux_core.gpu.profile import ladder
from flux_core.gpu.shortage import ran_out
from flux_core.gpu.sizes import size_of
from flux_core.models import Mode

CARD = torch.device("cuda", 0)


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


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A card of compute capability 9.0 with all packages, as far as torch and Python say."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (70 << 30, 80 << 30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a card")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    monkeypatch.setattr(device, "find_spec", lambda name: name)
    return monkeypatch


def test_the_numbers_of_a_card_of_amds_mean_other_things(card: pytest.MonkeyPatch) -> None:
    """An MI200 says 9.0 and an RX 7900 says 11.0: neither has what NVIDIA's cards of these numbers have."""
    assert facts_of(CARD).capability == (9, 0)
    card.setattr(torch.version, "hip", "7.0")
    facts = facts_of(CARD)
    assert facts.capability is None
    way = ladder(facts, size_of(FLUX_DEV), Mode.FAST)[0]
    assert (way.attention, way.transformer, way.compiled) == ("native", Weights.BF16, True)


def test_triton_counts_only_together_with_a_c_compiler(card: pytest.MonkeyPatch, tmp_path: Path) -> None:
    compiler = tmp_path / "gcc"
    compiler.touch(mode=0o755)
    headers = tmp_path / "Python.h"
    headers.touch()
    card.delenv("CC", raising=False)
    card.setattr(device.sysconfig, "get_path", lambda _: str(tmp_path))
    card.setenv("PATH", str(tmp_path))
    assert "triton" in facts_of(CARD).packages
    headers.unlink()
    assert "triton" not in facts_of(CARD).packages
    headers.touch()
    compiler.unlink()
    assert facts_of(CARD).packages == set(PACKAGES) - {"triton"}
    card.setenv("CC", "/opt/bin/cc")
    assert "triton" in facts_of(CARD).packages


def test_what_has_no_numbers_of_sixteen_bits_is_not_compiled(card: pytest.MonkeyPatch) -> None:
    for capability, compiled in [((7, 5), False), ((8, 0), True)]:
        card.setattr(torch.cuda, "get_device_capability", lambda _, capability=capability: capability)
        way = ladder(facts_of(CARD), size_of(FLUX_DEV))[0]
        assert (way.name, way.compiled) == ("bf16", compiled)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.25 GiB."),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        RuntimeError("MPS backend out of memory (MPS allocated: 20.13 GB)"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:114] data. DefaultCPUAllocator: not enough memory"),
        MemoryError(),
    ],
)
def test_memory_runs_out_in_many_words(error: Exception) -> None:
    assert ran_out(error)
    assert not ran_out(ValueError(str(error))) or isinstance(error, MemoryError)


def test_other_errors_are_no_lack_of_memory() -> None:
    for said in ("CUDA error: an illegal memory access was encountered", "out of resource: shared memory"):
        assert not ran_out(RuntimeError(said))


def test_eight_bits_are_measured_where_a_card_has_them(card: pytest.MonkeyPatch) -> None:
    """What a card multiplies, a processor does too, so that torch itself looks at how it is asked."""
    assert work.fp8_rate(torch.device("cpu")) is None
    card.setattr(work, "capability", lambda _: (8, 9))
    card.setattr(work, "_MATRIX_SIDE_ELSEWHERE", 64)
    rate = work.fp8_rate(torch.device("cpu"), runs=1)
    assert rate is not None
    assert rate > 0
