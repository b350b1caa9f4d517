"""What torch has compiled is kept in the data folder over restarts; what cannot be read is compiled anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch._dynamo.utils import counters

from flux_core.worker.process import _keep_compiled


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    _keep_compiled(tmp_path / "compiled")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", os.environ["TORCHINDUCTOR_CACHE_DIR"])  # to be undone
    return tmp_path / "compiled"


def test_the_operators_own_place_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/var/cache/torch")
    _keep_compiled(tmp_path / "compiled")
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "/var/cache/torch"


def test_a_place_that_cannot_be_had_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    (tmp_path / "file").touch()
    _keep_compiled(tmp_path / "file" / "compiled")
    assert "TORCHINDUCTOR_CACHE_DIR" not in os.environ


def computed() -> tuple[torch.Tensor, int, int]:
    """Compile a product as a process that has just begun would; return what it computes, and hits and misses.

    Of a matrix product nothing is left to a C++ compiler, which would take a minute.
    """
    torch._dynamo.reset()
    counters.clear()
    found = torch.compile(lambda x: torch.mm(x, x))(torch.arange(16.0).view(4, 4))
    seen = counters["inductor"]
    return found, seen["fxgraph_cache_hit"], seen["fxgraph_cache_miss"]


def test_what_was_compiled_is_found_again_unless_it_is_damaged(folder: Path) -> None:
    first, hits, misses = computed()
    assert (hits, misses > 0) == (0, True)
    again, hits, misses = computed()
    assert (hits > 0, misses) == (True, 0)
    assert torch.equal(first, again)
    kept = [file for file in folder.rglob("*") if file.is_file()]
    assert kept
    for file in kept:
        file.write_bytes(b"of another torch, or broken off")
    anew, hits, misses = computed()
    assert (hits, misses > 0) == (0, True)
    assert torch.equal(first, anew)
