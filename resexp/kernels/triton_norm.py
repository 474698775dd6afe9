"""Batch norm, the addition and ReLU in Triton: one pass forward, two back, over maps that lie channels last.

A map is a matrix [pixels, C]. Statistics are float32, a mean and the squares about it from every program
(the convolution that made the map, or `map_sums`); who needs them adds the programs' up by itself, in a fixed
order, each program all of them: 32 KB from the cache cost less than one more kernel. The same input, the
same bits.
"""

# Triton compiles the kernels itself, in a dialect whose ranges, launch options and constant branches pyright
# does not know.
# pyright: reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false
# pyright: reportPossiblyUnboundVariable=false

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from resexp.kernels.triton_parts import Sums, launched, wait_for_last


@triton.jit
def tile_of(num_pixels, C, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """This program's channels, its places in a map [pixels, C], and which of them there are."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    c = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    return c, row[:, None] * C + c[None, :], (row < num_pixels)[:, None]


@triton.jit
def total_of(sums, c, C, PROGRAMS: tl.constexpr, CHUNK: tl.constexpr):
    """The sum a channel of sums [PROGRAMS, C]."""
    total = tl.zeros([CHUNK, c.shape[0]], tl.float32)
    for first in tl.static_range(0, PROGRAMS, CHUNK):
        program = first + tl.arange(0, CHUNK)
        total += tl.load(
            sums + program[:, None] * C + c[None, :], mask=(program < PROGRAMS)[:, None], other=0
        )
    return tl.sum(total, axis=0)


@triton.jit
def _moments(sums, num_pixels, c, C, PROGRAMS: tl.constexpr, PIXELS: tl.constexpr, CHUNK: tl.constexpr):
    """Mean and variance a channel from sums [2, PROGRAMS, C], of PIXELS pixels each, the last of the rest."""
    total = tl.zeros([CHUNK, c.shape[0]], tl.float32)
    for first in tl.static_range(0, PROGRAMS, CHUNK):
        program = first + tl.arange(0, CHUNK)
        pixels = tl.minimum(PIXELS, tl.maximum(num_pixels - program * PIXELS, 0)).to(tl.float32)
        source = sums + program[:, None] * C + c[None, :]
        total += pixels[:, None] * tl.load(source, mask=(program < PROGRAMS)[:, None], other=0)
    mean = tl.sum(total, axis=0) / num_pixels
    total = tl.zeros([CHUNK, c.shape[0]], tl.float32)
    for first in tl.static_range(0, PROGRAMS, CHUNK):
        program = first + tl.arange(0, CHUNK)
        pixels = tl.minimum(PIXELS, tl.maximum(num_pixels - program * PIXELS, 0)).to(tl.float32)
        source = sums + program[:, None] * C + c[None, :]
        mask = (program < PROGRAMS)[:, None]
        off = tl.load(source, mask=mask, other=0) - mean[None, :]
        total += tl.load(source + PROGRAMS * C, mask=mask, other=0) + pixels[:, None] * off * off
    return mean, tl.sum(total, axis=0) / num_pixels


@triton.jit
def _measure(
    x,
    sums,
    num_pixels,
    C,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    """Mean and squares about it of a program's pixels, into sums [2, programs, C]."""
    wait_for_last(OVERLAP)
    c, place, there = tile_of(num_pixels, C, ROWS, COLUMNS)
    value = tl.load(x + place, mask=there, other=0).to(tl.float32)
    pixels = tl.minimum(ROWS, num_pixels - tl.program_id(0) * ROWS).to(tl.float32)
    mean = tl.sum(value, axis=0) / pixels
    off = tl.where(there, value - mean[None, :], 0.0)
    target = sums + tl.program_id(0) * C + c
    tl.store(target, mean)
    tl.store(target + tl.num_programs(0) * C, tl.sum(off * off, axis=0))


@triton.jit
def _normalise(
    x,
    shortcut,
    gamma,
    beta,
    sums,  # float32 [2, PROGRAMS, C]; without them the running statistics are in use
    running_mean,
    running_variance,
    statistics,  # float32 [2, C]
    z,
    num_pixels,
    eps,
    momentum,
    C,
    PROGRAMS: tl.constexpr,
    PIXELS: tl.constexpr,
    CHUNK: tl.constexpr,
    RELU: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    """z = relu((x - mean) / deviation * gamma + beta + shortcut)."""
    wait_for_last(OVERLAP)
    c, place, there = tile_of(num_pixels, C, ROWS, COLUMNS)
    value = tl.load(x + place, mask=there, other=0).to(tl.float32)
    if shortcut is not None:
        added = tl.load(shortcut + place, mask=there, other=0).to(tl.float32)
    scale, shift = tl.load(gamma + c), tl.load(beta + c)
    if sums is not None:
        mean, variance = _moments(sums, num_pixels, c, C, PROGRAMS, PIXELS, CHUNK)
        inverse = 1 / tl.sqrt(variance + eps)
        if tl.program_id(0) == 0:
            tl.store(statistics + c, mean)
            tl.store(statistics + C + c, inverse)
            unbiased = variance * (num_pixels / (num_pixels - 1))
            before = tl.load(running_mean + c)
            tl.store(running_mean + c, before + momentum * (mean - before))
            before = tl.load(running_variance + c)
            tl.store(running_variance + c, before + momentum * (unbiased - before))
    else:
        mean = tl.load(running_mean + c)
        inverse = 1 / tl.sqrt(tl.load(running_variance + c) + eps)
    value = (value - mean[None, :]) * inverse[None, :] * scale[None, :] + shift[None, :]
    if shortcut is not None:
        value += added
    if RELU:
        value = tl.where(value < 0, 0.0, value)  # what is no number stays none
    tl.store(z + place, value.to(z.dtype.element_ty), mask=there)


class Cut(NamedTuple):
    """How a map is cut into programs."""

    rows: int
    columns: int
    warps: int


TILE = 8192
SUMMED = 4096
"""Numbers of a program; and of the programs' sums that it holds at a time."""


def cut_of(x: Tensor) -> Cut:
    """32 channels at most, so that the sums that a program adds up are few; enough programs for the card."""
    columns = min(32, x.shape[1])
    tile = TILE if x.numel() >= 1 << 20 else TILE // 2
    return Cut(max(1, tile // columns), columns, 8)


def fits(x: Tensor) -> bool:
    """Whether the kernels take such a map: 16, 32, 64, ... channels, lying last."""
    channels = x.shape[1]
    few = channels >= 16 and channels & (channels - 1) == 0
    return few and x.is_contiguous(memory_format=torch.channels_last)


def is_expanded(slope: Tensor) -> bool:
    """Whether all pixels of an image are one [N, C], as the gradient of a mean is."""
    return slope.stride() == (slope.shape[1], 1, 0, 0)


def grid_of(x: Tensor, cut: Cut) -> tuple[int, int]:
    return triton.cdiv(pixels_of(x), cut.rows), x.shape[1] // cut.columns


def pixels_of(x: Tensor) -> int:
    return x.numel() // x.shape[1]


def chunk_of(programs: int, cut: Cut) -> int:
    return min(triton.next_power_of_2(programs), SUMMED // cut.columns)


def map_sums(x: Tensor) -> Sums:
    """The moments of a map, where the convolution that made it did not note them."""
    cut = cut_of(x)
    grid, C = grid_of(x, cut), x.shape[1]
    values = torch.empty(2, grid[0], C, dtype=torch.float32, device=x.device)
    _measure[grid](x, values, pixels_of(x), C, ROWS=cut.rows, COLUMNS=cut.columns, **launched(cut.warps))
    return Sums(values, cut.rows)


def normalised(
    x: Tensor,
    shortcut: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    running: tuple[Tensor, Tensor],
    sums: Sums | None,
    *,
    relu: bool,
    eps: float,
    momentum: float,
) -> tuple[Tensor, Tensor]:
    """Return relu(norm(x) + shortcut) and the statistics [2, C]; with sums these, else the running ones.

    The sums move the running statistics.
    """
    cut = cut_of(x)
    z, statistics = torch.empty_like(x), torch.empty(2, x.shape[1], dtype=torch.float32, device=x.device)
    programs = sums.values.shape[1] if sums else 1
    _normalise[grid_of(x, cut)](
        x,
        shortcut,
        weight,
        bias,
        sums.values if sums else None,
        *running,
        statistics,
        z,
        pixels_of(x),
        eps,
        momentum,
        x.shape[1],
        PROGRAMS=programs,
        PIXELS=sums.rows if sums else 1,
        CHUNK=chunk_of(programs, cut),
        RELU=relu,
        ROWS=cut.rows,
        COLUMNS=cut.columns,
        **launched(cut.warps),
    )
    return z, statistics
