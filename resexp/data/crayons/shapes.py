"""Shapes: the ten figures, each one line drawn without lifting the crayon.

A figure is a function of a generator and a count; it returns [count, P, 2], x and y with y downwards,
about one unit from the origin, evenly enough spaced to be drawn with dots.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Paths = NDArray[np.float64]
Figure = Callable[[np.random.Generator, int], Paths]

POINTS = 96
T = np.linspace(0, 1, POINTS)


def _uniform(rng: np.random.Generator, num: int, low: float, high: float) -> Paths:
    return low + (high - low) * rng.random((num, 1))


def _polar(radius: Paths, angle: Paths) -> Paths:
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)


def _polygon(corners: Paths) -> Paths:
    """Return the closed line through corners [num, K, 2], evenly spaced."""
    closed = np.concatenate([corners, corners[:, :1]], axis=1)
    length = np.linalg.norm(np.diff(closed, axis=1), axis=-1).cumsum(axis=1)
    paths = np.empty((len(corners), POINTS, 2))
    for path, line, ends in zip(paths, closed, length, strict=True):
        at = np.concatenate([[0.0], ends]) / ends[-1]
        path[:, 0], path[:, 1] = np.interp(T, at, line[:, 0]), np.interp(T, at, line[:, 1])
    return paths


def circle(rng: np.random.Generator, num: int) -> Paths:
    """Return a round, sometimes a little more than once about."""
    return _polar(np.ones((num, 1)), 2 * np.pi * T * _uniform(rng, num, 0.97, 1.1))


def triangle(rng: np.random.Generator, num: int) -> Paths:
    """Return three corners, none of them exact."""
    angles = -np.pi / 2 + np.arange(3) * 2 * np.pi / 3 + (rng.random((num, 3)) - 0.5) * 0.5
    return _polygon(1.1 * _polar(np.ones((num, 1)), angles))


def square(rng: np.random.Generator, num: int) -> Paths:
    """Return four corners, none of them exact."""
    angles = np.pi / 4 + np.arange(4) * np.pi / 2 + (rng.random((num, 4)) - 0.5) * 0.3
    return _polygon(1.15 * _polar(np.ones((num, 1)), angles))


def star(rng: np.random.Generator, num: int) -> Paths:
    """Return the outline of a star of five points."""
    angles = -np.pi / 2 + np.arange(10) * np.pi / 5 + (rng.random((num, 10)) - 0.5) * 0.15
    radius = np.where(np.arange(10) % 2 == 0, 1.2, _uniform(rng, num, 0.42, 0.55))
    return _polygon(_polar(radius, angles))


def heart(rng: np.random.Generator, num: int) -> Paths:
    """Return a heart with its point below, slim or stout."""
    a = 2 * np.pi * T
    x = np.sin(a) ** 3 * _uniform(rng, num, 0.95, 1.2)
    y = -(13 * np.cos(a) - 5 * np.cos(2 * a) - 2 * np.cos(3 * a) - np.cos(4 * a)) / 15 - 0.1
    return np.stack([x, np.broadcast_to(y, x.shape)], axis=-1)


def moon(rng: np.random.Generator, num: int) -> Paths:
    """Return a crescent: an outer arc there and an inner arc back."""
    half = POINTS // 2
    tip = _uniform(rng, num, 1.75, 2.1)
    out = tip * np.linspace(-1, 1, half)
    outer = _polar(np.ones((num, 1)), out)
    bulge = _uniform(rng, num, 0.1, 0.45)
    back = np.linspace(1, -1, POINTS - half)
    inner_x = np.cos(tip) + (bulge - np.cos(tip)) * (1 - back**2)
    inner = np.stack([inner_x, np.sin(tip) * back], axis=-1)
    return 1.1 * (np.concatenate([outer, inner], axis=1) - np.array([0.25, 0.0]))


def spiral(rng: np.random.Generator, num: int) -> Paths:
    """Return a spiral of two to two and a half turns, left or right."""
    turns = _uniform(rng, num, 1.9, 2.5) * np.where(rng.random((num, 1)) < 0.5, -1, 1)
    way = T**0.6
    return _polar(0.05 + 1.1 * way, 2 * np.pi * turns * way)


def squiggle(rng: np.random.Generator, num: int) -> Paths:
    """Return a wavy line of two to three waves."""
    waves = _uniform(rng, num, 1.8, 3.0)
    phase = _uniform(rng, num, 0, 2 * np.pi)
    height = _uniform(rng, num, 0.4, 0.6)
    y = height * np.sin(2 * np.pi * waves * T + phase)
    return np.stack([np.broadcast_to(2.5 * T - 1.25, y.shape), y], axis=-1)


def fish(rng: np.random.Generator, num: int) -> Paths:
    """Return the fish of a single line that crosses itself before the tail."""
    a = 2 * np.pi * (T + 0.5)
    x = _uniform(rng, num, 1.0, 1.2) * (np.cos(a) - np.sin(a) ** 2 / np.sqrt(2)) + 0.2
    y = _uniform(rng, num, 1.3, 1.8) * np.cos(a) * np.sin(a)
    return np.stack([x, y], axis=-1)


def flower(rng: np.random.Generator, num: int) -> Paths:
    """Return a round of five or six petals."""
    petals = np.where(rng.random((num, 1)) < 0.5, 5, 6)
    depth = _uniform(rng, num, 0.24, 0.34)
    a = 2 * np.pi * T
    return _polar(0.9 + depth * np.cos(petals * a), np.broadcast_to(a, (num, POINTS)))


FIGURES: dict[str, Figure] = {
    "circle": circle,
    "triangle": triangle,
    "square": square,
    "star": star,
    "heart": heart,
    "moon": moon,
    "spiral": spiral,
    "squiggle": squiggle,
    "fish": fish,
    "flower": flower,
}
