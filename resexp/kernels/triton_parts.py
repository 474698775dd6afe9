"""What the Triton kernels share: how they are launched, sums they leave behind, norms they go through."""

# Triton compiles the kernels itself, in a dialect whose ranges, launch options and constant branches pyright
# does not know.
# pyright: reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false
# pyright: reportPossiblyUnboundVariable=false, reportAttributeAccessIssue=false

from typing import Any, NamedTuple

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
def store_moments(sums, mean, squares, k, K, TILES, BLOCK: tl.constexpr, ABREAST: tl.constexpr):
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
def store_sums(sums, first, second, k, K, ABREAST: tl.constexpr):
    """Sums a channel of first and second [BLOCK, ABREAST * K_BLOCK], into sums [2, programs, K]."""
    K_BLOCK: tl.constexpr = first.shape[1] // ABREAST
    target = sums + tl.program_id(0) * K + k
    total = tl.sum(tl.reshape(tl.sum(first, axis=0), (ABREAST, K_BLOCK)), axis=0)
    tl.store(target, total, mask=k < K)
    total = tl.sum(tl.reshape(tl.sum(second, axis=0), (ABREAST, K_BLOCK)), axis=0)
    tl.store(target + tl.num_programs(0) * K, total, mask=k < K)


@triton.jit
def through_norm(slope, y, statistics, gamma, beta, k, K, RELU: tl.constexpr):
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


def power_of_two(n: int) -> int:
    """The power of two that holds n, and at least the 16 that a matrix product asks for."""
    return max(16, triton.next_power_of_2(n))


def empty_images(images: int, height: int, width: int, channels: int, like: Tensor) -> Tensor:
    return like.new_empty(images, height, width, channels).permute(0, 3, 1, 2)
