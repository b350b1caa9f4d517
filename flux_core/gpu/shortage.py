"""Memory that does not suffice: how that is told from other errors, and how memory is given back."""

from __future__ import annotations

import gc

import torch


def ran_out(error: Exception) -> bool:
    """Say whether ``error`` means that memory did not suffice: only CUDA has a class of its own for that."""
    said = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and ("out of memory" in said or "can't allocate memory" in said)
    )


def first_line(error: Exception) -> str:
    """Return the first line of what an error says: torch's go on for twenty."""
    return str(error).strip().split("\n", 1)[0]


def collect(device: torch.device) -> None:
    """Give back memory that nothing refers to any more."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
