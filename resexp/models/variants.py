"""Variants of the block that papers compare: bottleneck, squeeze-and-excitation, highway, Fixup."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from resexp.config import BlockName, Norm
from resexp.models.blocks import Block, ConvShape

REDUCTION = 16
GATE_BIAS = -2.0


class Bottleneck(Block):
    """1x1, 3x3, 1x1 with a quarter of the channels inside (He et al. 2015, section 4.1; 2016, Fig. 1).

    The stride is the 3x3's.
    """

    expansion = 4

    def shapes(self, channels_in: int, channels_out: int, stride: int) -> list[ConvShape]:
        inside = channels_out // self.expansion
        return [
            ConvShape(channels_in, inside, 1, 1),
            ConvShape(inside, inside, 3, stride),
            ConvShape(inside, channels_out, 1, 1),
        ]


class SqueezeExcite(Block):
    """R(x) with a gain in (0, 1) for each channel, by its means over the map (Hu et al. 2018).

    Two linear layers without bias, a sixteenth of the channels between them, one at least.
    """

    only_layers = False

    def __init__(self, channels_in: int, channels_out: int, **axes: object) -> None:
        super().__init__(channels_in, channels_out, **axes)  # pyright: ignore[reportArgumentType]
        inside = max(1, channels_out // REDUCTION)
        self.squeeze = nn.Linear(channels_out, inside, bias=False)
        self.excite = nn.Linear(inside, channels_out, bias=False)

    def branch(self, x: Tensor) -> Tensor:
        r = super().branch(x)
        gain = self.excite(self.squeeze(r.mean(dim=(2, 3))).relu()).sigmoid()
        return r * gain[:, :, None, None]


class Highway(Block):
    """y = R(x) T(x) + x (1 - T(x)), T the sigmoid of a convolution (Srivastava et al. 2015).

    The gates' biases begin at -2, so that most of x is carried on.
    """

    only_layers = False

    def __init__(
        self, channels_in: int, channels_out: int, *, stride: int, norm: Norm, **axes: object
    ) -> None:
        super().__init__(channels_in, channels_out, stride=stride, norm=norm, **axes)  # pyright: ignore[reportArgumentType]
        self.gate = nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1)

    @torch.no_grad()
    def begin(self, num_blocks: int) -> None:
        assert self.gate.bias is not None
        self.gate.bias.fill_(GATE_BIAS)

    def join(self, x: Tensor, r: Tensor) -> Tensor:
        open_ = self.gate(x).sigmoid()
        return r * open_ + self.shortcut(x) * (1 - open_)


class Fixup(Block):
    """No norm: scalar biases, a scalar gain, and weights that begin small (Zhang et al. 2019, section 3).

    In a net of L such blocks of m convolutions the first m - 1 begin at He's scale times L^(-1 / (2m - 2)),
    the last at zero, and so does the head. A bias stands before each convolution and each activation. All
    learn at the same rate, where the paper gives the scalars a tenth of it.
    """

    zero_head = True
    only_layers = False

    def __init__(self, channels_in: int, channels_out: int, **axes: object) -> None:
        super().__init__(channels_in, channels_out, **axes)  # pyright: ignore[reportArgumentType]
        self.before = nn.Parameter(torch.zeros(self.num_convs))
        self.behind = nn.Parameter(torch.zeros(self.num_convs))
        self.gain = nn.Parameter(torch.ones(()))

    def conv(self, source: int, target: int, kernel: int, stride: int, *, norm: Norm) -> nn.Conv2d:
        return nn.Conv2d(source, target, kernel, stride=stride, padding=kernel // 2, bias=False)

    @torch.no_grad()
    def begin(self, num_blocks: int) -> None:
        *convs, last = (conv for conv, _ in self.layers())
        for conv in convs:
            conv.get_parameter("weight").mul_(num_blocks ** (-1 / (2 * self.num_convs - 2)))
        last.get_parameter("weight").zero_()

    def branch(self, x: Tensor) -> Tensor:
        for i, (conv, _) in enumerate(self.layers()):
            x = conv((self.activation(x) if i else x) + self.before[i])
            if i + 1 < self.num_convs:
                x = x + self.behind[i]
        return x * self.gain + self.behind[-1]


BLOCK_CLASSES: Mapping[BlockName, type[Block]] = {
    "basic": Block,
    "bottleneck": Bottleneck,
    "squeeze_excite": SqueezeExcite,
    "highway": Highway,
    "fixup": Fixup,
}
