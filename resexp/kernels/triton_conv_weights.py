"""The weight gradient of 3x3 convolutions in Triton: every program a share of the batch, then the shares.

The products of triton_conv turned round, summed over the pixels: every program sums its share of the batch
into float32, a second kernel sums the shares in a fixed order: the same input, the same bits.
"""

# Triton compiles the kernels itself, in a dialect whose ranges, launch options and constant branches pyright
# does not know.
# pyright: reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false
# pyright: reportPossiblyUnboundVariable=false, reportAttributeAccessIssue=false

import torch
import triton
import triton.language as tl
from torch import Tensor

from resexp.kernels.triton_parts import launched, let_next_begin, power_of_two, wait_for_last
from resexp.kernels.triton_plans import WeightPlan


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
        DEPTH=power_of_two(take * C),
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
