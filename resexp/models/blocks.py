"""Blocks: a plain one and a residual one differ in one line, in `join`."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from resexp.config import Activation, Kind, Norm, Order, Shortcut
from resexp.models.plugins import own_activation


def group_norm(channels: int) -> nn.Module:
    """8 channels a group; 4 where 8 does not divide them."""
    return nn.GroupNorm(channels // (8 if channels % 8 == 0 else 4), channels)


def batch_norm(channels: int) -> nn.Module:
    """Without the counter of batches, which nothing here reads."""
    norm = nn.BatchNorm2d(channels)
    norm.num_batches_tracked = None
    return norm


def conv(channels_in: int, channels_out: int, *, kernel: int = 3, stride: int = 1, norm: Norm) -> nn.Conv2d:
    """A convolution that keeps the map's size; a bias only where no norm follows that would cancel it."""
    return nn.Conv2d(
        channels_in, channels_out, kernel, stride=stride, padding=kernel // 2, bias=norm == "none"
    )


def scaled(x: Tensor, scale: Tensor | float) -> Tensor:
    """scale * x, without a pass over the memory where scale is the number 1."""
    return x if isinstance(scale, float) and scale == 1.0 else scale * x


def make_activation(name: Activation) -> nn.Module:
    """A new module of that activation; of a word that is not among ACTIVATIONS, by import path."""
    return ACTIVATIONS[name]() if name in ACTIVATIONS else own_activation(name)


class ConvShape(NamedTuple):
    """Channels in and out, the kernel's side, and the stride of a convolution."""

    source: int
    target: int
    kernel: int
    stride: int


class PadShortcut(nn.Module):
    """Option A: every second pixel, zero channels half before and half after. No parameters."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        extra = channels_out - channels_in
        self.stride = stride
        self.pad = (0, 0, 0, 0, extra // 2, extra - extra // 2)

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], self.pad)


class ProjectionShortcut(nn.Sequential):
    """Option B: a strided 1x1 convolution; normalised in post order, where the sum is not again.

    The stride is taken before the convolution, which is the same: with it inside, oneDNN's gradient of 4 to 8
    channels last in memory writes past its buffer and takes the process down (torch 2.14.1, a CPU with AVX2).
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int, *, norm: Norm, order: Order) -> None:
        super().__init__()
        self.stride = stride
        self.add_module("conv", conv(channels_in, channels_out, kernel=1, norm=norm))
        if order == "post":
            self.add_module("norm", NORMS[norm](channels_out))

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input[:, :, :: self.stride, :: self.stride])


class Block(nn.Module):
    """y = after(join(x, R(x))), images [N, channels_in, H, W] to [N, channels_out, H / stride, W / stride].

    `post` order (He et al. 2015): R is conv, norm, activation, ..., conv, norm; after the addition the
    activation once more. `pre` order (He et al. 2016): R is norm, activation, conv, ...; nothing after.
    survival: how likely a training step keeps R (Huang et al. 2016). `kept` says whether this one does, 1 or
    0, and is `survival` itself until someone draws; in evaluation R is multiplied by `survival`.
    """

    expansion = 1
    """of a stage's width, what comes out"""
    zero_head = False
    """whether the head begins at zero"""
    only_layers = True
    """whether R is its layers and nothing else"""
    kept: Tensor

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        stride: int,
        kind: Kind,
        convs_per_block: int,
        order: Order,
        shortcut: Shortcut,
        norm: Norm,
        activation: Activation,
        branch_scale: float,
        shortcut_scale: float,
        learn_branch_scale: bool,
        survival: float = 1.0,
    ) -> None:
        super().__init__()
        self.kind = kind
        self.order = order
        self.shortcut_scale = shortcut_scale
        self.activation = make_activation(activation)
        self.num_convs = convs_per_block
        for i, shape in enumerate(self.shapes(channels_in, channels_out, stride), start=1):
            self.add_module(f"conv{i}", self.conv(*shape, norm=norm))
            self.add_module(f"norm{i}", NORMS[norm](shape.source if order == "pre" else shape.target))
        self.same_shape = stride == 1 and channels_in == channels_out
        if kind == "residual" and not self.same_shape:
            self.shortcut = SHORTCUTS[shortcut](channels_in, channels_out, stride, norm=norm, order=order)
        else:
            self.shortcut = nn.Identity()
        scale = torch.tensor(branch_scale)
        self.branch_scale = nn.Parameter(scale) if learn_branch_scale else branch_scale
        self.survival = survival
        if survival < 1:
            self.register_buffer("kept", torch.tensor(survival), persistent=False)

    def shapes(self, channels_in: int, channels_out: int, stride: int) -> "list[ConvShape]":
        """Return what each convolution is like, in depth order."""
        first = ConvShape(channels_in, channels_out, 3, stride)
        return [first] + [ConvShape(channels_out, channels_out, 3, 1)] * (self.num_convs - 1)

    def conv(self, source: int, target: int, kernel: int, stride: int, *, norm: Norm) -> nn.Conv2d:
        return conv(source, target, kernel=kernel, stride=stride, norm=norm)

    def begin(self, num_blocks: int) -> None:
        """Change the weights once they are drawn, where the block has a beginning of its own."""

    def layers(self) -> Iterator[tuple[nn.Module, nn.Module]]:
        """Yield (conv, norm) in depth order."""
        for i in range(1, self.num_convs + 1):
            yield getattr(self, f"conv{i}"), getattr(self, f"norm{i}")

    def branch(self, x: Tensor) -> Tensor:
        """R(x), before it is scaled: He's response (after norm, before non-linearity or addition)."""
        for i, (conv, norm) in enumerate(self.layers()):
            if self.order == "pre":
                x = conv(self.activation(norm(x)))
            else:
                x = norm(conv(self.activation(x) if i else x))
        return x

    def join(self, x: Tensor, r: Tensor) -> Tensor:
        """The one line that makes a residual net of a plain one."""
        r = scaled(r, self.branch_scale)
        if self.survival < 1:
            r = r * (self.kept if self.training else self.survival)
        return r if self.kind == "plain" else r + scaled(self.shortcut(x), self.shortcut_scale)

    def after(self, z: Tensor) -> Tensor:
        """What stands behind the addition: the activation in post order, nothing in pre order."""
        return self.activation(z) if self.order == "post" else z

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.join(x, self.branch(x)))


NORMS: dict[Norm, Callable[[int], nn.Module]] = {
    "batch": batch_norm,
    "none": lambda channels: nn.Identity(),
    "group": group_norm,
    "layer": partial(nn.GroupNorm, 1),
}
ACTIVATIONS: dict[Activation, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "leaky_relu": partial(nn.LeakyReLU, 0.1),
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "identity": nn.Identity,
}
SHORTCUTS: dict[Shortcut, Callable[..., nn.Module]] = {
    "pad": lambda channels_in, channels_out, stride, **_: PadShortcut(channels_in, channels_out, stride),
    "projection": ProjectionShortcut,
}
