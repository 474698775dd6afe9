"""Batches, shortcuts and pooling in Triton: what PyTorch makes of a dozen small kernels, one kernel each."""

# Triton compiles the kernels itself, in a dialect whose ranges and launch options pyright does not know.
# pyright: reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from resexp.kernels.triton_parts import launched, wait_for_last


@triton.jit
def _render(
    images,  # uint8 [M, CHANNELS, SIZE, SIZE]
    labels,
    mean,
    deviation,
    indices,
    top,
    left,
    flip,
    out,  # [N, SIZE, SIZE, CHANNELS]
    labels_out,
    CHANNELS: tl.constexpr,
    SIZE: tl.constexpr,
    PAD: tl.constexpr,
    PER_PIXEL: tl.constexpr,
    ZEROS: tl.constexpr,
    BLOCK: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    """One image's crop, mirrored or not, normalised; beyond its edge it is black, with ZEROS 0 in the end.

    With ZEROS a pixel's own mean is that of where it comes from, else of where it goes.
    """
    wait_for_last(OVERLAP)
    n = tl.program_id(0)
    image = tl.load(indices + n)
    pixel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    column = pixel % SIZE
    column = tl.where(tl.load(flip + n) == 1, SIZE - 1 - column, column) + tl.load(left + n) - PAD
    row = pixel // SIZE + tl.load(top + n) - PAD
    inside = (row >= 0) & (row < SIZE) & (column >= 0) & (column < SIZE) & (pixel < SIZE * SIZE)
    there = pixel < SIZE * SIZE
    for c in tl.static_range(CHANNELS):
        source = images + (image * CHANNELS + c) * (SIZE * SIZE) + row * SIZE + column
        value = tl.load(source, mask=inside, other=0).to(tl.float32)
        if PER_PIXEL:
            own, known = (row * SIZE + column, inside) if ZEROS else (pixel, there)
            value -= tl.load(mean + c * (SIZE * SIZE) + own, mask=known, other=0)
        else:
            value -= tl.load(mean + c)
        value = tl.div_rn(value, tl.load(deviation + c))
        if ZEROS:
            value = tl.where(inside, value, 0.0)
        target = out + (n * (SIZE * SIZE) + pixel) * CHANNELS + c
        tl.store(target, value.to(out.dtype.element_ty), mask=there)
    if tl.program_id(1) == 0:
        tl.store(labels_out + n, tl.load(labels + image))


@triton.jit
def _strided(
    x,
    y,
    num_pixels,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    CHANNELS: tl.constexpr,
    SOURCE_HEIGHT: tl.constexpr,
    SOURCE_WIDTH: tl.constexpr,
    SOURCE_CHANNELS: tl.constexpr,
    STRIDE: tl.constexpr,
    SPREAD: tl.constexpr,
    FIRST: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    """y at a pixel: x at STRIDE times it, from channel FIRST on; with SPREAD back to where it came from.

    y [N, HEIGHT, WIDTH, CHANNELS], x the same with SOURCE_; what has no source is 0.
    """
    wait_for_last(OVERLAP)
    pixel = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    c = tl.arange(0, COLUMNS)
    column, row, image = pixel % WIDTH, pixel // WIDTH % HEIGHT, pixel // (WIDTH * HEIGHT)
    there = pixel < num_pixels
    if SPREAD:
        there &= (column % STRIDE == 0) & (row % STRIDE == 0)
        column, row, channel = column // STRIDE, row // STRIDE, c + FIRST
    else:
        column, row, channel = column * STRIDE, row * STRIDE, c - FIRST
    place = ((image * SOURCE_HEIGHT + row) * SOURCE_WIDTH + column) * SOURCE_CHANNELS
    has_source = there[:, None] & ((channel >= 0) & (channel < SOURCE_CHANNELS))[None, :]
    value = tl.load(x + place[:, None] + channel[None, :], mask=has_source, other=0)
    target = y + pixel[:, None] * CHANNELS + c[None, :]
    tl.store(target, value, mask=(pixel < num_pixels)[:, None] & (c < CHANNELS)[None, :])


@triton.jit
def spread_out(
    dy,  # [N, HO, WO, K]
    w,
    dx,  # [N, 2 HO, 2 WO, C]
    num_groups,
    w_out,
    w_in,
    w_row,
    w_column,
    HO: tl.constexpr,
    WO: tl.constexpr,
    K: tl.constexpr,
    C: tl.constexpr,
    ABREAST: tl.constexpr,
    DEPTH: tl.constexpr,
    C_BLOCK: tl.constexpr,
    BLOCK: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    """The input gradient at stride 2: row 2a + r of dx meets row a + p of dy in tap 1 + r - 2p."""
    wait_for_last(OVERLAP)
    depth = tl.arange(0, DEPTH)
    i, k = depth // K, depth % K
    width = tl.arange(0, 2 * ABREAST * C_BLOCK)
    j, c = width // C_BLOCK, width % C_BLOCK + tl.program_id(1) * C_BLOCK
    tap = 1 + j[None, :] - 2 * i[:, None]
    inside = (i < ABREAST + 1)[:, None] & (c < C)[None, :]
    meets = (tap >= 0) & (tap < 3) & inside
    corner = w + (k[:, None] * w_out + c[None, :] * w_in) + tap * w_column
    w0 = tl.load(corner, mask=meets, other=0).to(dy.dtype.element_ty)
    w1 = tl.load(corner + w_row, mask=meets, other=0).to(dy.dtype.element_ty)
    w2 = tl.load(corner + 2 * w_row, mask=meets, other=0).to(dy.dtype.element_ty)
    group = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    left = group % (WO // ABREAST) * ABREAST
    line = group // (WO // ABREAST)  # a row of an image of dy
    column = left[:, None] + i[None, :]
    there = (column < WO) & (i < ABREAST + 1)[None, :] & (group < num_groups)[:, None]
    source = dy + ((line * WO + left) * K)[:, None] + depth[None, :]
    dy0 = tl.load(source, mask=there, other=0)
    dy1 = tl.load(source + WO * K, mask=there & (line % HO < HO - 1)[:, None], other=0)
    even = tl.dot(dy0, w1, input_precision="ieee")
    odd = tl.dot(dy0, w2, input_precision="ieee")
    odd = tl.dot(dy1, w0, odd, input_precision="ieee")
    target = dx + ((line * 2 * 2 * WO + left * 2) * C)[:, None] + (j * C + c)[None, :]
    mask = (group < num_groups)[:, None] & (c < C)[None, :]
    tl.store(target, even.to(dx.dtype.element_ty), mask=mask)
    tl.store(target + 2 * WO * C, odd.to(dx.dtype.element_ty), mask=mask)


def rendered(
    images: Tensor,
    labels: Tensor,
    mean: Tensor,
    deviation: Tensor,
    draw: tuple[Tensor, Tensor, Tensor, Tensor],
    pad: int,
    zeros: bool,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """The batch of a draw (indices, top, left, flip): images [N, C, H, H], channels last, and labels.

    mean [C, 1, 1] or [C, H, H], deviation [C, 1, 1]: float32. `pad` pixels of black, or of zeros when all is
    normalised.
    """
    num, (_, channels, size, _) = len(draw[0]), images.shape
    out = torch.empty(num, size, size, channels, dtype=dtype, device=images.device)
    labels_out = torch.empty(num, dtype=labels.dtype, device=labels.device)
    block = min(1024, triton.next_power_of_2(size * size))
    _render[(num, triton.cdiv(size * size, block))](
        images,
        labels,
        mean,
        deviation,
        *draw,
        out,
        labels_out,
        CHANNELS=channels,
        SIZE=size,
        PAD=pad,
        PER_PIXEL=mean.numel() > channels,
        ZEROS=zeros,
        BLOCK=block,
        **launched(4),
    )
    return out.permute(0, 3, 1, 2), labels_out


def _moved(x: Tensor, shape: torch.Size, stride: int, first: int, *, spread: bool) -> Tensor:
    N, C, H, W = shape
    y = x.new_empty(N, H, W, C)
    columns = triton.next_power_of_2(C)
    rows = max(1, 4096 // columns)
    _strided[(triton.cdiv(N * H * W, rows),)](
        x,
        y,
        N * H * W,
        HEIGHT=H,
        WIDTH=W,
        CHANNELS=C,
        SOURCE_HEIGHT=x.shape[2],
        SOURCE_WIDTH=x.shape[3],
        SOURCE_CHANNELS=x.shape[1],
        STRIDE=stride,
        SPREAD=spread,
        FIRST=first,
        ROWS=rows,
        COLUMNS=columns,
        **launched(4),
    )
    return y.permute(0, 3, 1, 2)


class PadShortcutFunction(torch.autograd.Function):
    """F.pad(x[:, :, ::stride, ::stride]) by `before` and `after` channels of zeros; x lies channels last."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, stride: int, before: int, after: int) -> Tensor:
        ctx.shape, ctx.stride, ctx.before = x.shape, stride, before
        N, C, H, W = x.shape
        shape = torch.Size((N, before + C + after, -(-H // stride), -(-W // stride)))
        return _moved(x, shape, stride, before, spread=False)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        slope = gradients[0].contiguous(memory_format=torch.channels_last)
        return _moved(slope, ctx.shape, ctx.stride, ctx.before, spread=True), None, None, None


class PoolFunction(torch.autograd.Function):
    """The mean over the pixels, float32 [N, C]; its gradient is one number at all of an image's pixels."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.shape, ctx.dtype = x.shape, x.dtype
        return x.mean((2, 3), dtype=torch.float32)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        N, C, H, W = ctx.shape
        slope = (gradients[0] / (H * W)).to(ctx.dtype)
        return slope[:, :, None, None].expand(N, C, H, W)
