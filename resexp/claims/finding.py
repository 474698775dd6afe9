"""What a claim's experiment hands back."""

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from matplotlib.figure import Figure

from resexp.analysis.statistics import (
    MIN_SEEDS_FOR_A_WORD,
    Estimate,
    Word,
    difference_word,
    holm,
    mean_estimate,
    paired_difference,
)
from resexp.report.formatting import number

Answer = Literal["holds", "holds only if", "does not hold", "not resolved", "not trained enough to say"]
BySeed = Mapping[int, float]
"""One number a seed."""
Key = TypeVar("Key", bound=Hashable)
Differences = dict[Key, tuple[Estimate, Word | None]]
"""Paired differences and their words, by what was compared; None where seeds are too few for a word."""


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


def measurement(what: str, values: BySeed | Sequence[float], unit: str) -> Measurement:
    """Return the mean over seeds with its t interval."""
    numbers = list(values.values()) if isinstance(values, Mapping) else values
    return Measurement.of(what, mean_estimate(numbers), unit)


def differences(pairs: Mapping[Key, tuple[BySeed, BySeed]]) -> Differences[Key]:
    """Return, for each (value, reference), the paired difference and its word, Holm-corrected over all."""
    estimates = {key: paired_difference(value, reference) for key, (value, reference) in pairs.items()}
    adjusted = holm([1.0 if e.p is None else e.p for e in estimates.values()])
    return {
        key: (estimate, difference_word(estimate, p))
        for (key, estimate), p in zip(estimates.items(), adjusted, strict=True)
    }


def geometric_mean(values: Sequence[float]) -> float:
    """Return it; 0 where a value is."""
    return math.exp(math.fsum(map(math.log, values)) / len(values)) if all(values) else 0.0


def shown(values: Measurement | BySeed | Sequence[float]) -> str:
    """Return the mean alone, for a sentence whose intervals stand in the table beside it."""
    measured = values if isinstance(values, Measurement) else measurement("", values, "")
    return "not measured" if measured.mean is None else number(measured.mean)


def too_few(n: int) -> str:
    """Return the sentence for differences that n seeds cannot carry."""
    return f"{n} {'seed is' if n == 1 else 'seeds are'} too few for a word: it takes {MIN_SEEDS_FOR_A_WORD}."


def spelled(estimate: Estimate, form: str = ".2f", *, scale: float = 1.0) -> str:
    """Return `0.44 [0.30, 0.58]`: the mean and its interval, without brackets where there is none.

    scale multiplies all three: 100 for percent.
    """
    if estimate.mean is None:
        return "not measured"
    mean = format(scale * estimate.mean, form)
    if estimate.interval is None:
        return mean
    low, high = (format(scale * bound, form) for bound in estimate.interval)
    return f"{mean} [{low}, {high}]"


def listed(words: Iterable[object]) -> str:
    """Return `a, b and c`."""
    *head, last = map(str, words)
    return f"{', '.join(head)} and {last}" if head else last
