"""Intervals, exact tests, Holm and words against textbook formulas and brute force."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from resexp.analysis.statistics import (
    Estimate,
    difference_word,
    fisher,
    holm,
    mean_estimate,
    outlier,
    paired_difference,
    welch_difference,
)


def _random(seed: int, n: int) -> list[float]:
    return np.random.default_rng(seed).normal(1.0, 2.0, n).tolist()


@pytest.mark.parametrize("n", [2, 3, 5, 30])
def test_interval_of_a_mean_is_the_textbook_one(n):
    values = _random(n, n)
    mean, deviation = np.mean(values), np.std(values, ddof=1)
    half = stats.t.ppf(0.975, n - 1) * deviation / math.sqrt(n)
    found = mean_estimate(values)
    assert found.mean == pytest.approx(mean)
    assert found.interval == pytest.approx((mean - half, mean + half))


@pytest.mark.parametrize(("n", "deviations"), [(3, 2.48), (5, 1.24)])
def test_half_width_at_few_seeds(n, deviations):
    values = _random(0, n)
    found = mean_estimate(values)
    assert found.interval is not None
    half = (found.interval[1] - found.interval[0]) / 2
    assert half / np.std(values, ddof=1) == pytest.approx(deviations, abs=0.005)


def test_pairing_cancels_what_a_seed_does_to_both_arms():
    rng = np.random.default_rng(3)
    shared, own = rng.normal(0, 100, 6), rng.normal(0.5, 0.1, 6)
    reference = dict(enumerate(shared.tolist()))
    values = dict(enumerate((shared + own).tolist()))
    found, alone = paired_difference(values, reference), mean_estimate(own.tolist())
    assert found.interval == pytest.approx(alone.interval)
    assert found.p == pytest.approx(alone.p, rel=1e-6)


def test_only_seeds_of_both_arms_are_paired():
    values, reference = {0: 1.0, 1: 2.0, 2: 4.0, 9: 1e9}, {2: 1.0, 1: 1.0, 0: 1.0, 7: -1e9}
    found = paired_difference(values, reference)
    assert (found.n, found.mean) == (3, pytest.approx(4 / 3))


def test_welch_is_the_textbook_one():
    first, second = _random(1, 4), _random(2, 9)
    a, b = np.var(first, ddof=1) / 4, np.var(second, ddof=1) / 9
    freedom = (a + b) ** 2 / (a**2 / 3 + b**2 / 8)
    difference = np.mean(first) - np.mean(second)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(a + b)
    found = welch_difference(first, second)
    assert found.n == 4
    assert found.mean == pytest.approx(difference)
    assert found.interval == pytest.approx((difference - half, difference + half))
    assert found.p == pytest.approx(2 * stats.t.sf(abs(difference) / math.sqrt(a + b), freedom))


@pytest.mark.parametrize(
    "found",
    [mean_estimate([2.0]), paired_difference({4: 3.0}, {4: 1.0}), welch_difference([5.0, 1.0], [1.0])],
)
def test_one_seed_has_a_mean_and_no_interval(found):
    assert found == Estimate(n=1, mean=2.0)


@pytest.mark.parametrize(
    "found", [mean_estimate([]), paired_difference({1: 1.0}, {2: 1.0}), welch_difference([], [1.0])]
)
def test_no_seed_has_nothing(found):
    assert found == Estimate(n=0)


def test_equal_values_give_an_interval_without_width_and_no_warning():
    assert mean_estimate([0.1] * 3).interval == pytest.approx((0.1, 0.1))
    same = dict.fromkeys(range(5), 0.3)
    assert paired_difference(same, same) == Estimate(n=5, mean=0.0, interval=(0.0, 0.0), p=1.0)
    assert welch_difference([0.3] * 5, [0.3] * 5) == Estimate(n=5, mean=0.0, interval=(0.0, 0.0), p=1.0)


def _closed_testing(p_values: list[float]) -> list[float]:
    """Holm by its definition: a p is the largest Bonferroni p of all the intersections it is part of."""
    indices = range(len(p_values))
    families = [set(f) for size in range(1, len(p_values) + 1) for f in itertools.combinations(indices, size)]
    bonferroni = [(family, min(1.0, len(family) * min(p_values[i] for i in family))) for family in families]
    return [max(p for family, p in bonferroni if i in family) for i in indices]


@pytest.mark.parametrize("seed", range(20))
def test_holm_is_closed_testing_with_bonferroni(seed):
    p_values = (np.random.default_rng(seed).random(6) ** 3).tolist()
    assert holm(p_values) == pytest.approx(_closed_testing(p_values))


def test_holm_of_one_test_changes_nothing_and_of_none_is_empty():
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


@pytest.mark.parametrize(
    ("n", "mean", "adjusted", "word"),
    [
        (4, -1.0, 1e-9, None),
        (5, -1.0, 0.049, "lower"),
        (5, 1.0, 0.049, "higher"),
        (5, 1.0, 0.05, "not resolved"),
        (5, 1.0, None, None),
    ],
)
def test_a_word_needs_five_seeds_and_an_adjusted_p_below_5_percent(n, mean, adjusted, word):
    assert difference_word(Estimate(n, mean, (-2.0, 2.0), 0.01), adjusted) == word


def _two_sided(successes: int, num: int, other: int, other_num: int) -> float:
    """Fisher's p by counting: the share of all ways to deal the successes that are no likelier than this."""
    total = successes + other
    ways = [math.comb(num, k) * math.comb(other_num, total - k) for k in range(total + 1)]
    return sum(way for way in ways if way <= ways[successes]) / math.comb(num + other_num, total)


@pytest.mark.parametrize(
    "table", [(5, 5, 0, 5), (10, 10, 0, 10), (3, 5, 1, 6), (7, 10, 10, 10), (2, 4, 3, 9)]
)
def test_fisher_is_a_count_of_ways_and_its_smallest_p_belongs_to_the_most_uneven_table(table):
    successes, num, other, other_num = table
    total = successes + other
    possible = [
        _two_sided(k, num, total - k, other_num) for k in range(num + 1) if 0 <= total - k <= other_num
    ]
    found = fisher(*table)
    assert found.p == pytest.approx(_two_sided(*table))
    assert found.smallest == pytest.approx(min(possible))


def test_an_outlier_is_that_of_grubbs():
    """Grubbs (1950) for n = 10: |x - mean| / sd beyond 2.290 at 5%, two-sided."""
    base = _random(0, 9)

    def g(value: float) -> float:
        values = np.array([*base, value])
        return abs(value - values.mean()) / values.std(ddof=1)

    low, high = float(np.mean(base)), 1e3
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if g(middle) < 2.290 else (low, middle)
    assert outlier([*base, low - 0.05]) is None
    assert outlier([*base, high + 0.05]) == 9


def test_an_outlier_is_seen_in_5_percent_of_normal_samples_and_wherever_it_is_plain():
    samples = [_random(seed, 10) for seed in range(600)]
    accused = sum(outlier(sample) is not None for sample in samples)
    assert abs(accused - 30) < 3.5 * math.sqrt(30 * 0.95)
    assert all(outlier([*sample[:4], 1e3, *sample[4:]]) == 4 for sample in samples[:20])


@pytest.mark.parametrize(
    ("values", "place"), [([], None), ([1.0, 9.0], None), ([2.0] * 5, None), ([2.0] * 4 + [3.0], 4)]
)
def test_outliers_of_few_or_equal_values(values, place):
    assert outlier(values) == place
