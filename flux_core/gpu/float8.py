"""The rounding of a card's 8-bit products, computed in 32 bits: the same error without the card, and no speed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

LARGEST = torch.finfo(torch.float8_e4m3fn).max


def rounded(values: torch.Tensor) -> torch.Tensor:
    """Return ``values`` (…, n) as float8 E4M3 holds them with a scale for each row, in their own number type.

    As torchao's ``Float8DynamicActivationFloat8WeightConfig(granularity=PerRow())`` rounds weights and what they are
    multiplied with.
    """
    scale = values.abs().amax(dim=-1, keepdim=True).clamp(min=1e-12) / LARGEST
    return (values / scale).to(torch.float8_e4m3fn).to(values.dtype) * scale


class RoundedLinear(nn.Module):
    """A linear layer whose weights and inputs are rounded to 8 bits."""

    def __init__(self, linear: nn.Linear) -> None:
        """Take the weights of ``linear``, rounded; its bias stays as it is."""
        super().__init__()
        self.weight = nn.Parameter(rounded(linear.weight.detach()), requires_grad=False)
        self.bias = linear.bias

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Map (…, in) to (…, out)."""
        return functional.linear(rounded(values), self.weight, self.bias)


def round_linears(network: nn.Module, chosen: Callable[[nn.Module, str], bool]) -> None:
    """Replace every linear layer of ``network`` that ``chosen`` (module, its full name) names."""
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.Linear) and chosen(module, name):
            parent, _, own = name.rpartition(".")
            setattr(network.get_submodule(parent), own, RoundedLinear(module))
