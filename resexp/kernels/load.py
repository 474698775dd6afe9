"""The way in: the library is built, loaded and, once in every process, compared with torch."""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from resexp.kernels.build import UnavailableError, built
from resexp.kernels.library import Library
from resexp.kernels.operations import Kernels

TOLERANCE = 2e-5
"""of a result's largest number; what the two differ by is up to 2e-6"""

Operation = Callable[..., Tensor]


@cache
def load(folder: Path, target: str = "native") -> Kernels:
    """Return the kernels, built in `folder` if they are not there. Raises UnavailableError."""
    try:
        kernels = Kernels(Library(built(folder, target)))
    except OSError as error:
        raise UnavailableError(f"the library cannot be loaded: {error}") from error
    if failed := failing(kernels):
        raise UnavailableError(f"{failed} differs from torch's")
    return kernels


def failing(kernels: Kernels) -> str | None:
    """Return the name of an operation that does not say what torch says, None if all do.

    Values and gradients of random maps with edges, and of the same with a NaN and an infinity in one image:
    where torch's are not finite these must not be, and the other images must not know of it.
    """
    rng = torch.Generator().manual_seed(0)
    normal = partial(torch.randn, generator=rng)
    for stride in (1, 2):
        inputs = [normal(64, 24, 7, 9), normal(40, 24, 3, 3), normal(40)]
        ours, torchs = partial(kernels.conv3x3, stride=stride), partial(F.conv2d, stride=stride, padding=1)
        if not (_agree(ours, torchs, inputs) and _spoilt_alike(ours, torchs, inputs)):
            return f"the convolution of stride {stride}"
    for relu in (True, False):
        inputs = [normal(3, 24, 7, 9) + 3, normal(24), normal(24), normal(3, 24, 7, 9)]
        ours, torchs = partial(_norm, kernels, relu), partial(_norm, None, relu)
        if not _agree(ours, torchs, inputs) or torch.isfinite(ours(*_spoilt(inputs))).any():
            return "the norm" + " with its ReLU" * relu
    return None


def _norm(kernels: Kernels | None, relu: bool, y: Tensor, gamma: Tensor, beta: Tensor, s: Tensor) -> Tensor:
    running = torch.zeros(len(gamma)), torch.ones(len(gamma))
    if kernels:
        z = kernels.norm_act(y, gamma, beta, running, shortcut=s, relu=relu)
    else:
        z = F.batch_norm(y, *running, gamma, beta, training=True) + s
        z = F.relu(z) if relu else z
    return z + (running[0] + running[1]).sum()  # so that they are compared, too


def _agree(ours: Operation, torchs: Operation, inputs: list[Tensor]) -> bool:
    pairs = zip(_everything(ours, inputs), _everything(torchs, inputs), strict=True)
    return all(bool((a - b).abs().max() <= TOLERANCE * b.abs().max()) for a, b in pairs)


@torch.enable_grad()
def _everything(operation: Operation, inputs: list[Tensor]) -> list[Tensor]:
    """The result and the gradients of its product with fixed numbers."""
    inputs = [tensor.clone().requires_grad_() for tensor in inputs]
    result = operation(*inputs)
    weights = torch.linspace(-1, 1, result.numel()).reshape(result.shape)
    return [result.detach(), *torch.autograd.grad((result * weights).sum(), inputs)]


def _spoilt(inputs: list[Tensor]) -> list[Tensor]:
    x = inputs[0].clone()
    x[1, :, 3, 2], x[1, :, 6, 8] = torch.nan, torch.inf
    return [x, *inputs[1:]]


def _spoilt_alike(ours: Operation, torchs: Operation, inputs: list[Tensor]) -> bool:
    a, b = ours(*_spoilt(inputs)), torchs(*_spoilt(inputs))
    return not (torch.isfinite(a) & ~torch.isfinite(b)).any() and bool(torch.isfinite(a[0::2]).all())
