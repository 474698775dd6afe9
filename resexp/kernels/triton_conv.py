"""3x3 convolutions, padding 1, in Triton: output and input gradient (implicit GEMM).

Images lie channels last, so pixels that stand side by side are one run of memory. A row of every matrix
product here is such a run: `abreast` = A output pixels side by side are computed from the A + 2 input pixels
under them (stride 1), three rows of the image one below the other: three products

    [groups of A pixels, (A + 2) * C]  x  [(A + 2) * C, A * K]

whose right side holds the weights where input pixel i meets output pixel j, and zeros elsewhere.
A = 2 reads 6 pixels a pixel instead of the 9 of one product a tap, and a stem of 3 channels fits too.

Weights are read as they are (float32 masters) and rounded to the images' type inside; sums are float32.
"""

# Triton compiles the kernels itself, in a dialect whose ranges, launch options and constant branches pyright
# does not know.
# pyright: reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false
# pyright: reportPossiblyUnboundVariable=false, reportAttributeAccessIssue=false

import torch
import triton
import triton.language as tl
from torch import Tensor

from resexp.kernels.triton_maps import spread_out
from resexp.kernels.triton_parts import (
    Normed,
    Sums,
    empty_images,
    launched,
    power_of_two,
    store_moments,
    store_sums,
    through_norm,
    wait_for_last,
)
from resexp.kernels.triton_plans import OutputPlan


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
            slope, product = through_norm(slope, entered, statistics, gamma, beta, k, K, RELU)
            first += slope
            second += product
    kept = tl.program_id(1) * K_BLOCK + tl.arange(0, K_BLOCK)
    if NOTE == 1:
        store_moments(sums, first, second, kept, K, TILES, BLOCK, ABREAST)
    if NOTE == 2:
        store_sums(sums, first, second, kept, K, ABREAST)


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
        store_moments(sums, total, total * 0, kept, K, 1, BLOCK, ABREAST)
    if NOTE == 2:
        entered = tl.load(before + place, mask=mask, other=0).to(tl.float32)
        slope = value.to(tl.float32)
        slope, product = through_norm(slope, entered, statistics, gamma, beta, k, K, RELU)
        store_sums(sums, slope, product, kept, K, ABREAST)


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
    y = empty_images(N, HO, WO, K, x)
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
        cut |= {"TILES": plan.tiles, "DEPTH": power_of_two(span * C)}
        _convolve[grid](*given, **sizes, **cut, **launched(plan.warps))
    else:
        cut |= {"TAKE": plan.take, "DEPTH": power_of_two(plan.take * C)}
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
    dx = empty_images(N, 2 * HO, 2 * WO, C, dy)
    groups = N * HO * WO // plan.abreast
    c_block = plan.k_block or power_of_two(C)
    spread_out[(triton.cdiv(groups, plan.block), triton.cdiv(C, c_block))](
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
        DEPTH=power_of_two((plan.abreast + 1) * K),
        C_BLOCK=c_block,
        BLOCK=plan.block,
        **launched(plan.warps),
    )
    return dx, None
