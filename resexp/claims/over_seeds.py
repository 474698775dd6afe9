"""From one number a seed to what a finding says: measurements, differences and the words they deserve."""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

from resexp.claims.finding import Measurement
from resexp.findings.statistics import (
    MIN_SEEDS_FOR_A_WORD,
    Estimate,
    Word,
    difference_word,
    holm,
    mean_estimate,
    paired_difference,
)
from resexp.views.claims_table import number

BySeed = Mapping[int, float]
"""One number a seed."""
Key = TypeVar("Key", bound=Hashable)
Differences = dict[Key, tuple[Estimate, Word | None]]
"""Paired differences and their words, by what was compared; None where seeds are too few for a word."""


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
