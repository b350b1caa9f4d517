"""Memory that does not suffice: how that is told from other errors, and how memory is given back."""

from __future__ import annotations

import gc

import torch

SAID = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed", "allocation_failed")
"""In lower case: of torch's allocators and the driver ("CUDA error: out of memory" is no OutOfMemoryError), of cuBLAS
(CUBLAS_STATUS_ALLOC_FAILED) and of cuDNN (CUDNN_STATUS_ALLOC_FAILED, …_DEVICE_ALLOCATION_FAILED), which take their
workspace themselves."""


def ran_out(error: Exception) -> bool:
    """Say whether ``error`` means that memory did not suffice: only torch's own allocator has a class for that."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and any(one in said for one in SAID)


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
