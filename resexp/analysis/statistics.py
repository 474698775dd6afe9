"""Statistics: t intervals over seeds, Fisher's exact test on counts of seeds, and Holm's correction.

Every interval is a t interval at 95% and comes from scipy. No bootstrap: with fewer than 20 seeds its
intervals are too narrow (two equal arms would be told apart in 24, 18, 10% of cases at n = 3, 5, 10).
"""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import scipy  # whose parts are loaded when they are first used: one seed needs no test

CONFIDENCE, ERROR_RATE = 0.95, 0.05
MIN_SEEDS_FOR_A_WORD = 5
"""Below it, 80% power needs a true difference of more than 1.7 standard deviations: intervals, no words."""
UNSEEN_SHARE, SEEDS_TO_SEE_IT = 0.3, 9
"""A fate that 30% of seeds meet is met by none of nine in 4% of cases (0.7^9), by none of five in 17%. Below
nine seeds a word about a mean must therefore stand even if 30% of the better side's seeds got stuck."""

DifferenceWord = Literal["lower", "higher", "not resolved"]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Estimate:
    """A mean, or a difference of means, with what n seeds allow to say about it.

    n: seeds (or pairs of them) behind it; for two groups of their own seeds, the smaller group.
    mean: None when n is 0. interval, p: None when n is below 2. p is two-sided, against a mean of 0.
    """

    n: int
    mean: float | None = None
    interval: Interval | None = None
    p: float | None = None


def mean_estimate(values: Sequence[float]) -> Estimate:
    """Return the mean of one value a seed, with its one-sample t interval."""
    if len(values) < 2:
        return Estimate(n=len(values), mean=values[0] if values else None)
    return _estimate(
        len(values), math.fsum(values) / len(values), lambda: scipy.stats.ttest_1samp(values, 0.0)
    )


def paired_difference(values: Mapping[int, float], reference: Mapping[int, float]) -> Estimate:
    """Return the mean of value - reference over the seeds both have, with its paired t interval.

    Twins share initial weights, batches and augmentation, so what a seed does to both cancels.
    """
    seeds = sorted(values.keys() & reference.keys())
    first, second = [values[seed] for seed in seeds], [reference[seed] for seed in seeds]
    differences = [a - b for a, b in zip(first, second, strict=True)]
    if len(seeds) < 2:
        return Estimate(n=len(seeds), mean=differences[0] if differences else None)
    mean = math.fsum(differences) / len(seeds)
    return _estimate(len(seeds), mean, lambda: scipy.stats.ttest_rel(first, second))


def welch_difference(values: Sequence[float], reference: Sequence[float]) -> Estimate:
    """Return mean(values) - mean(reference) of two groups with their own seeds and spreads, by Welch."""
    n = min(len(values), len(reference))
    if n == 0:
        return Estimate(n=0)
    mean = math.fsum(values) / len(values) - math.fsum(reference) / len(reference)
    if n < 2:
        return Estimate(n=n, mean=mean)
    return _estimate(n, mean, lambda: scipy.stats.ttest_ind(values, reference, equal_var=False))


class ExactTest(NamedTuple):
    """A two-sided p value, and the smallest that the test can give with as many successes in all."""

    p: float
    smallest: float


@lru_cache(maxsize=4096)
def fisher(successes: int, num: int, reference_successes: int, reference_num: int) -> ExactTest:
    """Compare `successes` of `num` with those of a reference by Fisher's exact test.

    It takes the two groups for independent. Seeds that two arms share make it cautious, as what a seed does
    to both leaves less room for a difference.
    """
    total = successes + reference_successes

    def p_of(here: int) -> float:
        there = total - here
        table = [[here, num - here], [there, reference_num - there]]
        return float(scipy.stats.fisher_exact(table).pvalue)

    possible = range(max(0, total - reference_num), min(total, num) + 1)
    return ExactTest(p_of(successes), min(map(p_of, possible)))


def outlier(values: Sequence[float]) -> int | None:
    """Return the place of the one value that makes the spread: Grubbs' outlier at 5%; None without one.

    Of normal values 5% of samples are accused of one. Two outliers can hide each other.
    """
    n = len(values)
    if n < 3:
        return None
    mean = math.fsum(values) / n
    squares = [(value - mean) ** 2 for value in values]
    share = max(squares) / total if (total := math.fsum(squares)) > 0 else 0.0
    # The t statistic of the furthest value against the mean and spread of the others, for n places at once.
    rest = (n - 1) / n - share
    t = math.sqrt(share * (n - 2) / rest) if rest > 1e-12 else math.inf
    return squares.index(max(squares)) if 2 * n * scipy.stats.t.sf(t, n - 2) < ERROR_RATE else None


def holm(p_values: Sequence[float]) -> list[float]:
    """Return each p value adjusted for all of them (Holm 1979), in the order given.

    Whatever the dependence between the cells, a word at adjusted p < 0.05 keeps the chance of any false
    word in the whole family at 5%.
    """
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def difference_word(
    estimate: Estimate, adjusted_p: float | None, level: float = ERROR_RATE
) -> DifferenceWord | None:
    """Return the word a tested difference deserves at this level; None with fewer than five seeds."""
    if estimate.n < MIN_SEEDS_FOR_A_WORD or adjusted_p is None or estimate.mean is None:
        return None
    if adjusted_p >= level:
        return "not resolved"
    return "lower" if estimate.mean < 0 else "higher"


def _estimate(n: int, mean: float, test: Callable[[], Any]) -> Estimate:
    with warnings.catch_warnings():
        # Values that agree to the last digit are no fault: their interval has no width.
        warnings.filterwarnings("ignore", "Precision loss occurred", RuntimeWarning)
        result = test()
        low, high = result.confidence_interval(confidence_level=CONFIDENCE)
    # Without any spread and any difference scipy's p is 0/0; nothing then speaks against "equal".
    p = 1.0 if math.isnan(result.pvalue) else float(result.pvalue)
    if math.isnan(low):
        low = high = mean
    return Estimate(n=n, mean=mean, interval=(float(low), float(high)), p=p)
