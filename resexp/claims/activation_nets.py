"""The nets of the claim about activations, and what is measured of each."""

from collections.abc import Mapping
from math import isfinite
from typing import Any, NamedTuple

from resexp.analysis.gradient_ratio import GradientRatio
from resexp.analysis.statistics import Interval
from resexp.claims.finding import BySeed

ACTIVATION_AXES: dict[str, dict[str, Any]] = {
    "sigmoid, Xavier": {"activation": "sigmoid", "init": "xavier"},
    "tanh, Xavier": {"activation": "tanh", "init": "xavier"},
    "ReLU, PyTorch's init": {"activation": "relu", "init": "default"},
    "ReLU, He": {"activation": "relu", "init": "he"},
}
"""Each with the initial weights it is meant to have, and ReLU also with those it gets unasked."""
SQUASHING = {"sigmoid, Xavier": "sigmoid", "tanh, Xavier": "tanh"}
NET_KINDS: dict[str, dict[str, Any]] = {
    "plain": {"kind": "plain"},
    "residual, post": {"kind": "residual", "order": "post"},
    "residual, pre": {"kind": "residual", "order": "pre"},
}


class NetName(NamedTuple):
    """Which net: its activation with its initial weights, and its kind."""

    activation: str
    kind: str

    def __str__(self) -> str:
        return f"{self.activation}: {self.kind}"


CONTROL_NET = NetName("sigmoid, Xavier", "plain with batch norm")
MODELS: dict[NetName, dict[str, Any]] = {
    NetName(activation, kind): {"norm": "none", **axes, **shape}
    for activation, axes in ACTIVATION_AXES.items()
    for kind, shape in NET_KINDS.items()
} | {CONTROL_NET: {**ACTIVATION_AXES["sigmoid, Xavier"], **NET_KINDS["plain"], "norm": "batch"}}
RELU_CURES = {
    "ReLU, PyTorch's init": "the cure is ReLU with PyTorch's own initial weights",
    "ReLU, He": "the cure is ReLU with He's initial weights",
}
RESIDUAL_CURES = {
    "residual, post": "the cure of {} is a residual net with the activation after the addition",
    "residual, pre": "the cure of {} is a residual net with nothing after the addition",
}
"""How the cures are said after `holds only if`."""


class Trials(NamedTuple):
    """One net's trainings: final losses in nats."""

    by_rate: Mapping[float, float]
    """of the first seed"""
    best: float
    losses: BySeed
    """of every seed, at the best rate"""


class NetResult(NamedTuple):
    """One net."""

    gradient: GradientRatio
    losses: BySeed
    """at the end of the training, in nats; guessing's where it is above that or no number"""
    rate: float
    diverged: int
    """seeds whose loss was no number in the end"""

    @property
    def interval(self) -> Interval | None:
        """Of T; None where its far bound is beyond what a number holds."""
        bounds = self.gradient.interval
        return bounds if bounds is None or isfinite(bounds[1]) else None


NetResults = Mapping[NetName, NetResult]
