"""The net's forward pass by other kernels: the same parameters, the same mathematics up to rounding.

What the kernels do not serve (some widths, 1x1 shortcuts, other norms and activations) is left to the net's
own modules. The net itself stays as it is, so whoever measures
it, or copies it, has torch's operations.
"""

import torch
from torch import Tensor, nn

from resexp.kernels import Operations
from resexp.models.blocks import Block, PadShortcut
from resexp.models.resnet import Network


class ByKernels:
    """`net` as a function that `kernels` carry out, with gradients in training only."""

    def __init__(self, net: Network, kernels: Operations) -> None:
        self._net = net
        self._kernels = kernels
        self._weights = [layer.weight for _, layer in net.weighted_layers() if self._serves(layer)]

    def __call__(self, images: Tensor) -> Tensor:
        self._kernels.begin(self._weights)
        stem = self._net.stem
        x = self._conv(stem.get_submodule("conv"), images)
        if hasattr(stem, "norm"):
            x = self._norm(stem.get_submodule("norm"), stem.get_submodule("activation"), x)
        for _, block in self._net.blocks():
            x = self._block(block, x)
        return self._classify(x)

    def _classify(self, x: Tensor) -> Tensor:
        """Logits, the head in float32: it is small, and rounding its weights first takes two more kernels."""
        closing = self._net.closing
        if hasattr(closing, "norm"):
            x = self._norm(closing.get_submodule("norm"), closing.get_submodule("activation"), x)
        with torch.autocast(x.device.type, enabled=False):
            return self._net.head(self._kernels.pool(x).float())

    def _block(self, block: Block, x: Tensor) -> Tensor:
        if not block.only_layers:
            return block(x)
        r = x
        if block.order == "pre":
            for conv, norm in block.layers():
                r = self._conv(conv, self._norm(norm, block.activation, r))
            return block.join(x, r)
        for i, (conv, norm) in enumerate(block.layers(), start=1):
            r, x = self._conv_and_x(conv, x) if i == 1 else (self._conv(conv, r), x)
            if i < block.num_convs:
                r = self._norm(norm, block.activation, r)
            elif _adds_unscaled(block):
                return self._norm(norm, block.activation, r, self._shortcut(block, x))
            else:
                return block.after(block.join(x, self._norm(norm, nn.Identity(), r)))
        raise AssertionError("a block has convs")

    def _shortcut(self, block: Block, x: Tensor) -> Tensor | None:
        if block.kind == "plain":
            return None
        if not isinstance(block.shortcut, PadShortcut):
            return block.shortcut(x)
        *_, before, after = block.shortcut.pad
        return self._kernels.pad_shortcut(x, block.shortcut.stride, before, after)

    def _serves(self, conv: nn.Module) -> bool:
        if not isinstance(conv, nn.Conv2d) or conv.kernel_size != (3, 3):
            return False
        return self._kernels.serves_conv(conv.in_channels, conv.out_channels, conv.stride[0])

    def _conv(self, conv: nn.Module, x: Tensor) -> Tensor:
        return self._conv_and_x(conv, x)[0]

    def _conv_and_x(self, conv: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        """conv(x) and x for the shortcut."""
        if not self._serves(conv):
            return conv(x), x
        assert isinstance(conv, nn.Conv2d)
        return self._kernels.conv3x3_and_x(x, conv.weight, conv.bias, conv.stride[0])

    def _norm(
        self, norm: nn.Module, activation: nn.Module, x: Tensor, shortcut: Tensor | None = None
    ) -> Tensor:
        """activation(norm(x) + shortcut), in one pass where the kernels have one."""
        relu = type(activation) is nn.ReLU  # a subclass may be anything
        if (
            not isinstance(norm, nn.BatchNorm2d)
            or not self._kernels.serves_norm(norm.num_features)
            or _single(norm, x)
        ):
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


def _single(norm: nn.BatchNorm2d, x: Tensor) -> bool:
    """One pixel has no variance: torch says so."""
    return norm.training and x[:, 0].numel() == 1


def _adds_unscaled(block: Block) -> bool:
    if isinstance(block.branch_scale, Tensor) or block.survival < 1:
        return False
    return block.branch_scale == block.shortcut_scale == 1.0
