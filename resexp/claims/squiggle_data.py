"""Data of the claim `squiggle`: half squiggles and whole ones, how they are measured and shown."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import zoom
from torch import Tensor

from resexp.claims.stacked_training import Pairs
from resexp.data.crayons.shapes import squiggle
from resexp.data.crayons.strokes import draw_strokes, wax
from resexp.seeds import derive

SHEET_SIZE, RADIUS = 20, 0.85
LEAST_WAX = 0.02
"""Less than this is paper."""
WHOLE, DRAWN, MISSING, BLANK = "whole", "already drawn", "missing", "blank"
DRAWING_PARTS = (DRAWN, MISSING, BLANK)
WORDED = {
    WHOLE: "the whole drawing",
    DRAWN: "the half already drawn",
    MISSING: "the missing half",
    BLANK: "blank paper",
}


def draw_squiggles(seed: int, what: str, num: int) -> Pairs:
    """Return `num` half squiggles and their wholes, float32 [num, SIZE * SIZE] in [0, 1]: 0 paper, 1 wax."""
    rng = np.random.default_rng(derive(seed, "squiggle", what))
    points = (squiggle(rng, num) * 0.3 + 0.5) * SHEET_SIZE
    half = points[:, : points.shape[1] // 2]
    given, wanted = (draw_strokes(path, RADIUS, size=SHEET_SIZE).reshape(num, -1) for path in (half, points))
    return Pairs(torch.from_numpy(given), torch.from_numpy(wanted))


def error_parts(made: Tensor, pairs: Pairs) -> dict[str, list[float]]:
    """Return the squared error of each seed on each part and on the whole, in units of just copying.

    made, pairs: [S, N, P]. A pixel is missing where the wanted drawing differs from the given one, already
    drawn where it has wax and does not, blank elsewhere: the parts add up to the whole.
    """
    missing = (pairs.wanted - pairs.given).abs() > LEAST_WAX
    drawn = (pairs.given > LEAST_WAX) & ~missing
    square = (made - pairs.wanted).double().square()
    copying = (pairs.given - pairs.wanted).double().square().sum(dim=(1, 2))
    masks = dict(zip(DRAWING_PARTS, (drawn, missing, ~missing & ~drawn), strict=True))
    parts = {part: ((square * mask).sum(dim=(1, 2)) / copying).tolist() for part, mask in masks.items()}
    return {WHOLE: (square.sum(dim=(1, 2)) / copying).tolist()} | parts


def crayon(
    drawn: Tensor, grain: NDArray[np.float32], rng: np.random.Generator, scale: int = 8
) -> NDArray[np.float32]:
    """Return what a block made, [P], as wax on paper, [scale * SIZE] * 2, in [0, 1]: for the eye only."""
    small = drawn.view(SHEET_SIZE, SHEET_SIZE).clamp(0, 1).numpy()
    smooth = np.asarray(zoom(small, scale, order=3, mode="nearest", grid_mode=True), dtype=np.float32)
    shift = rng.integers(len(grain), size=2)
    side = scale * SHEET_SIZE
    tooth = np.roll(grain, shift, axis=(0, 1))[:side, :side]
    return wax(smooth[None] * 0.95 - 0.06, tooth, 0.55)[0]
