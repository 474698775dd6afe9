"""L2 norms that do not underflow: a gradient of 4e-24 squared is zero in float32, so squares are float64."""

from collections.abc import Sequence

import torch
from torch import Tensor


def norms(tensors: Sequence[Tensor]) -> Tensor:
    """Return the L2 norm of each tensor, float64 [len(tensors)], on their device and without a sync."""
    if not tensors:
        return torch.empty(0, dtype=torch.float64)
    found = torch._foreach_norm(list(tensors), 2, torch.float64)  # pyright: ignore[reportPrivateImportUsage]
    return torch.stack(found)


def weight_gradient_norms(weights: Sequence[Tensor]) -> Tensor:
    """Return the L2 norm of each weight's gradient, float64 [L]. Call it after backward, before the step."""
    return norms([weight.grad for weight in weights if weight.grad is not None])
