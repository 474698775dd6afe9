"""Intervals, Holm and words against textbook formulas, brute force and simulation."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from benchmarks.error_rates import num_found, num_with_a_word, one_cell
from resexp.analysis.statistics import (
    Estimate,
    difference_word,
    holm,
    mean_estimate,
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


def test_equal_arms_are_rarely_told_apart_in_a_whole_comparison():
    # 5% of 100, and three standard deviations of that count.
    assert num_with_a_word(100, num_seeds=5, seed=1) <= 11


def test_three_seeds_never_get_a_word():
    assert num_with_a_word(20, num_seeds=3, seed=1) == 0


def test_a_difference_of_two_standard_deviations_is_found_at_five_seeds():
    differences = one_cell(100, num_seeds=5, seed=1, effect=2.0)
    assert sum(d.word == "lower" for d in differences) >= 80
    assert sum(d.word == "lower" for d in differences) == num_found(differences)
