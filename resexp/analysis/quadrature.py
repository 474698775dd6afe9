"""Gaussian quadrature: distributions of activations as weighted points.

A distribution is an array [P] in rising order whose points carry the masses MASS. NODES is the standard
normal one, so sqrt(q) * NODES has variance q, and a mean over it is a Gauss-Legendre quadrature, split at the
kink of ReLU.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]
Function = Callable[[Array], Array]

_HALF, _REACH = 48, 6.0  # nodes on each side, and how many standard deviations they span


def _density(z: Array) -> Array:
    return np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)


def _standard_normal() -> tuple[Array, Array]:
    nodes, weights = np.polynomial.legendre.leggauss(_HALF)
    positive = (nodes + 1) * _REACH / 2
    mass = weights * _density(positive)
    both = np.concatenate([mass[::-1], mass])
    return np.concatenate([-positive[::-1], positive]), both / both.sum()


NODES, MASS = _standard_normal()
NUM_NODES = len(NODES)
_EDGES = np.concatenate([[0.0], np.cumsum(MASS)])
_PAIRS = np.outer(MASS, MASS)


class ActivationFunction(NamedTuple):
    """phi and phi', elementwise."""

    value: Function
    slope: Function


class Moments(NamedTuple):
    """Of phi over a distribution: E[phi'^2], E[phi^2], Var[phi]."""

    slope: float
    square: float
    variance: float


def mean(values: Array) -> float:
    """Return the mean over a distribution's points [P]."""
    return float(MASS @ values)


def moments(phi: ActivationFunction, points: Array) -> Moments:
    """Return what a layer of phi does to squares, for pre-activations distributed like `points`."""
    value = phi.value(points)
    square = mean(value**2)
    return Moments(mean(phi.slope(points) ** 2), square, max(0.0, square - mean(value) ** 2))


def noisy(points: Array, spread: float) -> Array:
    """Return points (rows) plus normal noise of that spread (columns): [P, P]."""
    return points[:, None] + spread * NODES


def distribution(values: Array) -> Array:
    """Return what `noisy` gave, or a function of it, as a distribution of the same mean: [P]."""
    order = np.argsort(values, axis=None)
    mass = _PAIRS.ravel()[order]
    content = np.cumsum(mass * values.ravel()[order])
    below = np.interp(_EDGES, np.concatenate([[0.0], np.cumsum(mass)]), np.concatenate([[0.0], content]))
    return np.diff(below) / MASS


def _sigmoid_slope(z: Array) -> Array:
    return special.expit(z) * special.expit(-z)


def _leaky(z: Array) -> Array:
    return np.where(z > 0, 1.0, 0.1)


ACTIVATION_FUNCTIONS: dict[str, ActivationFunction] = {
    "relu": ActivationFunction(lambda z: np.maximum(z, 0), lambda z: np.where(z > 0, 1.0, 0.0)),
    "sigmoid": ActivationFunction(special.expit, _sigmoid_slope),
    "tanh": ActivationFunction(np.tanh, lambda z: 4 * _sigmoid_slope(2 * z)),
    "leaky_relu": ActivationFunction(lambda z: z * _leaky(z), _leaky),
    "gelu": ActivationFunction(lambda z: z * special.ndtr(z), lambda z: special.ndtr(z) + z * _density(z)),
    "silu": ActivationFunction(
        lambda z: z * special.expit(z), lambda z: special.expit(z) * (1 + z * special.expit(-z))
    ),
    "identity": ActivationFunction(lambda z: z, np.ones_like),
}
