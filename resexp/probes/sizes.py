"""Sizes of gradients: dE/dx at an output, a weight's gradient, and how a block's gradient came about.

Every norm is taken in float64, after scaling by a power of two: the gradient of a deep sigmoid net, squared,
would be zero in float32 and may be in float64.
"""

import math
from typing import Any

import torch
from torch import Tensor

Measured = dict[str, Any]
"""What a probe measured, in JSON's types."""

SPLIT = (
    "shortcut_share",
    "branch_share",
    "shortcut_transmission",
    "branch_transmission",
    "cosine",
    "reach",
)
FLOAT64_PIECE = 2**18
"""Elements converted to float64 at a time: they stay in a CPU's cache, which is ten times as fast as the
whole."""


def parted(out: Tensor, shortcut: Tensor | None, branch: Tensor, at_input: Tensor) -> Measured:
    """Say how g_in = g_s + g_b came about (the norms do not add: see `cosine`); None where undefined.

    out: dE/dx at a block's output. shortcut, branch: what of it arrives at the block's input by either way,
    shortcut None in a plain block; at_input: their sum.
    shares: <g_s, g_in> / |g_in|^2 and likewise g_b; they sum to 1 and may be negative. transmissions:
    |g_s| / |g_out|, |g_b| / |g_out|.
    """
    scale = _scale(out)
    whole, by_branch = _square(out, scale), _square(branch, scale)
    split = dict.fromkeys(SPLIT[:-1]) | {"branch_transmission": _root(_ratio(by_branch, whole))}
    if shortcut is None:
        return split | {"branch_share": 1.0 if by_branch else None}
    by_shortcut, total = _square(shortcut, scale), _square(at_input, scale)
    # |a + b|^2 = |a|^2 + |b|^2 + 2 <a, b> gives every inner product from the norms, without another pass.
    inner = (total - by_shortcut - by_branch) / 2
    return split | {
        "shortcut_share": _ratio(by_shortcut + inner, total),
        "branch_share": _ratio(by_branch + inner, total),
        "shortcut_transmission": _root(_ratio(by_shortcut, whole)),
        "cosine": _ratio(inner, math.sqrt(by_shortcut) * math.sqrt(by_branch)),
    }


def size_at_output(g: Tensor, num_images: int) -> Measured:
    """Size of dE/dx, of any shape: L2 norm an image, RMS of the elements, and what is too small to be one."""
    scale = _scale(g)
    squared = _square(g, scale)
    zeros = g.numel() - int(torch.count_nonzero(g))
    tiny = int(torch.count_nonzero(g.abs() < torch.finfo(g.dtype).tiny))
    return {
        "norm": finite(math.sqrt(squared / num_images) / scale),
        "rms": finite(math.sqrt(squared / g.numel()) / scale),
        "zeros": zeros,
        "subnormals": tiny - zeros,
        "count": g.numel(),
    }


def norm_of(g: Tensor, num_images: int) -> float | None:
    """Return the L2 norm of dE/dx an image, as `size_at_output` has it; None where it is not finite."""
    scale = _scale(g)
    return finite(math.sqrt(_square(g, scale) / num_images) / scale)


def size_of_weight(g: Tensor, weight: Tensor, num_images: int) -> Measured:
    """For the mean loss: RMS of a weight's gradient, |g| / |w|; and how many of its elements are zero.

    g: gradient of the sum over `num_images` images, of the weight's shape.
    """
    scale = _scale(g)
    squared = _square(g, scale)
    relative = _root(_ratio(squared, _square(weight.detach(), 1.0)))
    return {
        "rms": finite(math.sqrt(squared / g.numel()) / scale / num_images),
        "relative": None if relative is None else relative / scale / num_images,
        "zeros": g.numel() - int(torch.count_nonzero(g)),
    }


def _scale(g: Tensor) -> float:
    """Return a power of two by which g's squares stay within float64; 1 for float32, whose squares do."""
    largest = float(g.abs().amax()) if g.dtype == torch.float64 else 0.0
    if not 0 < largest < math.inf:
        return 1.0
    return math.ldexp(1.0, min(1000, -math.frexp(largest)[1]))


def _square(g: Tensor, scale: float) -> float:
    """Return |scale * g|^2."""
    g = g.detach() if scale == 1.0 else g.detach() * scale
    if g.is_cuda:
        norm = float(torch.linalg.vector_norm(g, dtype=torch.float64))
        return norm * norm
    total = 0.0
    for part in g.flatten().split(FLOAT64_PIECE):
        converted = part.double()
        total += float(torch.dot(converted, converted))
    return total


def _ratio(part: float, whole: float) -> float | None:
    """Return part / whole; None where it is none."""
    return finite(part / whole) if whole else None


def _root(value: float | None) -> float | None:
    """Return the square root of what there is."""
    return None if value is None else math.sqrt(value)


def finite(value: float) -> float | None:
    """Return the value, None where it is none: strict JSON knows neither NaN nor infinity."""
    return value if math.isfinite(value) else None
