"""The crayon data set: ten figures in waxy strokes on coloured paper, 32x32, drawn on the fly.

12,000 drawings take 2 s of one core. How hard they are, of the 2,000 test drawings:

- a linear classifier (least squares, the best of five ridges): on the mean colour alone 25.1%, on all pixels
  47.8%; guessing is 10%. Paper leans to the figure, as a photograph's colours lean to what is on it, so that
  a net which sees no shapes yet has something easy to begin with;
- a residual-20, seed 0, trained once: 82.7% after two epochs, 95.2% after three, 97.9% after six (batch 128,
  lr 0.05 after 20 steps of warm-up, then a cosine to zero, not augmented).

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
BALANCED_BLOCK = 1_000
DRAWING_SIZE = 32
ZOOM = 2  # drawn at twice the size, so that the grain is finer than a pixel

# fmt: off
WAX = np.array([
    [214, 40, 48], [240, 110, 40], [250, 196, 40], [60, 150, 70], [130, 190, 60], [40, 120, 200],
    [30, 60, 150], [110, 60, 160], [225, 90, 150], [120, 70, 40], [50, 50, 55], [250, 248, 240],
    [70, 190, 200],
], dtype=np.float32)
# fmt: on
PAPERS = {
    "moon": (44, 46, 66),
    "star": (58, 82, 150),
    "fish": (132, 196, 232),
    "spiral": (140, 212, 190),
    "flower": (172, 216, 128),
    "circle": (250, 226, 120),
    "square": (248, 184, 108),
    "triangle": (220, 142, 102),
    "heart": (244, 164, 182),
    "squiggle": (178, 150, 214),
}
"""The sheet that each figure asks for, in a ring: night for the moon, water for the fish, and so on round."""
WHIM = 3.75  # how far along the ring a sheet may lie from its figure's
CONTRAST = 240  # least sum of the differences in red, green and blue between a figure and its paper
STRAYS = 2


def make(seed: int, num: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return drawings and labels, uint8 [num, 3, 32, 32] and int64 [num], balanced in blocks of 1,000."""
    blocks = [
        _block(np.random.default_rng(derive(seed, "crayons", first)), min(BALANCED_BLOCK, num - first))
        for first in range(0, num, BALANCED_BLOCK)
    ]
    return np.concatenate([images for images, _ in blocks]), np.concatenate([labels for _, labels in blocks])


def _block(rng: np.random.Generator, num: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    labels = (np.arange(num) % len(FIGURES))[np.argsort(rng.random(num), kind="stable")]
    paper = _papers(rng, labels)
    crayons = _crayons(rng, paper)
    grain = _sheets(rng, num)
    hardness = _uniform(rng, 0.4, 0.9, num, 1, 1)

    colour = paper.astype(np.float32) * _uniform(rng, 0.94, 1.0, num, 1).astype(np.float32)
    images = colour[:, :, None, None] * (np.float32(0.94) + np.float32(0.06) * _shrink(grain))[:, None]
    num_strays = (rng.random(num) * (STRAYS + 1)).astype(np.int64)
    for k in range(STRAYS):
        some = np.flatnonzero(num_strays > k)
        ink = wax(_stray(rng, len(some)), grain[some], hardness[some])
        images[some] = _over(images[some], ink, WAX[crayons[some, k + 1]])
    worn = _uniform(rng, 0.9, 1.05, num, 1).astype(np.float32)
    ink = wax(_figure(rng, labels), grain, hardness)
    images = _over(images, ink, WAX[crayons[:, 0]] * worn)
    return np.clip(images + np.float32(0.5), 0, 255).astype(np.uint8), labels


def _papers(rng: np.random.Generator, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the colour of each sheet, [N, 3]: between those of the ring, near the figure's own or not."""
    ring = np.array(list(PAPERS.values()))
    place = np.array([list(PAPERS).index(name) for name in FIGURES])
    off = WHIM * (rng.random(len(labels)) + rng.random(len(labels)) - 1)
    sheet, part = np.divmod(np.floor(1024 * (place[labels] + off)).astype(np.int64), 1024)
    near, next_ = ring[sheet % len(ring)], ring[(sheet + 1) % len(ring)]
    return near + part[:, None] * (next_ - near) // 1024


def _crayons(rng: np.random.Generator, paper: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return all crayons for each sheet in random order, [N, 13], those that show on its paper first."""
    shows = np.abs(WAX.astype(np.int64) - paper[:, None]).sum(-1) > CONTRAST
    return np.argsort(rng.random((len(paper), len(WAX))) + ~shows, axis=1, kind="stable")


def _sheets(rng: np.random.Generator, num: int) -> Floats:
    """Return each sheet's grain, a window of one large grain: [N, 64, 64]."""
    grain = paper_grain(rng)
    corner = (rng.random((2, num)) * len(grain)).astype(np.int64)
    rows, columns = (corner[:, :, None] + np.arange(DRAWING_SIZE * ZOOM)) % len(grain)
    return grain[rows[:, :, None], columns[:, None, :]]


def _figure(rng: np.random.Generator, labels: NDArray[np.int64]) -> Floats:
    """Return the pressure of the figures, wobbly, turned by up to 34 degrees, shifted, scaled, mirrored."""
    num = len(labels)
    paths = np.empty((num, POINTS, 2))
    for k, figure in enumerate(FIGURES.values()):
        paths[labels == k] = figure(rng, int((labels == k).sum()))
    for waves in (1.3, 2.6, 3.9):
        phase = _uniform(rng, 0, 2 * np.pi, num, 1, 2)
        paths += _uniform(rng, 0, 0.07, num, 1, 2) * np.sin(2 * np.pi * waves * T[:, None] + phase)

    scale = _uniform(rng, 8.0, 12.5, num, 1)
    x = paths[..., 0] * scale * np.where(rng.random((num, 1)) < 0.5, -1, 1)
    y = paths[..., 1] * scale * _uniform(rng, 0.82, 1.0, num, 1)
    turn = _uniform(rng, -0.6, 0.6, num, 1)
    points = np.stack([np.cos(turn) * x - np.sin(turn) * y, np.sin(turn) * x + np.cos(turn) * y], axis=-1)
    points += DRAWING_SIZE / 2 + _uniform(rng, -3, 3, num, 1, 2)

    radius = _uniform(rng, 1.1, 2.2, num, 1) * (1 + 0.25 * _wave(rng, num, T, 1, 4))
    pressure = _uniform(rng, 0.75, 1.15, num, 1) * (0.85 + 0.15 * _wave(rng, num, T, 2, 6))
    return pressure_field(points * ZOOM, radius * ZOOM, size=DRAWING_SIZE * ZOOM, pressure=pressure)


def _stray(rng: np.random.Generator, num: int) -> Floats:
    """Return the pressure of short bent scribbles, thinner than a figure."""
    t = np.linspace(0, 1, 40)
    angle = _uniform(rng, 0, 2 * np.pi, num, 1) + _uniform(rng, -3, 3, num, 1) * (t - 0.5)
    along = np.stack([np.cos(angle), np.sin(angle)], axis=-1) * _uniform(rng, 5, 16, num, 1, 1) / len(t)
    across = np.stack([-np.sin(angle), np.cos(angle)], axis=-1)
    zigzag = _uniform(rng, 0, 2.5, num, 1) * np.sin(2 * np.pi * _uniform(rng, 1, 5, num, 1) * t)
    points = _uniform(rng, 0, DRAWING_SIZE, num, 1, 2) + along.cumsum(axis=1) + across * zigzag[..., None]
    radius = _uniform(rng, 0.6, 1.3, num, 1)
    pressure = _uniform(rng, 0.6, 0.95, num, 1)
    return pressure_field(points * ZOOM, radius * ZOOM, size=DRAWING_SIZE * ZOOM, pressure=pressure)


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


def _uniform(rng: np.random.Generator, low: float, high: float, *shape: int) -> NDArray[np.float64]:
    return low + (high - low) * rng.random(shape)


def _wave(
    rng: np.random.Generator, num: int, t: NDArray[np.float64], least: float, most: float
) -> NDArray[np.float64]:
    """Return a sine along each stroke, [num, P], of between `least` and `most` waves."""
    return np.sin(2 * np.pi * (t * _uniform(rng, least, most, num, 1) + rng.random((num, 1))))


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
