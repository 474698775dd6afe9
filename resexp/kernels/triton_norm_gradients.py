"""Gradients of batch norm in Triton: the two sums over the batch, and what goes back through it."""

# Triton compiles the kernels itself, in a dialect whose ranges, launch options and constant branches pyright
# does not know.
# pyright: reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false
# pyright: reportPossiblyUnboundVariable=false, reportAttributeAccessIssue=false

import torch
import triton
import triton.language as tl
from torch import Tensor

from resexp.kernels.triton_norm import chunk_of, cut_of, grid_of, is_expanded, pixels_of, tile_of, total_of
from resexp.kernels.triton_parts import Normed, Sums, launched, wait_for_last


@triton.jit
def _reduce(
    dz,
    also,
    x,
    z,
    statistics,
    gamma,
    beta,
    slope,
    sums,
    num_pixels,
    C,
    PIXELS: tl.constexpr,  # 1; or those of an image, where dz is the same in all: dz [N, C]
    RELU: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    """The sums of the slope behind ReLU, dz + also where z is above 0, and of it times the normalised x.

    Without z, what it was before ReLU is computed again. The slope is stored where someone else needs it.
    """
    wait_for_last(OVERLAP)
    c, place, there = tile_of(num_pixels, C, ROWS, COLUMNS)
    source = dz + place
    if PIXELS > 1:
        row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
        source = dz + (row // PIXELS * C)[:, None] + c[None, :]
    given = tl.load(source, mask=there, other=0).to(tl.float32)
    normalised = tl.load(x + place, mask=there, other=0).to(tl.float32)
    if also is not None:
        given += tl.load(also + place, mask=there, other=0).to(tl.float32)
    if z is not None:
        after = tl.load(z + place, mask=there, other=0).to(tl.float32)
    mean, inverse = tl.load(statistics + c), tl.load(statistics + C + c)
    normalised = (normalised - mean[None, :]) * inverse[None, :]
    if RELU:
        if z is None:
            after = normalised * tl.load(gamma + c)[None, :] + tl.load(beta + c)[None, :]
        given = tl.where(after <= 0, 0.0, given)
    if slope is not None:
        kept = given.to(slope.dtype.element_ty)
        tl.store(slope + place, kept, mask=there)
        given = kept.to(tl.float32)
    target = sums + tl.program_id(0) * C + c
    tl.store(target, tl.sum(given, axis=0))
    # Beyond the last pixel the slope is 0.
    tl.store(target + tl.num_programs(0) * C, tl.sum(given * normalised, axis=0))


@triton.jit
def _differentiate(
    slope,
    x,
    statistics,
    gamma,
    beta,
    sums,  # float32 [2, PROGRAMS, C]
    dx,
    dgamma,
    dbeta,
    num_pixels,
    C,
    PROGRAMS: tl.constexpr,
    CHUNK: tl.constexpr,
    RELU: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    """The gradients of a norm's input, weight and bias; the slope is behind its ReLU, with RELU before it."""
    wait_for_last(OVERLAP)
    c, place, there = tile_of(num_pixels, C, ROWS, COLUMNS)
    given = tl.load(slope + place, mask=there, other=0).to(tl.float32)
    normalised = tl.load(x + place, mask=there, other=0).to(tl.float32)
    mean, inverse = tl.load(statistics + c), tl.load(statistics + C + c)
    scale = tl.load(gamma + c)
    first = total_of(sums, c, C, PROGRAMS, CHUNK)
    second = total_of(sums + PROGRAMS * C, c, C, PROGRAMS, CHUNK)
    if tl.program_id(0) == 0:
        tl.store(dbeta + c, first)
        tl.store(dgamma + c, second)
    normalised = (normalised - mean[None, :]) * inverse[None, :]
    if RELU:
        after = normalised * scale[None, :] + tl.load(beta + c)[None, :]
        given = tl.where(after <= 0, 0.0, given)
    given -= (first / num_pixels)[None, :] + normalised * (second / num_pixels)[None, :]
    tl.store(dx + place, (given * (scale * inverse)[None, :]).to(dx.dtype.element_ty), mask=there)


def reduced(
    dz: Tensor, also: Tensor | None, normed: Normed, z: Tensor | None, *, keep: bool
) -> tuple[Tensor | None, Sums]:
    """The sums of a norm's gradient for slopes dz + also of its output; to `keep`: what ReLU left of them.

    z: the output, where a shortcut was added; else it is computed again. dz may be expanded from [N, C].
    """
    cut = cut_of(normed.x)
    grid, C = grid_of(normed.x, cut), dz.shape[1]
    slope = torch.empty_like(normed.x) if keep or is_expanded(dz) else None
    values = torch.empty(2, grid[0], C, dtype=torch.float32, device=dz.device)
    _reduce[grid](
        dz,
        also,
        normed.x,
        z if normed.relu else None,
        normed.statistics,
        normed.weight,
        normed.bias,
        slope,
        values,
        pixels_of(dz),
        C,
        PIXELS=dz.shape[2] * dz.shape[3] if is_expanded(dz) else 1,
        RELU=normed.relu,
        ROWS=cut.rows,
        COLUMNS=cut.columns,
        **launched(cut.warps),
    )
    return slope, Sums(values, cut.rows)


def norm_gradients(slope: Tensor, normed: Normed, sums: Sums) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of a norm's input, weight and bias; `normed.relu`: the slope is not yet through ReLU."""
    cut = cut_of(slope)
    C, programs = slope.shape[1], sums.values.shape[1]
    dx = torch.empty_like(slope)
    dweight, dbias = torch.empty(2, C, dtype=torch.float32, device=slope.device)
    _differentiate[grid_of(slope, cut)](
        slope,
        normed.x,
        normed.statistics,
        normed.weight,
        normed.bias,
        sums.values,
        dx,
        dweight,
        dbias,
        pixels_of(slope),
        C,
        PROGRAMS=programs,
        CHUNK=chunk_of(programs, cut),
        RELU=normed.relu,
        ROWS=cut.rows,
        COLUMNS=cut.columns,
        **launched(cut.warps),
    )
    return dx, dweight, dbias
