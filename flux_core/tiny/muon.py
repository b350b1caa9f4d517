"""Update weight matrices with orthogonalised momentum (Muon, Jordan et al. 2024), the work shared by all processes."""

import torch
import torch.distributed as dist
from torch import Tensor

_COEFFICIENTS = (3.4445, -4.775, 2.0315)
"""Quintic Newton-Schulz iteration of the Muon article (kellerjordan.github.io/posts/muon)."""


def orthogonalise(matrix: Tensor, iterations: int = 5) -> Tensor:
    """Return the matrix with its singular values brought near 1."""
    a, b, c = _COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    work = matrix.T if tall else matrix
    work = (work / (work.norm() + 1e-7)).bfloat16()
    for _ in range(iterations):
        gram = work @ work.T
        work = a * work + (b * gram + c * gram @ gram) @ work
    result: Tensor = (work.T if tall else work).float()
    return result


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum for 2-D parameters, split over the ranks of the process group when there is one."""

    def __init__(self, parameters: list[torch.nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Apply one update."""
        ranks = dist.get_world_size() if dist.is_initialized() else 1
        rank = dist.get_rank() if dist.is_initialized() else 0
        for group in self.param_groups:
            updates = []
            for index, parameter in enumerate(group["params"]):
                assert parameter.grad is not None
                momentum = self.state[parameter].setdefault("momentum", torch.zeros_like(parameter))
                momentum.lerp_(parameter.grad, 1 - group["momentum"])
                if index % ranks == rank:
                    direction = parameter.grad.lerp(momentum, group["momentum"])
                    scale = max(1.0, parameter.shape[0] / parameter.shape[1]) ** 0.5
                    updates.append(orthogonalise(direction) * scale)
                else:
                    updates.append(torch.zeros_like(parameter))
            flat = torch.cat([update.flatten() for update in updates])
            if ranks > 1:
                dist.all_reduce(flat)
            offset = 0
            for parameter in group["params"]:
                update = flat[offset : offset + parameter.numel()].view_as(parameter)
                parameter.add_(update, alpha=-group["lr"])
                offset += parameter.numel()
