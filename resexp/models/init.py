"""Weight initialisation: each parameter from its own stream, so the order of construction cannot matter."""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from resexp.config import Init
from resexp.models.plugins import own_init
from resexp.seeds import derive


def _fans(weight: Tensor) -> tuple[int, int]:
    """Return (fan_in, fan_out) of a weight [out, in, *kernel]."""
    kernel = math.prod(weight.shape[2:])
    return weight.shape[1] * kernel, weight.shape[0] * kernel


def _he(weight: Tensor, generator: Generator) -> None:
    """Normal, variance 2 / fan_in (He et al. 2015, Delving Deep into Rectifiers)."""
    weight.normal_(0.0, math.sqrt(2 / _fans(weight)[0]), generator=generator)


def _xavier(weight: Tensor, generator: Generator) -> None:
    """Normal, variance 2 / (fan_in + fan_out) (Glorot and Bengio 2010)."""
    weight.normal_(0.0, math.sqrt(2 / sum(_fans(weight))), generator=generator)


def _default(weight: Tensor, generator: Generator) -> None:
    """Uniform on +-1 / sqrt(fan_in): what torch.nn gives; variance 1 / (3 fan_in)."""
    bound = 1 / math.sqrt(_fans(weight)[0])
    weight.uniform_(-bound, bound, generator=generator)


def _orthogonal(weight: Tensor, generator: Generator) -> None:
    """Orthogonal rows or columns of [out, in * kernel], gain 1 (Saxe et al. 2013)."""
    nn.init.orthogonal_(weight, generator=generator)


@torch.no_grad()
def initialize(net: nn.Module, init: Init, seed: int) -> None:
    """Draw the weights of every conv and linear layer of `net` in place.

    Biases are 0, except with `default`, which draws them from the same interval as the weight.
    Norms keep weight 1 and bias 0.
    """
    draw = INITS[init] if init in INITS else own_init(init)
    for name, layer in net.named_modules():
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            continue
        draw(layer.weight, torch.Generator().manual_seed(derive(seed, "init", f"{name}.weight")))
        if layer.bias is None:
            continue
        if init == "default":
            bound = 1 / math.sqrt(_fans(layer.weight)[0])
            generator = torch.Generator().manual_seed(derive(seed, "init", f"{name}.bias"))
            layer.bias.uniform_(-bound, bound, generator=generator)
        else:
            layer.bias.zero_()


INITS: dict[Init, Callable[[Tensor, Generator], None]] = {
    "he": _he,
    "xavier": _xavier,
    "default": _default,
    "orthogonal": _orthogonal,
}
