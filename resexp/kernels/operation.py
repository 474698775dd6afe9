"""What a net asks of kernels, whoever carries them out."""

import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Protocol

from torch import Tensor

Render = Callable[
    [Tensor, Tensor, Tensor, Tensor, tuple[Tensor, Tensor, Tensor, Tensor], int, bool], tuple[Tensor, Tensor]
]
"""Images uint8 [M, C, H, H], labels, mean, deviation, a draw of N, the padding's pixels, whether they are
zeros in the normalised images (else black in the raw ones): to N images and labels."""


class Operations(Protocol):
    """Convolutions and norms over maps [N, C, H, W]; those it says it serves."""

    @property
    def render(self) -> Render | None:
        """Makes a batch; None: nothing better than PyTorch's way."""
        ...

    def serves_conv(self, channels_in: int, channels_out: int, stride: int) -> bool:
        """Whether `conv3x3` is to be asked for such a convolution."""
        ...

    def serves_norm(self, channels: int) -> bool:
        """Whether `norm_act` is to be asked for so many channels."""
        ...

    def begin(self, weights: Sequence[Tensor]) -> None:
        """Take note of the weights as they are now: a forward pass begins, of convolutions that it serves."""
        ...

    def pad_shortcut(self, x: Tensor, stride: int, before: int, after: int, /) -> Tensor:
        """Return F.pad(x[:, :, ::stride, ::stride]) with zero channels before and after."""
        ...

    def pool(self, x: Tensor, /) -> Tensor:
        """Return x.mean((2, 3)), float32."""
        ...

    def conv3x3(self, x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1, /) -> Tensor:
        """Return F.conv2d(x, weight, bias, stride, padding=1)."""
        ...

    def conv3x3_and_x(
        self, x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1, /
    ) -> tuple[Tensor, Tensor]:
        """Return conv3x3(x, weight, bias, stride) and x, for whatever else x goes to."""
        ...

    def norm_act(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        running: tuple[Tensor, Tensor],
        /,
        *,
        shortcut: Tensor | None = None,
        relu: bool = True,
        training: bool = True,
        eps: float = 1e-5,
        momentum: float = 0.1,
    ) -> Tensor:
        """Return act(batch_norm(x) + shortcut), act ReLU or nothing; training moves `running`, in place."""
        ...


@cache
def triton_digest() -> str:
    """Return 12 hex digits that name the kernels in Triton: SHA-256 over their files."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("triton_*.py")):
        digest.update(f"{path.name}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]
