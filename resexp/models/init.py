"""Weight initialisation: each parameter from its own stream, so the order of construction cannot matter."""

import math
from collections.abc import Callable
from copy import deepcopy

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


def _delta_orthogonal(weight: Tensor, generator: Generator) -> None:
    """Orthogonal at the kernel's centre and zero elsewhere, gain 1 (Xiao et al. 2018)."""
    kernel = weight.shape[2:]
    matrix = nn.init.orthogonal_(weight.new_empty(weight.shape[:2]), generator=generator)
    weight.zero_()[(slice(None), slice(None), *(size // 2 for size in kernel))] = matrix


@torch.no_grad()
def initialize(net: nn.Module, init: Init, seed: int) -> None:
    """Draw the weights of every conv and linear layer of `net` in place.

    Biases are 0, except with `default`, which draws them from the same interval as the weight.
    Norms keep weight 1 and bias 0. `lsuv` begins like `orthogonal`; `unit_variance` does the rest.
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


@torch.no_grad()
def unit_variance(net: nn.Module, images: Tensor) -> None:
    """Scale every conv and linear layer in place, so that its output on `images` has variance 1.

    The layers are scaled in the order in which they run, each behind those before it, and the variance is
    that of the output without its bias over images, channels and pixels (Mishkin and Matas 2015). A layer
    is linear, so one pass does what the paper repeats. Where a layer gives no variance its weight stays.
    Norms see batches, as in training, and what they keep is left as it was.
    """
    twin = deepcopy(net).train()
    layers = [part for part in twin.modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(_scaled) for layer in layers]
    twin(images)
    for hook in hooks:
        hook.remove()
    ours = [part for part in net.modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    for layer, source in zip(ours, layers, strict=True):
        layer.weight.copy_(source.weight)


def _scaled(layer: nn.Conv2d | nn.Linear, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """Scale the layer by its output, and return what it then gives."""
    bias = 0.0
    if layer.bias is not None:
        bias = layer.bias if isinstance(layer, nn.Linear) else layer.bias[:, None, None]
    linear = output - bias
    deviation = linear.double().std(correction=0)
    if not 0 < deviation < math.inf:
        return output
    factor = float(1 / deviation)
    layer.weight.mul_(factor)
    return linear * factor + bias


INITS: dict[Init, Callable[[Tensor, Generator], None]] = {
    "he": _he,
    "xavier": _xavier,
    "default": _default,
    "orthogonal": _orthogonal,
    "delta_orthogonal": _delta_orthogonal,
    "lsuv": _orthogonal,
}
