"""What a claim's experiment hands back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from matplotlib.figure import Figure

from resexp.findings.statistics import Estimate

Answer = Literal["holds", "holds only if", "does not hold", "not resolved", "not trained enough to say"]


@dataclass(frozen=True)
class Measurement:
    """One number of a claim over seeds: mean, 95% t interval (None with one seed), n, unit."""

    what: str
    mean: float | None
    interval: tuple[float, float] | None
    n: int
    unit: str

    @classmethod
    def of(cls, what: str, estimate: Estimate, unit: str) -> "Measurement":
        return cls(what, estimate.mean, estimate.interval, estimate.n, unit)


@dataclass(frozen=True)
class Picture:
    """A figure with its caption and what it shows, in words, for those who cannot see it."""

    figure: Figure
    caption: str
    description: str


@dataclass(frozen=True)
class Finding:
    """A claim, what was measured, and what that says of it; every sentence is computed from the numbers."""

    name: str
    claim: str
    source: str
    """article, or the paper the claim is from"""
    answer: Answer
    sentence: str
    """the answer spelled out, with its numbers and n"""
    setup: str
    """what was done, in a few plain sentences"""
    measurements: tuple[Measurement, ...]
    pictures: tuple[Picture, ...]
    details: dict[str, Any]
    """JSON's types: everything measured, per seed"""


Report = Callable[[float], None]
"""Told how much of the claim's work is done, in [0, 1]."""
Claim = Callable[[Sequence[int], Report], Finding]
"""An experiment over these seeds. Writes no files."""
