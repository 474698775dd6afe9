"""3x3 convolutions, padding 1, in Triton: output, input gradient and weight gradient (implicit GEMM).

Images lie channels last, so pixels that stand side by side are one run of memory. A row of every matrix
product here is such a run: `abreast` = A output pixels side by side are computed from the A + 2 input pixels
under them (stride 1), three rows of the image one below the other: three products

    [groups of A pixels, (A + 2) * C]  x  [(A + 2) * C, A * K]

whose right side holds the weights where input pixel i meets output pixel j, and zeros elsewhere.
A = 2 reads 6 pixels a pixel instead of the 9 of one product a tap, and a stem of 3 channels fits too.

The weight gradient is the same products turned round, summed over the pixels: every program sums its share of
the batch into float32, a second kernel sums the shares in a fixed order: the same input, the same bits.
Weights are read as they are (float32 masters) and rounded to the images' type inside; sums are float32.
"""

# Triton compiles the kernels itself, in a dialect whose ranges, launch options and constant branches pyright
# does not know.
# pyright: reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false
# pyright: reportPossiblyUnboundVariable=false, reportAttributeAccessIssue=false

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

OVERLAP = False
"""Whether a kernel is brought to the multiprocessors while the one before it ends (Hopper and later)."""


def launched(warps: int, *, overlap: bool = True) -> dict[str, Any]:
    """How a kernel is launched; it begins with `wait_for_last` or is not to overlap the kernel before it."""
    how: dict[str, Any] = {"num_warps": warps, "OVERLAP": OVERLAP}
    return how | {"launch_pdl": True} if OVERLAP and overlap else how


@triton.jit
def wait_for_last(OVERLAP: tl.constexpr):
    """Wait until the kernel before this one has written all, and let the next come to this same line."""
    if OVERLAP:
        tl.extra.cuda.gdc_wait()
        tl.extra.cuda.gdc_launch_dependents()


@triton.jit
def let_next_begin(OVERLAP: tl.constexpr):
    """As `wait_for_last`, for a kernel that is launched when the one before it has ended."""
    if OVERLAP:
        tl.extra.cuda.gdc_launch_dependents()


@triton.jit
def _store_moments(sums, mean, squares, k, K, TILES, BLOCK: tl.constexpr, ABREAST: tl.constexpr):
    """Mean and sum of squares about it of a program's values a channel, into sums [2, programs, K].

    mean, squares [BLOCK, ABREAST * K_BLOCK]: of the TILES values that each place has had.
    """
    K_BLOCK: tl.constexpr = mean.shape[1] // ABREAST
    middle = tl.sum(mean, axis=0) / BLOCK
    off = mean - middle[None, :]
    around = tl.sum(squares + TILES * off * off, axis=0)
    middles = tl.reshape(middle, (ABREAST, K_BLOCK))
    centre = tl.sum(middles, axis=0) / ABREAST
    off = middles - centre[None, :]
    around = tl.sum(tl.reshape(around, (ABREAST, K_BLOCK)) + TILES * BLOCK * off * off, axis=0)
    target = sums + tl.program_id(0) * K + k
    tl.store(target, centre, mask=k < K)
    tl.store(target + tl.num_programs(0) * K, around, mask=k < K)


@triton.jit
def _store_sums(sums, first, second, k, K, ABREAST: tl.constexpr):
    """Sums a channel of first and second [BLOCK, ABREAST * K_BLOCK], into sums [2, programs, K]."""
    K_BLOCK: tl.constexpr = first.shape[1] // ABREAST
    target = sums + tl.program_id(0) * K + k
    total = tl.sum(tl.reshape(tl.sum(first, axis=0), (ABREAST, K_BLOCK)), axis=0)
    tl.store(target, total, mask=k < K)
    total = tl.sum(tl.reshape(tl.sum(second, axis=0), (ABREAST, K_BLOCK)), axis=0)
    tl.store(target + tl.num_programs(0) * K, total, mask=k < K)


@triton.jit
def _through_norm(slope, y, statistics, gamma, beta, k, K, RELU: tl.constexpr):
    """What a norm's gradient sums: the slope behind its ReLU, and that times the normalised value.

    slope, y: the gradient of the norm's output and its input, float32, a column for each of k.
    """
    mean = tl.load(statistics + k, mask=k < K, other=0)[None, :]
    inverse = tl.load(statistics + K + k, mask=k < K, other=0)[None, :]
    normalised = (y - mean) * inverse
    if RELU:
        scale = tl.load(gamma + k, mask=k < K, other=0)[None, :]
        shift = tl.load(beta + k, mask=k < K, other=0)[None, :]
        slope = tl.where(normalised * scale + shift <= 0, 0.0, slope)
    return slope, slope * normalised


@triton.jit
def _convolve(
    x,  # [N, H, W, C]
    w,
    bias,
    y,  # [N, HO, WO, K]
    sums,  # float32 [2, programs, K]
    before,  # [N, HO, WO, K], with statistics [2, K], gamma, beta: the input of the norm whose slope y is
    statistics,
    gamma,
    beta,
    num_groups,
    w_out,  # strides of the weight: output channel, input channel, row, column
    w_in,
    w_row,
    w_column,
    H: tl.constexpr,
    W: tl.constexpr,
    C: tl.constexpr,
    HO: tl.constexpr,
    WO: tl.constexpr,
    K: tl.constexpr,
    STRIDE: tl.constexpr,
    FLIP: tl.constexpr,
    NOTE: tl.constexpr,
    RELU: tl.constexpr,
    ABREAST: tl.constexpr,
    DEPTH: tl.constexpr,
    K_BLOCK: tl.constexpr,
    BLOCK: tl.constexpr,
    TILES: tl.constexpr,
    STAGES: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    """y = conv(x, w) + bias; with FLIP and the weight's channels exchanged, the input gradient at stride 1.

    What the next kernel would have to read y for is noted in sums: NOTE 1 the moments of y, 2 the sums of the
    gradient of the norm (and ReLU) that y is the slope of.
    """
    wait_for_last(OVERLAP)
    SPAN: tl.constexpr = STRIDE * (ABREAST - 1) + 3
    depth = tl.arange(0, DEPTH)
    i, c = depth // C, depth % C
    width = tl.arange(0, ABREAST * K_BLOCK)
    j, k = width // K_BLOCK, width % K_BLOCK + tl.program_id(1) * K_BLOCK
    tap = i[:, None] - STRIDE * j[None, :]
    meets = (tap >= 0) & (tap < 3) & (i < SPAN)[:, None] & (k < K)[None, :]
    if FLIP:
        corner = w + (k[None, :] * w_out + c[:, None] * w_in) + (2 - tap) * w_column + 2 * w_row
        down = -w_row
    else:
        corner = w + (k[None, :] * w_out + c[:, None] * w_in) + tap * w_column
        down = w_row
    w0 = tl.load(corner, mask=meets, other=0).to(x.dtype.element_ty)
    w1 = tl.load(corner + down, mask=meets, other=0).to(x.dtype.element_ty)
    w2 = tl.load(corner + 2 * down, mask=meets, other=0).to(x.dtype.element_ty)
    if NOTE:
        first = tl.zeros([BLOCK, ABREAST * K_BLOCK], tl.float32)
        second = tl.zeros([BLOCK, ABREAST * K_BLOCK], tl.float32)
    for tile in tl.range(TILES, num_stages=STAGES):
        group = (tl.program_id(0) * TILES + tile) * BLOCK + tl.arange(0, BLOCK)
        left = group % (WO // ABREAST) * (ABREAST * STRIDE) - 1
        top = group // (WO // ABREAST) % HO * STRIDE - 1
        image = group // (WO // ABREAST * HO)
        column = left[:, None] + i[None, :]
        there = (column >= 0) & (column < W) & (i < SPAN)[None, :] & (group < num_groups)[:, None]
        source = x + (((image * H + top) * W + left) * C)[:, None] + depth[None, :]
        x0 = tl.load(source, mask=there & (top >= 0)[:, None], other=0)
        x1 = tl.load(source + W * C, mask=there & (top + 1 < H)[:, None], other=0)
        x2 = tl.load(source + 2 * W * C, mask=there & (top + 2 < H)[:, None], other=0)
        total = tl.dot(x0, w0, input_precision="ieee")
        total = tl.dot(x1, w1, total, input_precision="ieee")
        total = tl.dot(x2, w2, total, input_precision="ieee")
        if bias is not None:
            total += tl.load(bias + k, mask=k < K, other=0)[None, :]
        place = (group * (ABREAST * K))[:, None] + (j * K + k)[None, :]
        mask = (group < num_groups)[:, None] & (k < K)[None, :]
        value = total.to(y.dtype.element_ty)
        tl.store(y + place, value, mask=mask)
        if NOTE == 1:
            off = value.to(tl.float32) - first
            first += off / (tile + 1)
            second += off * (value.to(tl.float32) - first)
        if NOTE == 2:
            entered = tl.load(before + place, mask=mask, other=0).to(tl.float32)
            slope = value.to(tl.float32)
            slope, product = _through_norm(slope, entered, statistics, gamma, beta, k, K, RELU)
            first += slope
            second += product
    kept = tl.program_id(1) * K_BLOCK + tl.arange(0, K_BLOCK)
    if NOTE == 1:
        _store_moments(sums, first, second, kept, K, TILES, BLOCK, ABREAST)
    if NOTE == 2:
        _store_sums(sums, first, second, kept, K, ABREAST)


@triton.jit
def _convolve_stepwise(
    x,
    w,
    bias,
    y,
    sums,
    before,
    statistics,
    gamma,
    beta,
    num_groups,
    w_out,
    w_in,
    w_row,
    w_column,
    H: tl.constexpr,
    W: tl.constexpr,
    C: tl.constexpr,
    HO: tl.constexpr,
    WO: tl.constexpr,
    K: tl.constexpr,
    STRIDE: tl.constexpr,
    FLIP: tl.constexpr,
    NOTE: tl.constexpr,
    RELU: tl.constexpr,
    ABREAST: tl.constexpr,
    TAKE: tl.constexpr,
    DEPTH: tl.constexpr,
    K_BLOCK: tl.constexpr,
    BLOCK: tl.constexpr,
    STAGES: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    """As `_convolve`, TAKE input pixels a step in a pipelined loop: for many channels, with large weights."""
    wait_for_last(OVERLAP)
    SPAN: tl.constexpr = STRIDE * (ABREAST - 1) + 3
    STEPS: tl.constexpr = (SPAN + TAKE - 1) // TAKE
    depth = tl.arange(0, DEPTH)
    width = tl.arange(0, ABREAST * K_BLOCK)
    c = depth % C
    j, k = width // K_BLOCK, width % K_BLOCK + tl.program_id(1) * K_BLOCK
    group = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    left = group % (WO // ABREAST) * (ABREAST * STRIDE) - 1
    top = group // (WO // ABREAST) % HO * STRIDE - 1
    image = group // (WO // ABREAST * HO)
    source = x + (((image * H + top) * W + left) * C)[:, None] + depth[None, :]
    total = tl.zeros([BLOCK, ABREAST * K_BLOCK], tl.float32)
    for step in tl.range(3 * STEPS, num_stages=STAGES):
        row, first = step // STEPS, step % STEPS * TAKE
        i = first + depth // C
        column = left[:, None] + i[None, :]
        inside = (i < SPAN) & (depth < TAKE * C)
        there = (column >= 0) & (column < W) & inside[None, :] & (group < num_groups)[:, None]
        there &= (top + row >= 0)[:, None] & (top + row < H)[:, None]
        tap = i[:, None] - STRIDE * j[None, :]
        meets = (tap >= 0) & (tap < 3) & inside[:, None] & (k < K)[None, :]
        corner = (2 - tap) * w_column + (2 - row) * w_row if FLIP else tap * w_column + row * w_row
        xs = tl.load(source + (row * W + first) * C, mask=there, other=0)
        ws = tl.load(w + (k[None, :] * w_out + c[:, None] * w_in) + corner, mask=meets, other=0)
        total = tl.dot(xs, ws.to(x.dtype.element_ty), total, input_precision="ieee")
    if bias is not None:
        total += tl.load(bias + k, mask=k < K, other=0)[None, :]
    place = (group * (ABREAST * K))[:, None] + (j * K + k)[None, :]
    mask = (group < num_groups)[:, None] & (k < K)[None, :]
    value = total.to(y.dtype.element_ty)
    tl.store(y + place, value, mask=mask)
    kept = tl.program_id(1) * K_BLOCK + tl.arange(0, K_BLOCK)
    if NOTE == 1:
        total = value.to(tl.float32)
        _store_moments(sums, total, total * 0, kept, K, 1, BLOCK, ABREAST)
    if NOTE == 2:
        entered = tl.load(before + place, mask=mask, other=0).to(tl.float32)
        slope = value.to(tl.float32)
        slope, product = _through_norm(slope, entered, statistics, gamma, beta, k, K, RELU)
        _store_sums(sums, slope, product, kept, K, ABREAST)


@triton.jit
def _spread(
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


@triton.jit
def _store_share(shares, total, share, row, i, c, j, k, inside, C, K, STRIDE):
    """One row of the kernel's gradient, into shares [P * ABREAST, K, 3, 3, C]."""
    tap = i[:, None] - STRIDE * j[None, :]
    target = (
        shares + (share + j)[None, :] * (K * 9 * C) + k[None, :] * (9 * C) + (row * 3 + tap) * C + c[:, None]
    )
    tl.store(target, total, mask=(tap >= 0) & (tap < 3) & inside[:, None] & (k < K)[None, :])


@triton.jit
def _weigh(
    x,  # [N, H, W, C]
    dy,  # [N, HO, WO, K]
    shares,  # float32 [P * ABREAST, K, 3, 3, C]
    num_groups,
    tiles,
    H: tl.constexpr,
    W: tl.constexpr,
    C: tl.constexpr,
    HO: tl.constexpr,
    WO: tl.constexpr,
    K: tl.constexpr,
    STRIDE: tl.constexpr,
    ABREAST: tl.constexpr,
    ROWS: tl.constexpr,
    TAKE: tl.constexpr,
    DEPTH: tl.constexpr,
    K_BLOCK: tl.constexpr,
    BLOCK: tl.constexpr,
    STAGES: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    """The weight gradient of one share of the pixels; ROWS (3 or 1) rows of the kernel, TAKE input pixels."""
    let_next_begin(OVERLAP)
    SPAN: tl.constexpr = STRIDE * (ABREAST - 1) + 3
    STEPS: tl.constexpr = (SPAN + TAKE - 1) // TAKE
    WIDTH: tl.constexpr = ABREAST * K_BLOCK
    row = tl.program_id(1) // STEPS
    first = tl.program_id(1) % STEPS * TAKE
    depth = tl.arange(0, DEPTH)
    i, c = first + depth // C, depth % C
    inside = (i < SPAN) & (depth < TAKE * C)
    width = tl.arange(0, WIDTH)
    j, k = width // K_BLOCK, width % K_BLOCK + tl.program_id(2) * K_BLOCK
    total0 = tl.zeros([DEPTH, WIDTH], tl.float32)
    if ROWS == 3:
        total1 = tl.zeros([DEPTH, WIDTH], tl.float32)
        total2 = tl.zeros([DEPTH, WIDTH], tl.float32)
    begin = tl.program_id(0) * tiles
    for tile in tl.range(begin, begin + tiles, num_stages=STAGES):
        group = tile * BLOCK + tl.arange(0, BLOCK)
        left = group % (WO // ABREAST) * (ABREAST * STRIDE) - 1
        top = group // (WO // ABREAST) % HO * STRIDE - 1 + row
        image = group // (WO // ABREAST * HO)
        column = left[:, None] + i[None, :]
        there = (column >= 0) & (column < W) & inside[None, :] & (group < num_groups)[:, None]
        source = x + (((image * H + top) * W + left + first) * C)[:, None] + depth[None, :]
        slope = tl.load(
            dy + (group * (ABREAST * K))[:, None] + (j * K + k)[None, :],
            mask=(group < num_groups)[:, None] & (k < K)[None, :],
            other=0,
        )
        x0 = tl.load(source, mask=there & (top >= 0)[:, None] & (top < H)[:, None], other=0)
        if ROWS == 3:
            x1 = tl.load(source + W * C, mask=there & (top + 1 < H)[:, None], other=0)
            x2 = tl.load(source + 2 * W * C, mask=there & (top + 2 < H)[:, None], other=0)
            total1 = tl.dot(tl.trans(x1), slope, total1, input_precision="ieee")
            total2 = tl.dot(tl.trans(x2), slope, total2, input_precision="ieee")
        total0 = tl.dot(tl.trans(x0), slope, total0, input_precision="ieee")
    share = tl.program_id(0) * ABREAST
    _store_share(shares, total0, share, row, i, c, j, k, inside, C, K, STRIDE)
    if ROWS == 3:
        _store_share(shares, total1, share, 1, i, c, j, k, inside, C, K, STRIDE)
        _store_share(shares, total2, share, 2, i, c, j, k, inside, C, K, STRIDE)


@triton.jit
def _sum_shares(
    shares,
    out,
    size,
    num_shares,
    CHUNK: tl.constexpr,
    BLOCK: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    """out[e] = the sum of shares[:, e], CHUNK shares side by side, then a tree over the chunk."""
    wait_for_last(OVERLAP)
    element = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros([CHUNK, BLOCK], tl.float32)
    for first in range(0, num_shares, CHUNK):
        share = first + tl.arange(0, CHUNK)
        mask = (share < num_shares)[:, None] & (element < size)[None, :]
        total += tl.load(shares + share[:, None] * size + element[None, :], mask=mask, other=0)
    tl.store(out + element, tl.sum(total, axis=0), mask=element < size)


class Sums(NamedTuple):
    """What the programs of a kernel noted of a map's channels: `rows` pixels each, the last of the rest."""

    values: Tensor
    """float32 [2, programs, C]: mean and sum of squares about it; or a gradient's two sums"""
    rows: int


class Normed(NamedTuple):
    """The norm, and its ReLU, that a map came out of: what its gradient needs."""

    x: Tensor
    """[N, C, H, W], what went in, channels last"""
    statistics: Tensor
    """float32 [2, C]: the mean, and one over the standard deviation"""
    weight: Tensor
    bias: Tensor
    relu: bool


@dataclass(frozen=True)
class OutputPlan:
    """How `_convolve` cuts an output into programs; with `take`, `_convolve_stepwise` does."""

    abreast: int
    block: int
    tiles: int = 1
    warps: int = 4
    stages: int = 1
    k_block: int | None = None
    take: int | None = None


@dataclass(frozen=True)
class WeightPlan:
    """How `_weigh` cuts a batch: into shares of the pixels, these by rows and columns of the weight."""

    abreast: int
    block: int
    shares: int
    rows: int = 3
    warps: int = 4
    stages: int = 1
    k_block: int | None = None
    take: int | None = None
    sum_block: int = 16
    """Weights a program of the summing kernel."""


def _power(n: int) -> int:
    """The power of two that holds n, and at least the 16 that a matrix product asks for."""
    return max(16, triton.next_power_of_2(n))


def _empty_images(images: int, height: int, width: int, channels: int, like: Tensor) -> Tensor:
    return like.new_empty(images, height, width, channels).permute(0, 3, 1, 2)


def _convolved(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: int,
    plan: OutputPlan,
    *,
    flip: bool = False,
    moments: bool = False,
    normed: Normed | None = None,
) -> tuple[Tensor, Sums | None]:
    """The output for `weight` [K, C, 3, 3]; with flip, the gradient of x's source for dy = x [N, K, H, W].

    With the sums that were asked for, where the programs' pixels divide those there are.
    """
    N, C, H, W = x.shape
    K = weight.shape[1] if flip else weight.shape[0]
    strides = weight.stride()
    w_out, w_in = (strides[1], strides[0]) if flip else strides[:2]
    HO, WO = -(-H // stride), -(-W // stride)
    if WO % plan.abreast or not x.is_contiguous(memory_format=torch.channels_last):
        raise ValueError(f"{plan} does not fit images {tuple(x.shape)} with strides {x.stride()}")
    y = _empty_images(N, HO, WO, K, x)
    groups = N * HO * WO // plan.abreast
    programs = triton.cdiv(groups, plan.block * plan.tiles)
    note = 0
    if groups == programs * plan.block * plan.tiles:
        note = 1 if moments else 2 if normed else 0
    values = torch.empty(2, programs, K, dtype=torch.float32, device=x.device) if note else None
    k_block = plan.k_block or max(triton.next_power_of_2(K), -(-16 // plan.abreast))
    span = stride * (plan.abreast - 1) + 3
    sizes = {"H": H, "W": W, "C": C, "HO": HO, "WO": WO, "K": K, "STRIDE": stride, "FLIP": flip}
    cut = {"ABREAST": plan.abreast, "K_BLOCK": k_block, "BLOCK": plan.block, "STAGES": plan.stages}
    cut |= {"NOTE": note, "RELU": normed is not None and normed.relu}
    grid = (programs, triton.cdiv(K, k_block))
    before = normed[:4] if normed and note else (None,) * 4
    given = (x, weight, bias, y, values, *before, groups, w_out, w_in, strides[2], strides[3])
    if plan.take is None:
        cut |= {"TILES": plan.tiles, "DEPTH": _power(span * C)}
        _convolve[grid](*given, **sizes, **cut, **launched(plan.warps))
    else:
        cut |= {"TAKE": plan.take, "DEPTH": _power(plan.take * C)}
        _convolve_stepwise[grid](*given, **sizes, **cut, **launched(plan.warps))
    rows = plan.block * plan.tiles * plan.abreast
    return y, None if values is None else Sums(values, rows)


def output(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, plan: OutputPlan, *, moments: bool = False
) -> tuple[Tensor, Sums | None]:
    """conv2d(x, weight, bias, stride, padding=1), in x's type, channels last; its moments, if asked for."""
    return _convolved(x, weight, bias, stride, plan, moments=moments)


def input_gradient(
    dy: Tensor, weight: Tensor, stride: int, plan: OutputPlan, normed: Normed | None = None
) -> tuple[Tensor, Sums | None]:
    """The gradient of the images: [N, C, H, W] at stride 1, [N, C, 2 H, 2 W] of dy's H and W at stride 2.

    Where the images came out of a norm: with the sums of its gradient, at stride 1.
    """
    if stride == 1:
        return _convolved(dy, weight, None, 1, plan, flip=True, normed=normed)
    N, K, HO, WO = dy.shape
    C = weight.shape[1]
    if WO % plan.abreast or not dy.is_contiguous(memory_format=torch.channels_last):
        raise ValueError(f"{plan} does not fit images {tuple(dy.shape)} with strides {dy.stride()}")
    dx = _empty_images(N, 2 * HO, 2 * WO, C, dy)
    groups = N * HO * WO // plan.abreast
    c_block = plan.k_block or _power(C)
    _spread[(triton.cdiv(groups, plan.block), triton.cdiv(C, c_block))](
        dy,
        weight,
        dx,
        groups,
        *weight.stride(),
        HO=HO,
        WO=WO,
        K=K,
        C=C,
        ABREAST=plan.abreast,
        DEPTH=_power((plan.abreast + 1) * K),
        C_BLOCK=c_block,
        BLOCK=plan.block,
        **launched(plan.warps),
    )
    return dx, None


def weight_gradient(x: Tensor, dy: Tensor, stride: int, plan: WeightPlan) -> Tensor:
    """The gradient of the weight, float32 [K, C, 3, 3], channels last."""
    N, C, H, W = x.shape
    _, K, HO, WO = dy.shape
    last = torch.channels_last
    if WO % plan.abreast or not (
        x.is_contiguous(memory_format=last) and dy.is_contiguous(memory_format=last)
    ):
        raise ValueError(
            f"{plan} does not fit images {tuple(x.shape)} with strides {x.stride()}, {dy.stride()}"
        )
    groups = N * HO * WO // plan.abreast
    k_block = plan.k_block or max(triton.next_power_of_2(K), -(-16 // plan.abreast))
    span = stride * (plan.abreast - 1) + 3
    take = plan.take or span
    tiles = triton.cdiv(triton.cdiv(groups, plan.block), plan.shares)
    shares = triton.cdiv(triton.cdiv(groups, plan.block), tiles)
    partial = torch.empty(shares * plan.abreast, K, 3, 3, C, dtype=torch.float32, device=x.device)
    _weigh[(shares, 3 // plan.rows * triton.cdiv(span, take), triton.cdiv(K, k_block))](
        x,
        dy,
        partial,
        groups,
        tiles,
        H=H,
        W=W,
        C=C,
        HO=HO,
        WO=WO,
        K=K,
        STRIDE=stride,
        ABREAST=plan.abreast,
        ROWS=plan.rows,
        TAKE=take,
        DEPTH=_power(take * C),
        K_BLOCK=k_block,
        BLOCK=plan.block,
        STAGES=plan.stages,
        **launched(plan.warps, overlap=False),
    )
    return summed(partial, plan.sum_block)


def summed(partial: Tensor, block: int) -> Tensor:
    """Shares [P, K, 3, 3, C] to their sum, [K, C, 3, 3], channels last."""
    out = torch.empty_like(partial[0])
    size, shares = out.numel(), partial.shape[0]
    _sum_shares[(triton.cdiv(size, block),)](partial, out, size, shares, CHUNK=64, BLOCK=block, **launched(4))
    return out.permute(0, 3, 1, 2)
