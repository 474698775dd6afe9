"""The embedded set is the same bits everywhere, balanced and legible; strokes are what geometry says."""

import hashlib

import numpy as np
import pytest

from resexp.data.crayons import dataset as crayons
from resexp.data.crayons.shapes import FIGURES, POINTS
from resexp.data.crayons.strokes import draw_strokes, paper_grain, pressure_field, wax


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    return crayons.make(crayons.SEED, 1_000)


def test_drawings_are_the_same_bits_on_every_machine(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    """A change of this digest is another data set: it must be meant, and the figures measured again."""
    digest = hashlib.sha256(drawn[0].tobytes()).hexdigest()
    assert digest == "d4827f49d7fa792cfb0e8e3866e9865da8cb7f7d2bf6e6247510822fb20b6f37"


def test_a_seed_gives_its_drawings_and_no_others() -> None:
    images, labels = crayons.make(3, 120)
    again, labels_again = crayons.make(3, 120)
    assert np.array_equal(images, again)
    assert np.array_equal(labels, labels_again)
    other, _ = crayons.make(4, 120)
    assert (images != other).any(axis=(1, 2, 3)).all()


def test_classes_are_balanced(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = drawn
    assert images.shape == (1_000, 3, 32, 32)
    assert images.dtype == np.uint8
    assert np.bincount(labels).tolist() == [100] * len(FIGURES)


def test_every_figure_shows_on_its_paper(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    paper = np.median(drawn[0], axis=(2, 3), keepdims=True)
    far = np.abs(drawn[0] - paper).sum(axis=1) > 80
    assert far.sum(axis=(1, 2)).min() >= 20


def test_a_sheet_hints_at_its_figure_and_leaves_the_rest_to_the_shape(
    drawn: tuple[np.ndarray, np.ndarray],
) -> None:
    """The median colour of a drawing is its sheet's; the figure whose sheets are nearest is the guess."""
    images, labels = drawn
    sheets = np.median(images, axis=(2, 3))
    learned = np.arange(1_000) < 500
    means = np.stack([sheets[learned & (labels == k)].mean(axis=0) for k in range(len(FIGURES))])
    guesses = np.linalg.norm(sheets[~learned, None] - means, axis=2).argmin(axis=1)
    assert 0.15 < (guesses == labels[~learned]).mean() < 0.35  # guessing: 0.10


def test_on_every_sheet_there_are_crayons_for_a_figure_and_its_strays() -> None:
    ring = np.array(list(crayons.PAPERS.values()))
    part = np.linspace(0, 1, 65)[:, None, None]
    sheets = (1 - part) * ring + part * np.roll(ring, -1, axis=0)
    far = np.abs(crayons.WAX - sheets[..., None, :]).sum(axis=-1) > crayons.CONTRAST + 3  # 3: whole numbers
    assert far.sum(axis=-1).min() > crayons.STRAYS


def test_the_set_has_ten_thousand_and_two_thousand_and_shares_none() -> None:
    raw = crayons.load()
    assert raw.train_images.shape == (10_000, 3, 32, 32)
    assert raw.test_images.shape == (2_000, 3, 32, 32)
    assert np.bincount(raw.train_labels).tolist() == [1_000] * 10
    assert np.bincount(raw.test_labels).tolist() == [200] * 10
    assert raw.classes == tuple(FIGURES)
    seen = {image.tobytes() for image in raw.train_images}
    assert len(seen) == 10_000
    assert not any(image.tobytes() in seen for image in raw.test_images)
    again = crayons.load()
    assert np.array_equal(raw.train_images, again.train_images)


@pytest.mark.parametrize("name", FIGURES)
def test_figures_fit_their_sheet_and_are_drawn_without_gaps(name: str) -> None:
    paths = FIGURES[name](np.random.default_rng(0), 200)
    assert paths.shape == (200, POINTS, 2)
    assert np.abs(paths).max(axis=(1, 2)).min() > 0.8
    assert np.abs(paths).max() < 1.6
    largest, thinnest = 12.5, 1.1  # pixels: a figure's scale, half its stroke
    steps = np.sqrt((np.diff(paths, axis=1) ** 2).sum(-1))
    assert steps.max() * largest < 2 * thinnest


def test_pressure_is_that_of_the_nearest_point() -> None:
    rng = np.random.default_rng(0)
    points = rng.random((3, 5, 2)) * 24
    radius, pressure = 1 + 2 * rng.random((3, 5)), 0.5 + rng.random((3, 5))
    field = pressure_field(points, radius, size=24, pressure=pressure)
    for n in range(3):
        for y in range(24):
            for x in range(24):
                square = ((points[n] - (x + 0.5, y + 0.5)) ** 2).sum(-1)
                expected = (pressure[n] * (1 - square / radius[n] ** 2)).max()
                if expected > -0.2:
                    assert field[n, y, x] == pytest.approx(expected, abs=0.01)
                else:
                    assert field[n, y, x] < -0.15


def test_ink_is_full_in_a_stroke_and_none_beyond_it() -> None:
    line = np.stack([np.linspace(4, 28, 60), np.full(60, 16.0)], axis=-1)[None]
    (ink,) = draw_strokes(line, 2.0)
    assert (ink[15:17, 6:26] == 1).all()
    assert (ink[:13] == 0).all()
    assert (ink[19:] == 0).all()
    assert ink.sum() == pytest.approx(24 * 4 + np.pi * 4, rel=0.1)


def test_strokes_leave_the_sheet_as_on_a_larger_one() -> None:
    across = np.linspace(6, 42, 64)
    heights = np.random.default_rng(1).uniform(9, 39, (4, 1))
    points = np.stack(np.broadcast_arrays(across, heights + 6 * np.sin(across / 4)), axis=-1)
    small = draw_strokes(points - 12, 2.0, size=24)
    assert np.array_equal(small, draw_strokes(points, 2.0, size=48)[:, 12:36, 12:36])
    assert not draw_strokes(points + 1e6, 2.0).any()


def test_grain_tiles_and_breaks_a_light_line_more_than_a_firm_one() -> None:
    grain = paper_grain(np.random.default_rng(0), 64)
    assert grain.min() >= 0
    assert grain.max() <= 1
    inside = np.abs(np.diff(grain, axis=0)).mean()
    assert np.abs(grain[0] - grain[-1]).mean() == pytest.approx(inside, rel=0.3)
    light, firm = (wax(np.full((1, 64, 64), p, dtype=np.float32), grain[None], 0.9) for p in (0.45, 1.1))
    assert (light == 0).mean() > 0.1
    assert (firm >= light).all()
    assert firm.min() > 0.4
    assert np.ptp(wax(np.full((1, 64, 64), 0.2, dtype=np.float32), grain[None], 0.0)) == 0
