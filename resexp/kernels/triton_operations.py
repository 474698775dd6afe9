"""The Triton kernels as operations that autograd knows, and what they tell one another.

A convolution notes the moments of its output for the norm behind it; its backward notes the sums that the
gradient of the norm before it takes. The norm's output goes out twice, once for a convolution and once for a
shortcut, so that their two gradients come back apart and are added where they are read. Each of these saves
a pass over a map; each is a hint that nobody needs to take up.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.utils.weak import WeakIdKeyDictionary

from resexp.kernels import triton_conv as conv
from resexp.kernels import triton_maps as maps
from resexp.kernels import triton_norm as norm
from resexp.kernels.library import channels_last
from resexp.kernels.triton_conv_weights import weight_gradient
from resexp.kernels.triton_norm_gradients import norm_gradients, reduced
from resexp.kernels.triton_parts import Normed, Sums
from resexp.kernels.triton_plans import NORM_CHANNELS, PLANS, Plans, plans_for


class Letter:
    """From the convolution behind a norm to that norm, in backward: the sums of its gradient."""

    def __init__(self, normed: Normed) -> None:
        self._normed: Normed | None = normed
        self._slope: Tensor | None = None
        self._version = 0
        self._sums: Sums | None = None

    @property
    def normed(self) -> Normed | None:
        return self._normed

    def decline(self) -> None:
        """Want nothing: the norm's output has other readers, too."""
        self._normed = None

    def write(self, slope: Tensor, sums: Sums | None) -> None:
        self._slope, self._version, self._sums = slope, slope._version, sums

    def read(self, slope: Tensor) -> Sums | None:
        """The sums, if they are of this very slope: nobody else's was added to it, in place or not."""
        mine, sums = self._slope, self._sums
        self._normed = self._slope = self._sums = None
        if mine is None or mine._version != self._version or mine.stride() != slope.stride():
            return None
        return sums if mine.data_ptr() == slope.data_ptr() else None


class Aside:
    """A second stream for what nobody waits for until the backward pass ends: weight gradients."""

    def __init__(self) -> None:
        self._stream: torch.cuda.Stream | None = None
        self._held: list[Tensor] = []

    def __call__(self, work: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
        """Do `work(*tensors)` beside the current stream, which waits for it when backward ends."""
        self._stream = self._stream or torch.cuda.Stream()
        main = torch.cuda.current_stream()
        if not self._held:
            torch.autograd.Variable._execution_engine.queue_callback(lambda: self._join(main))  # pyright: ignore
        self._held += tensors  # their memory is not to be used again before
        self._stream.wait_stream(main)
        with torch.cuda.stream(self._stream):
            return work(*tensors)

    def _join(self, main: torch.cuda.Stream) -> None:
        assert self._stream is not None
        main.wait_stream(self._stream)
        self._held.clear()


def _readable(slope: Tensor) -> Tensor:
    return slope if norm.is_expanded(slope) else channels_last(slope)


class _Conv3x3(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        master: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: int,
        plans: Plans,
        moments: bool,
        letter: Letter | None,
        aside: Aside | None,
    ) -> tuple[Tensor, Sums | None]:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.plans, ctx.letter, ctx.aside = stride, plans, letter, aside
        return conv.output(x, weight, bias, stride, plans.output, moments=moments)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        dy = channels_last(gradients[0])
        x, weight = ctx.saved_tensors
        dx = dw = db = None

        def of_weight(x: Tensor, dy: Tensor) -> Tensor:
            return weight_gradient(x, dy, ctx.stride, ctx.plans.weight)

        if ctx.needs_input_grad[1]:
            dw = ctx.aside(of_weight, x, dy) if ctx.aside else of_weight(x, dy)
        if ctx.needs_input_grad[3]:
            db = dy.sum((0, 2, 3), dtype=torch.float32)
        if ctx.needs_input_grad[0]:
            normed = ctx.letter.normed if ctx.letter else None
            dx, sums = conv.input_gradient(dy, weight, ctx.stride, ctx.plans.input, normed)
            if normed:
                ctx.letter.write(dx, sums)
        return dx, dw, None, db, None, None, None, None, None


class _NormAct(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        shortcut: Tensor | None,
        weight: Tensor,
        bias: Tensor,
        running: tuple[Tensor, Tensor],
        sums: Sums | None,
        relu: bool,
        eps: float,
        momentum: float,
    ) -> tuple[Tensor, Tensor, Letter | None]:
        sums = sums or norm.map_sums(x)
        z, statistics = norm.normalised(
            x, shortcut, weight, bias, running, sums, relu=relu, eps=eps, momentum=momentum
        )
        ctx.relu, ctx.added = relu, shortcut is not None
        ctx.letter = None if ctx.added else Letter(Normed(x, statistics, weight, bias, relu))
        ctx.save_for_backward(x, statistics, weight, bias, *([z] if ctx.added and relu else []))
        ctx.set_materialize_grads(False)
        return z, z.data, ctx.letter

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        dz, also = (None if slope is None else _readable(slope) for slope in gradients[:2])
        if dz is None:
            dz, also = also, None
        if dz is None:
            return (None,) * 9
        x, statistics, weight, bias, *z = ctx.saved_tensors
        normed = Normed(x, statistics, weight, bias, ctx.relu)
        sums = ctx.letter.read(dz) if ctx.letter and also is None else None
        shortcut = None
        if sums is None:
            also = None if also is None else channels_last(also)
            keep = also is not None or ctx.added
            slope, sums = reduced(dz, also, normed, *(z or [None]), keep=keep)
            if slope is not None:
                dz, normed = slope, normed._replace(relu=False)
                shortcut = slope if ctx.needs_input_grad[1] else None
        dx, dweight, dbias = norm_gradients(dz, normed, sums)
        return dx, shortcut, dweight, dbias, None, None, None, None, None


class TritonKernels:
    """Operations on bfloat16 maps [N, C, H, W] on a GPU, channels last, with float32 weights and statistics.

    The same bits from run to run. Weights' gradients are float32. `aside`: weight gradients in a stream of
    their own; `letters`: backward convolutions take the sums for the norm before them. `dtype`: of the maps.
    """

    def __init__(
        self, *, aside: bool = True, letters: bool = True, dtype: torch.dtype = torch.bfloat16
    ) -> None:
        self._dtype = dtype
        self._aside = Aside() if aside else None
        self._letters = letters
        self._rounded = WeakIdKeyDictionary()
        self._sums = WeakIdKeyDictionary()
        self._twins = WeakIdKeyDictionary()
        self._letter_of = WeakIdKeyDictionary()

    def serves_conv(self, channels_in: int, channels_out: int, stride: int) -> bool:
        """Whether there is a plan for such a convolution."""
        return (channels_in, channels_out, stride) in PLANS

    def serves_norm(self, channels: int) -> bool:
        return channels in NORM_CHANNELS

    def begin(self, weights: Sequence[Tensor]) -> None:
        """Round the weights for the forward and backward pass that follows, all at once."""
        with torch.inference_mode(False), torch.no_grad():
            for weight in weights:
                if weight not in self._rounded:
                    self._rounded[weight] = torch.empty_like(weight, dtype=self._dtype)
            rounded = [self._rounded[weight] for weight in weights]
            torch._foreach_copy_(rounded, [weight.detach() for weight in weights])  # pyright: ignore[reportPrivateImportUsage]

    def render(
        self,
        images: Tensor,
        labels: Tensor,
        mean: Tensor,
        deviation: Tensor,
        draw: tuple[Tensor, Tensor, Tensor, Tensor],
        pad: int,
        zeros: bool,
    ) -> tuple[Tensor, Tensor]:
        """Return a batch as `conv3x3` takes it: images padded, cropped, mirrored, normalised."""
        return maps.rendered(images, labels, mean, deviation, draw, pad, zeros, self._dtype)

    def pad_shortcut(self, x: Tensor, stride: int, before: int, after: int) -> Tensor:
        """Return F.pad(x[:, :, ::stride, ::stride]) with zero channels before and after."""
        x = self._other(x)
        return maps.PadShortcutFunction.apply(x, stride, before, after)  # pyright: ignore[reportReturnType]

    def pool(self, x: Tensor) -> Tensor:
        """Return x.mean((2, 3)), in float32."""
        return maps.PoolFunction.apply(x)  # pyright: ignore[reportReturnType]

    def conv3x3(self, x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1) -> Tensor:
        """Return F.conv2d(x, weight, bias, stride, padding=1)."""
        letter = self._letter_of.get(x) if self._letters else None
        used = self._rounded.get(weight, weight)
        x = channels_last(x.to(self._dtype))
        plans = plans_for(x, weight, stride)
        if plans is None:
            return F.conv2d(x, weight.to(x.dtype), bias if bias is None else bias.to(x.dtype), stride, 1)
        y, sums = _Conv3x3.apply(
            x, weight, used, bias, stride, plans, torch.is_grad_enabled(), letter, self._aside
        )  # pyright: ignore[reportGeneralTypeIssues]
        if sums is not None:
            self._sums[y] = sums
        return y

    def conv3x3_and_x(
        self, x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1
    ) -> tuple[Tensor, Tensor]:
        """Return conv3x3(x, weight, bias, stride) and x."""
        return self.conv3x3(x, weight, bias, stride), x

    def norm_act(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        running: tuple[Tensor, Tensor],
        *,
        shortcut: Tensor | None = None,
        relu: bool = True,
        training: bool = True,
        eps: float = 1e-5,
        momentum: float = 0.1,
    ) -> Tensor:
        """Return act(batch_norm(x) + shortcut), act ReLU or nothing.

        running: mean and variance; training moves them as F.batch_norm does, evaluation uses them, and then
        no gradient is known.
        """
        sums = self._sums.pop(x, None)
        x, how = channels_last(x), {"relu": relu, "eps": eps, "momentum": momentum}
        shortcut = None if shortcut is None else self._other(shortcut)
        if not training:
            return norm.normalised(x, shortcut, weight, bias, running, None, **how)[0]
        z, twin, letter = _NormAct.apply(x, shortcut, weight, bias, running, sums, relu, eps, momentum)  # pyright: ignore[reportGeneralTypeIssues]
        self._twins[z] = twin
        if letter:
            self._letter_of[z] = letter
        return z

    def _other(self, x: Tensor) -> Tensor:
        """x for a reader beside a convolution: the norm's second output, where x is its first."""
        if letter := self._letter_of.get(x):
            letter.decline()
        twin: Tensor | None = self._twins.pop(x, None)
        return channels_last(x if twin is None else twin)
