"""Strokes: the points of a path become wax on paper.

Lengths are in pixels. Drawings are the same bits on every machine: coordinates, radii and pressures are
rounded to 1/1024, and after that nothing is used that IEEE 754 leaves open (no exp, no sin, no sums whose
order is free).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.floating]

OUTSIDE = -1.0
BEYOND = 8
STROKES_AT_ONCE = 100


def pressure_field(
    points: ArrayLike, radius: ArrayLike, *, size: int = 32, pressure: ArrayLike = 1.0
) -> Floats:
    """Return how hard the crayon was pressed on each pixel, [N, size, size].

    points: [N, P, 2], x and y, pixel centres at half-integers, at most about a radius apart, or the line
    shows its dots; they may leave the sheet. radius: half the stroke's width, broadcast to [N, P], at most 7.
    pressure: likewise. At distance d from a point it is pressure * (1 - (d / radius)^2), the largest over the
    points: 0 at the edge of the stroke, and no more than `OUTSIDE` where the crayon never came near.
    """
    path = np.clip(_rounded(points), -BEYOND, size + BEYOND - 1)
    radii = np.broadcast_to(_rounded(radius), path.shape[:2])
    force = np.broadcast_to(_rounded(pressure), path.shape[:2])
    field = np.empty((len(path), size, size), dtype=np.float32)
    by_radius = np.argsort(radii.max(axis=1), kind="stable")
    for some in np.split(by_radius, range(STROKES_AT_ONCE, len(path), STROKES_AT_ONCE)):
        field[some] = _press(path[some], radii[some], force[some], size)
    return field


def _rounded(values: ArrayLike) -> Floats:
    return (np.round(np.asarray(values, dtype=np.float64) * 1024) / 1024).astype(np.float32)


def _press(path: Floats, radii: Floats, force: Floats, size: int) -> Floats:
    """Return the field of one block. A point at a time, all images at once: no pixel is written twice."""
    num, num_points, _ = path.shape
    reach = int(np.ceil(radii.max() * 1.1))
    margin = BEYOND + reach
    side = size + 2 * margin
    window = np.arange(-reach, reach + 1)
    offsets = (window[:, None] * side + window).ravel()
    first = np.arange(num) * side * side + margin * (side + 1)
    pixels = np.floor(path).astype(np.int64)
    starts = first[:, None] + pixels[:, :, 1] * side + pixels[:, :, 0]
    nearness = pixels + np.float32(0.5) - path
    curvature = force / radii**2
    sheets = np.full(num * side * side, OUTSIDE, dtype=np.float32)
    for k in range(num_points):
        away = nearness[:, k, :, None].astype(np.float32) + window.astype(np.float32)
        away *= away
        square = (away[:, 1, :, None] + away[:, 0, None, :]).reshape(num, -1)
        where = starts[:, k, None] + offsets
        sheets[where] = np.maximum(sheets[where], force[:, k, None] - curvature[:, k, None] * square)
    inner = slice(margin, margin + size)
    return sheets.reshape(num, side, side)[:, inner, inner]


def draw_strokes(
    points: ArrayLike, radius: ArrayLike, *, size: int = 32, pressure: ArrayLike = 1.0
) -> Floats:
    """Return even strokes with smooth edges, [N, size, size] in [0, 1], 1 full; arguments as above."""
    field = pressure_field(points, radius, size=size, pressure=pressure)
    return np.clip(field * np.float32(1.5) + np.float32(0.25), 0, 1)


def paper_grain(rng: np.random.Generator, side: int = 256) -> Floats:
    """Return the tooth of a sheet of paper, [side, side] in [0, 1], seamless when tiled.

    Noise, half of it as it is and half smoothed twice: fibres of one pixel on hills of three.
    """
    fine = rng.random((side, side)).astype(np.float32)
    hills = fine
    for axis in (0, 1, 0, 1):
        hills = (np.roll(hills, 1, axis) + hills + np.roll(hills, -1, axis)) / np.float32(3)
    low, high = hills.min(), hills.max()
    return np.float32(0.5) * (fine + (hills - low) / (high - low))


def wax(field: Floats, grain: Floats, hardness: ArrayLike) -> Floats:
    """Return the wax a crayon leaves where `field` presses on paper of this grain: [N, H, W] in [0, 1].

    Light pressure reaches the hills of the grain only, firm pressure fills the valleys too. hardness: how
    much the grain matters, broadcast to [N, H, W]; 0 gives an even line, 1 a broken one.
    """
    rough = np.asarray(hardness, dtype=np.float32) * grain
    return np.clip((field - rough) * np.float32(3) + np.float32(0.15), 0, 1)
