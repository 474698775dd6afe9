"""Half squiggles and whole ones: what the claim `squiggle` gives, wants, measures and shows."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import zoom
from torch import Tensor

from resexp.claims.stacked_training import Pairs
from resexp.data.crayons.shapes import squiggle
from resexp.data.crayons.strokes import draw_strokes, wax
from resexp.seeds import derive

SIZE, RADIUS = 20, 0.85
INK = 0.02
"""Less than this is paper."""
WHOLE, DRAWN, MISSING, BLANK = "whole", "already drawn", "missing", "blank"
PARTS = (DRAWN, MISSING, BLANK)
WORDED = {
    WHOLE: "the whole drawing",
    DRAWN: "the half already drawn",
    MISSING: "the missing half",
    BLANK: "blank paper",
}


def draw(seed: int, what: str, num: int) -> Pairs:
    """Return `num` half squiggles and their wholes, float32 [num, SIZE * SIZE] in [0, 1]: 0 paper, 1 wax."""
    chance = np.random.default_rng(derive(seed, "squiggle", what))
    points = (squiggle(chance, num) * 0.3 + 0.5) * SIZE
    half = points[:, : points.shape[1] // 2]
    given, wanted = (draw_strokes(path, RADIUS, size=SIZE).reshape(num, -1) for path in (half, points))
    return Pairs(torch.from_numpy(given), torch.from_numpy(wanted))


def error_parts(made: Tensor, pairs: Pairs) -> dict[str, list[float]]:
    """Return the squared error of each seed on each part and on the whole, in units of just copying.

    made, pairs: [S, N, P]. A pixel is missing where the wanted drawing differs from the given one, already
    drawn where it has wax and does not, blank elsewhere: the parts add up to the whole.
    """
    missing = (pairs.wanted - pairs.given).abs() > INK
    drawn = (pairs.given > INK) & ~missing
    square = (made - pairs.wanted).double().square()
    copying = (pairs.given - pairs.wanted).double().square().sum(dim=(1, 2))
    masks = dict(zip(PARTS, (drawn, missing, ~missing & ~drawn), strict=True))
    parts = {part: ((square * mask).sum(dim=(1, 2)) / copying).tolist() for part, mask in masks.items()}
    return {WHOLE: (square.sum(dim=(1, 2)) / copying).tolist()} | parts


def crayon(
    drawn: Tensor, grain: NDArray[np.float32], chance: np.random.Generator, scale: int = 8
) -> NDArray[np.float32]:
    """Return what a block made, [P], as wax on paper, [scale * SIZE] * 2, in [0, 1]: for the eye only."""
    small = drawn.view(SIZE, SIZE).clamp(0, 1).numpy()
    smooth = np.asarray(zoom(small, scale, order=3, mode="nearest", grid_mode=True), dtype=np.float32)
    shift = chance.integers(len(grain), size=2)
    side = scale * SIZE
    tooth = np.roll(grain, shift, axis=(0, 1))[:side, :side]
    return wax(smooth[None] * 0.95 - 0.06, tooth, 0.55)[0]
