"""The floor under a drawing's time: the operations in its steps, and how many of them the device does in a second.

Operations are counted, not estimated: the network is run without weights on torch's meta device while torch counts the
floating-point operations of its matrix products and its attention (two for a multiplication with its addition).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

import torch
from diffusers import Flux2Transformer2DModel, FluxTransformer2DModel
from torch.utils.flop_counter import FlopCounterMode

from flux_core.gpu.device import capability
from flux_core.gpu.profile import FP8_CAPABILITY
from flux_core.models import Architecture, Operation

TOKEN_SIDE = 16
"""Pixels of a side that one token stands for: the VAE shrinks 8 times, 2 × 2 latents make a token."""
REDUX_TOKENS = 729
"""What Redux sees of a picture: SigLIP's 27 × 27 patches."""
_MATRIX_SIDE = {"cpu": 1024}
_MATRIX_SIDE_ELSEWHERE = 8192
"""Sides of the square matrices that are multiplied to measure a device: large enough that starting costs nothing."""


def transformer_of(architecture: Architecture) -> Any:
    """Return the class of the network that draws."""
    return Flux2Transformer2DModel if architecture is Architecture.KLEIN else FluxTransformer2DModel


def operations_per_step(
    architecture: Architecture, config: Mapping[str, Any], *, picture_tokens: int, word_tokens: int
) -> int:
    """Return the floating-point operations of one step of a transformer, for one picture.

    ``config``: what its config.json says; what it leaves out is the class's default. ``picture_tokens``: of what is
    drawn and of what is read beside it. All blocks of a kind are equal, so one of each is counted, and the rest.
    """
    kind = transformer_of(architecture)
    given = {name: value for name, value in config.items() if not name.startswith("_")}
    defaults = {name: one.default for name, one in signature(kind.__init__).parameters.items()}
    doubles, singles = (int(given.get(name, defaults[name])) for name in ("num_layers", "num_single_layers"))

    def counted(double: int, single: int) -> int:
        with torch.device("meta"):
            network = kind.from_config(given | {"num_layers": double, "num_single_layers": single})
            return _operations(network, picture_tokens, word_tokens)

    one = counted(1, 1)
    double, single = counted(2, 1) - one, counted(1, 2) - one
    return one + (doubles - 1) * double + (singles - 1) * single


def _operations(network: Any, picture_tokens: int, word_tokens: int) -> int:
    config = network.config
    inputs: dict[str, Any] = {
        "hidden_states": torch.empty(1, picture_tokens, config.in_channels),
        "encoder_hidden_states": torch.empty(1, word_tokens, config.joint_attention_dim),
        "timestep": torch.empty(1),
        "guidance": torch.empty(1) if config.guidance_embeds else None,
    }
    if isinstance(network, Flux2Transformer2DModel):
        places = {"img_ids": torch.empty(1, picture_tokens, 4), "txt_ids": torch.empty(1, word_tokens, 4)}
    else:
        places = {"img_ids": torch.empty(picture_tokens, 3), "txt_ids": torch.empty(word_tokens, 3)}
        inputs["pooled_projections"] = torch.empty(1, config.pooled_projection_dim)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(**inputs, **places, return_dict=False)
    return int(counter.get_total_flops())


def tokens(
    width: int, height: int, words: int, operation: Operation, read: tuple[int, int] = (1024, 1024)
) -> tuple[int, int]:
    """Return (picture tokens, word tokens) of a drawing ``width`` × ``height`` with ``words`` tokens of prompt.

    ``read``: width and height of the picture that an edit looks at.
    """
    drawn = (width // TOKEN_SIDE) * (height // TOKEN_SIDE)
    if operation is Operation.EDIT:
        return drawn + (read[0] // TOKEN_SIDE) * (read[1] // TOKEN_SIDE), words
    return drawn, words + (REDUX_TOKENS if operation is Operation.VARIATION else 0)


def matrix_rate(device: torch.device, dtype: torch.dtype, *, runs: int = 5) -> float:
    """Return the floating-point operations a second of a large product of square matrices: the median of ``runs``."""
    side = _MATRIX_SIDE.get(device.type, _MATRIX_SIDE_ELSEWHERE)
    one, other = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    return _rate(lambda: one @ other, side, device, runs)


def fp8_rate(device: torch.device, *, runs: int = 5) -> float | None:
    """Return the same for 8-bit floats, as torch multiplies them on cards that can; None elsewhere."""
    if (capability(device) or (0, 0)) < FP8_CAPABILITY:
        return None
    side = _MATRIX_SIDE_ELSEWHERE
    one, other = (torch.randn(side, side, device=device).to(torch.float8_e4m3fn) for _ in range(2))
    scale = torch.ones((), device=device)
    columns = other.t().contiguous().t()  # the second factor has to lie column by column

    def product() -> torch.Tensor:
        # Added up as torchao has it by default.
        return torch._scaled_mm(one, columns, scale, scale, out_dtype=torch.bfloat16, use_fast_accum=True)

    return _rate(product, side, device, runs)


def _rate(product: Callable[[], torch.Tensor], side: int, device: torch.device, runs: int) -> float:
    for _ in range(2):
        product()
    synchronize(device)
    seconds = []
    at_once = 1 if device.type == "cpu" else 10
    for _ in range(runs):
        began = time.perf_counter()
        for _ in range(at_once):
            product()
        synchronize(device)
        seconds.append((time.perf_counter() - began) / at_once)
    return 2 * side**3 / statistics.median(seconds)


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
