"""The embedded set: ten figures in waxy strokes on coloured paper, 32x32, drawn on the fly.

12,000 drawings take 3.1 s of one core. How hard they are, of the 2,000 test drawings:

- a linear classifier on the pixels (least squares, the best of five ridges): 33.5%; chance is 10%;
- a residual-20, seed 0, trained once: 90.8% after 260 steps of batch 128, 95.2% after 312, 97.6% after 468,
  which is six epochs (lr 0.05 after 20 steps of warm-up, then a cosine to zero, not augmented).

`python -m benchmarks.crayons` measures them again.
"""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from resexp.data.cache import Arrays, cached
from resexp.data.crayons import shapes, strokes
from resexp.data.crayons.shapes import FIGURES, POINTS, T
from resexp.data.crayons.strokes import Floats, paper_grain, pressure_field, wax
from resexp.data.dataset import Raw
from resexp.seeds import derive

NUM_TRAIN = 10_000
NUM_TEST = 2_000
SEED = 0
BLOCK = 1_000
SIZE = 32
ZOOM = 2  # drawn at twice the size, so that the grain is finer than a pixel

# fmt: off
WAX = np.array([
    [214, 40, 48], [240, 110, 40], [250, 196, 40], [60, 150, 70], [130, 190, 60], [40, 120, 200],
    [30, 60, 150], [110, 60, 160], [225, 90, 150], [120, 70, 40], [50, 50, 55], [250, 248, 240],
    [70, 190, 200],
], dtype=np.float32)
PAPER = np.array([
    [250, 248, 240], [252, 236, 190], [190, 220, 240], [205, 232, 200], [245, 205, 210], [222, 208, 240],
    [200, 160, 110], [235, 150, 80], [60, 80, 120], [50, 52, 56],
], dtype=np.float32)
# fmt: on
CONTRAST = 240  # least sum of the differences in red, green and blue between a figure and its paper
STRAYS = 2


def make(seed: int, num: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return drawings and labels, uint8 [num, 3, 32, 32] and int64 [num], balanced in blocks of 1,000."""
    blocks = [
        _block(np.random.default_rng(derive(seed, "crayons", first)), min(BLOCK, num - first))
        for first in range(0, num, BLOCK)
    ]
    return np.concatenate([images for images, _ in blocks]), np.concatenate([labels for _, labels in blocks])


def _block(chance: np.random.Generator, num: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    labels = (np.arange(num) % len(FIGURES))[np.argsort(chance.random(num), kind="stable")]
    paper_kind = (chance.random(num) * len(PAPER)).astype(np.int64)
    crayons = _crayons(chance, paper_kind)
    grain = _sheets(chance, num)
    hardness = _uniform(chance, 0.4, 0.9, num, 1, 1)

    paper = PAPER[paper_kind] * _uniform(chance, 0.94, 1.0, num, 1).astype(np.float32)
    images = paper[:, :, None, None] * (np.float32(0.94) + np.float32(0.06) * _shrink(grain))[:, None]
    num_strays = (chance.random(num) * (STRAYS + 1)).astype(np.int64)
    for k in range(STRAYS):
        some = np.flatnonzero(num_strays > k)
        ink = wax(_stray(chance, len(some)), grain[some], hardness[some])
        images[some] = _over(images[some], ink, WAX[crayons[some, k + 1]])
    worn = _uniform(chance, 0.9, 1.05, num, 1).astype(np.float32)
    ink = wax(_figure(chance, labels), grain, hardness)
    images = _over(images, ink, WAX[crayons[:, 0]] * worn)
    return np.clip(images + np.float32(0.5), 0, 255).astype(np.uint8), labels


def _crayons(chance: np.random.Generator, paper_kind: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return all crayons for each sheet in random order, [N, 13], those that show on its paper first."""
    shows = np.abs(WAX - PAPER[:, None]).sum(-1) > CONTRAST
    return np.argsort(chance.random((len(paper_kind), len(WAX))) + ~shows[paper_kind], axis=1, kind="stable")


def _sheets(chance: np.random.Generator, num: int) -> Floats:
    """Return each sheet's grain, a window of one large grain: [N, 64, 64]."""
    grain = paper_grain(chance)
    corner = (chance.random((2, num)) * len(grain)).astype(np.int64)
    rows, columns = (corner[:, :, None] + np.arange(SIZE * ZOOM)) % len(grain)
    return grain[rows[:, :, None], columns[:, None, :]]


def _figure(chance: np.random.Generator, labels: NDArray[np.int64]) -> Floats:
    """Return the pressure of the figures, wobbly, turned by up to 34 degrees, shifted, scaled, mirrored."""
    num = len(labels)
    paths = np.empty((num, POINTS, 2))
    for k, figure in enumerate(FIGURES.values()):
        paths[labels == k] = figure(chance, int((labels == k).sum()))
    for waves in (1.3, 2.6, 3.9):
        phase = _uniform(chance, 0, 2 * np.pi, num, 1, 2)
        paths += _uniform(chance, 0, 0.07, num, 1, 2) * np.sin(2 * np.pi * waves * T[:, None] + phase)

    scale = _uniform(chance, 8.0, 12.5, num, 1)
    x = paths[..., 0] * scale * np.where(chance.random((num, 1)) < 0.5, -1, 1)
    y = paths[..., 1] * scale * _uniform(chance, 0.82, 1.0, num, 1)
    turn = _uniform(chance, -0.6, 0.6, num, 1)
    points = np.stack([np.cos(turn) * x - np.sin(turn) * y, np.sin(turn) * x + np.cos(turn) * y], axis=-1)
    points += SIZE / 2 + _uniform(chance, -3, 3, num, 1, 2)

    radius = _uniform(chance, 1.1, 2.2, num, 1) * (1 + 0.25 * _wave(chance, num, T, 1, 4))
    pressure = _uniform(chance, 0.75, 1.15, num, 1) * (0.85 + 0.15 * _wave(chance, num, T, 2, 6))
    return pressure_field(points * ZOOM, radius * ZOOM, size=SIZE * ZOOM, pressure=pressure)


def _stray(chance: np.random.Generator, num: int) -> Floats:
    """Return the pressure of short bent scribbles, thinner than a figure."""
    t = np.linspace(0, 1, 40)
    angle = _uniform(chance, 0, 2 * np.pi, num, 1) + _uniform(chance, -3, 3, num, 1) * (t - 0.5)
    along = np.stack([np.cos(angle), np.sin(angle)], axis=-1) * _uniform(chance, 5, 16, num, 1, 1) / len(t)
    across = np.stack([-np.sin(angle), np.cos(angle)], axis=-1)
    zigzag = _uniform(chance, 0, 2.5, num, 1) * np.sin(2 * np.pi * _uniform(chance, 1, 5, num, 1) * t)
    points = _uniform(chance, 0, SIZE, num, 1, 2) + along.cumsum(axis=1) + across * zigzag[..., None]
    radius = _uniform(chance, 0.6, 1.3, num, 1)
    pressure = _uniform(chance, 0.6, 0.95, num, 1)
    return pressure_field(points * ZOOM, radius * ZOOM, size=SIZE * ZOOM, pressure=pressure)


def _over(images: Floats, ink: Floats, colour: Floats) -> Floats:
    """Return the images under wax of one colour each, [N, 3]. Wax lets a little of the paper through."""
    cover = np.float32(0.93) * _shrink(ink)[:, None]
    return images + cover * (colour[:, :, None, None] - images)


def _shrink(sheets: Floats) -> Floats:
    """Return the mean of each 2x2 square, in an order of addition that is fixed."""
    top, bottom = sheets[:, ::ZOOM], sheets[:, 1::ZOOM]
    return np.float32(0.25) * (
        (top[..., ::ZOOM] + top[..., 1::ZOOM]) + (bottom[..., ::ZOOM] + bottom[..., 1::ZOOM])
    )


def _uniform(chance: np.random.Generator, low: float, high: float, *shape: int) -> NDArray[np.float64]:
    return low + (high - low) * chance.random(shape)


def _wave(
    chance: np.random.Generator, num: int, t: NDArray[np.float64], least: float, most: float
) -> NDArray[np.float64]:
    """Return a sine along each stroke, [num, P], of between `least` and `most` waves."""
    return np.sin(2 * np.pi * (t * _uniform(chance, least, most, num, 1) + chance.random((num, 1))))


def load() -> Raw:
    """Return the set: 10,000 training and 2,000 test drawings, balanced. Drawn once and then cached."""
    drawn = cached(f"crayons-{_digest()}", _draw)
    classes = tuple(FIGURES)
    train, test = slice(NUM_TRAIN), slice(NUM_TRAIN, None)
    images, labels = drawn["images"], drawn["labels"]
    return Raw(images[train], labels[train], images[test], labels[test], classes, "crayons (drawn)")


def _draw() -> Arrays:
    images, labels = make(SEED, NUM_TRAIN + NUM_TEST)
    return {"images": images, "labels": labels}


def _digest() -> str:
    """Return what names the drawings: any change of the code that draws them is another set."""
    digest = hashlib.sha256()
    for module in (shapes.__file__, strokes.__file__, __file__):
        digest.update(Path(module).read_bytes())
    return digest.hexdigest()[:16]
