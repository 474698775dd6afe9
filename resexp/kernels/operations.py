"""The kernels as operations that autograd knows."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from resexp.kernels.library import Library, channels_last

MOST_CHANNELS = 512
"""Beyond them a place's filter does not stay in a cache."""


class _Conv3x3(torch.autograd.Function):
    """The convolution and x itself: what comes back for x is added where its gradient is written."""

    @staticmethod
    def forward(
        ctx: Any, library: Library, x: Tensor, w: Tensor, bias: Tensor | None, stride: int
    ) -> tuple[Tensor, Tensor]:
        kept, x, w = x.view_as(x), channels_last(x), channels_last(w)
        ctx.library, ctx.stride = library, stride
        ctx.save_for_backward(x, w)
        ctx.set_materialize_grads(False)
        return library.conv(x, w, bias, stride), kept

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        dy, plus = gradients
        if dy is None:
            return None, plus, None, None, None
        x, w = ctx.saved_tensors
        _, for_x, _, for_bias, _ = ctx.needs_input_grad
        plus = None if plus is None else channels_last(plus)
        dx, dw = ctx.library.conv_gradients(channels_last(dy), x, w, ctx.stride, for_x=for_x, plus=plus)
        return None, dx, dw, dy.sum((0, 2, 3)) if for_bias else None, None


class _NormAct(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        library: Library,
        y: Tensor,
        s: Tensor | None,
        gamma: Tensor,
        beta: Tensor,
        running: tuple[Tensor, Tensor],
        eps: float,
        momentum: float,
        relu: bool,
    ) -> Tensor:
        y, s = channels_last(y), None if s is None else channels_last(s)
        z, *statistics = library.norm(y, s, gamma, beta, running, eps=eps, momentum=momentum, relu=relu)
        ctx.library, ctx.relu = library, relu
        ctx.save_for_backward(y, z if relu else y, gamma, *statistics)
        return z

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        (dz,) = gradients
        dy, ds, dgamma, dbeta = ctx.library.norm_gradients(
            channels_last(dz), *ctx.saved_tensors, relu=ctx.relu, for_s=ctx.needs_input_grad[2]
        )
        return None, dy, ds, dgamma, dbeta, None, None, None, None


class Kernels:
    """Operations on float32 maps [N, C, H, W] on a CPU, C a multiple of 8, any H and W; once differentiable.

    Bits are the same from run to run and from process to process, for one number of threads. Subnormal
    numbers count as zero where, and only where, the calling thread has it so.
    """

    def __init__(self, library: Library) -> None:
        self._library = library

    @property
    def render(self) -> None:
        """A batch is made in PyTorch's way."""

    def serves_conv(self, channels_in: int, channels_out: int, stride: int) -> bool:
        """Whether 8 divides the channels, and a place's filter stays in a cache."""
        return all(self.serves_norm(channels) for channels in (channels_in, channels_out))

    def serves_norm(self, channels: int) -> bool:
        return channels % 8 == 0 and channels <= MOST_CHANNELS

    def begin(self, weights: Sequence[Tensor]) -> None:
        """Weights are read where they lie."""

    def pad_shortcut(self, x: Tensor, stride: int, before: int, after: int) -> Tensor:
        """Return F.pad(x[:, :, ::stride, ::stride]) with zero channels before and after."""
        return F.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, before, after))

    def pool(self, x: Tensor) -> Tensor:
        """Return x.mean((2, 3))."""
        return x.mean((2, 3))

    def conv3x3(self, x: Tensor, w: Tensor, bias: Tensor | None = None, stride: int = 1) -> Tensor:
        """Return F.conv2d(x, w, bias, stride, padding=1); w [K, C, 3, 3], K a multiple of 8, stride 1 or 2.

        What is not finite in x reaches its whole tile of 4 x 4 outputs, and as NaN. A single image, fewer
        than 128 tiles, and 8 channels of 4 x 4 pixels are torch's: of so few products it rounds less.
        """
        return self.conv3x3_and_x(x, w, bias, stride)[0]

    def conv3x3_and_x(
        self, x: Tensor, w: Tensor, bias: Tensor | None = None, stride: int = 1
    ) -> tuple[Tensor, Tensor]:
        """Return conv3x3(x, w, bias, stride) and x, so that the two gradients of x are summed in one pass."""
        if not self._library.pays(x, w, stride):
            return F.conv2d(x, w, bias, stride, padding=1), x
        return _Conv3x3.apply(self._library, x, w, bias, stride)  # pyright: ignore[reportReturnType]

    def norm_act(
        self,
        y: Tensor,
        gamma: Tensor,
        beta: Tensor,
        running: tuple[Tensor, Tensor],
        *,
        shortcut: Tensor | None = None,
        relu: bool = True,
        training: bool = True,
        eps: float = 1e-5,
        momentum: float = 0.1,
    ) -> Tensor:
        """Return act(batch_norm(y) + shortcut), act ReLU or nothing.

        running: mean and variance; training moves them as F.batch_norm does, evaluation uses them, and then
        no gradient is known.
        """
        if training:
            return _NormAct.apply(  # pyright: ignore[reportReturnType]
                self._library, y, shortcut, gamma, beta, running, eps, momentum, relu
            )
        y, s = channels_last(y), None if shortcut is None else channels_last(shortcut)
        return self._library.norm_by(y, s, gamma, beta, running[0], (running[1] + eps).rsqrt(), relu=relu)
