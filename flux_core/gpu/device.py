"""Where to draw, in which precision, and how much memory is left there."""

from __future__ import annotations

import shutil
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import torch

from flux_core.errors import ConfigurationError
from flux_core.gpu.main_memory import free_main_memory
from flux_core.gpu.rungs import Facts
from flux_core.settings import names_compiler


def choose_device(name: str) -> torch.device:
    """Return the device called ``name``, or the best one for "auto"; raises ConfigurationError when it is not here."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", 0)
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigurationError(f"DEVICE is {name!r}; it must be auto, cpu, mps, cuda or cuda:<number>.") from error
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise ConfigurationError(
                f"DEVICE is {name!r}, but torch sees no CUDA card. Set DEVICE=auto or check drivers."
            )
        if (device.index or 0) >= torch.cuda.device_count():
            raise ConfigurationError(f"DEVICE is {name!r}, but there are only {torch.cuda.device_count()} cards.")
        return torch.device("cuda", device.index or 0)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigurationError("DEVICE is 'mps', but this machine has no Apple GPU that torch can use.")
    if device.type not in ("cpu", "mps"):
        raise ConfigurationError(f"DEVICE is {name!r}; it must be auto, cpu, mps, cuda or cuda:<number>.")
    return device


def title(device: torch.device) -> str:
    """Return the device's name for people, such as "NVIDIA H200" or "cpu"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def answers(device: torch.device) -> bool:
    """Say whether a device still computes. After an illegal access, say, a card does nothing more for its process."""
    if device.type != "cuda":
        return True
    try:
        torch.cuda.synchronize(device)
    except RuntimeError:
        return False
    return True


def settle(device: torch.device, threads: int) -> None:
    """Let the calling thread work on ``device``, with ``threads`` of torch's; 0 leaves those as they are.

    Of several cards it becomes the current one: bitsandbytes loads onto that, and kernels are started there.
    """
    if threads:
        torch.set_num_threads(threads)
    if device.type == "cuda":
        torch.cuda.set_device(device)


def free_bytes(device: torch.device) -> int | None:
    """Return how much memory weights could still take there; None where nobody says."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    return free_main_memory()


PACKAGES = ("torchao", "bitsandbytes", "triton", "flash_attn_interface")
"""What makes drawing faster where it is installed; triton only with a C compiler, by which it starts its kernels."""


def capability(device: torch.device) -> tuple[int, int] | None:
    """Return the CUDA compute capability of a card; None for others, and for AMD's, whose numbers mean other things."""
    if device.type != "cuda" or torch.version.hip is not None:
        return None
    return torch.cuda.get_device_capability(device)


def _compiler() -> bool:
    """Say whether triton could build its launchers; where it cannot, every first drawing would try in vain."""
    if sys.platform == "win32":
        return True  # triton's builds for Windows bring a compiler along
    found = names_compiler() or any(map(shutil.which, ("gcc", "clang")))
    return found and Path(sysconfig.get_path("include"), "Python.h").is_file()


def facts_of(device: torch.device) -> Facts:
    """Return what decides how models are drawn there. What we hold there already counts as free."""
    packages = frozenset(name for name in PACKAGES if find_spec(name) is not None and (name != "triton" or _compiler()))
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return Facts(
            kind="cuda",
            name=title(device),
            total=int(total),
            free=int(free) + torch.cuda.memory_reserved(device),
            main_free=free_bytes(torch.device("cpu")),
            capability=capability(device),
            packages=packages,
        )
    if device.type == "mps":
        most = int(torch.mps.recommended_max_memory())
        return Facts(kind="mps", name="Apple GPU", total=most, free=most, packages=packages)
    return Facts(kind="cpu", name="cpu", total=None, free=free_bytes(device), packages=packages)
