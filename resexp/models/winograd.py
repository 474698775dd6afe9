"""The net's forward pass by other kernels: the same parameters, the same mathematics up to rounding.

What the kernels do not serve (widths that 8 does not divide, the stem's three channels, 1x1 shortcuts, other
norms and activations) is left to the net's own modules. The net itself stays as it is, so whoever measures
it, or copies it, has torch's operations.
"""

from torch import Tensor, nn

from resexp.kernels import Kernels
from resexp.models.blocks import Block
from resexp.models.resnet import Network

MOST_CHANNELS = 512
"""Beyond them a place's filter does not stay in a cache."""


class Winograd:
    """`net` as a function that `kernels` carry out: in float32 on a CPU, with gradients in training only."""

    def __init__(self, net: Network, kernels: Kernels) -> None:
        self._net = net
        self._kernels = kernels

    def __call__(self, images: Tensor) -> Tensor:
        stem = self._net.stem
        x = self._conv(stem.get_submodule("conv"), images)
        if hasattr(stem, "norm"):
            x = self._norm(stem.get_submodule("norm"), stem.get_submodule("activation"), x)
        for _, block in self._net.blocks():
            x = self._block(block, x)
        return self._net.classify(x)

    def _block(self, block: Block, x: Tensor) -> Tensor:
        r = x
        if block.order == "pre":
            for conv, norm in block.layers():
                r = self._conv(conv, self._norm(norm, block.activation, r))
            return block.join(x, r)
        for i, (conv, norm) in enumerate(block.layers(), start=1):
            r = self._conv(conv, r)
            if i < block.num_convs:
                r = self._norm(norm, block.activation, r)
            elif _adds_unscaled(block):
                shortcut = block.shortcut(x) if block.kind == "residual" else None
                return self._norm(norm, block.activation, r, shortcut)
            else:
                return block.after(block.join(x, self._norm(norm, nn.Identity(), r)))
        raise AssertionError("a block has convs")

    def _conv(self, conv: nn.Module, x: Tensor) -> Tensor:
        assert isinstance(conv, nn.Conv2d)
        if not _served(conv.in_channels, conv.out_channels) or conv.kernel_size != (3, 3):
            return conv(x)
        return self._kernels.conv3x3(x, conv.weight, conv.bias, conv.stride[0])

    def _norm(
        self, norm: nn.Module, activation: nn.Module, x: Tensor, shortcut: Tensor | None = None
    ) -> Tensor:
        """activation(norm(x) + shortcut), in one pass where the kernels have one."""
        relu = isinstance(activation, nn.ReLU)
        if not isinstance(norm, nn.BatchNorm2d) or not _served(norm.num_features) or _single(norm, x):
            x = norm(x)
            return activation(x if shortcut is None else x + shortcut)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert norm.momentum is not None
        x = self._kernels.norm_act(
            x,
            norm.weight,
            norm.bias,
            (norm.running_mean, norm.running_var),
            shortcut=shortcut,
            relu=relu,
            training=norm.training,
            eps=norm.eps,
            momentum=norm.momentum,
        )
        return x if relu else activation(x)


def _served(*channels: int) -> bool:
    return all(c % 8 == 0 and c <= MOST_CHANNELS for c in channels)


def _single(norm: nn.BatchNorm2d, x: Tensor) -> bool:
    """One pixel has no variance: torch says so."""
    return norm.training and x[:, 0].numel() == 1


def _adds_unscaled(block: Block) -> bool:
    return not isinstance(block.branch_scale, Tensor) and block.branch_scale == block.shortcut_scale == 1.0
