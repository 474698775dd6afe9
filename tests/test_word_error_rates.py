"""How often the words lie and how often they find what is there: the benchmark's simulations, cut short.

Limits are those promised for 1,000 comparisons, with three standard deviations of the smaller count here.
"""

import math

import pytest

from benchmarks.word_error_rates import (
    HIGHER,
    LIMIT,
    LOWER,
    coverage,
    equal_arms,
    fates,
    healthy,
    one_difference,
    shares,
    small_cells_beside,
    spiky,
    stuck_deep,
    stuck_plain,
    warned,
)

SEED = 7


def at_most(share: float, num: int) -> float:
    return share + 3 * math.sqrt(share * (1 - share) / num)


@pytest.mark.parametrize("num_seeds", [5, 10, 20])
def test_stuck_seeds_rarely_turn_a_word_around(num_seeds):
    found = shares(100, SEED, lambda rng: stuck_plain(rng, num_seeds), reversed=HIGHER, right=LOWER)
    assert found["after"]["reversed"] <= at_most(0.05, 100)
    if num_seeds > 5:
        assert found["before"]["reversed"] > 0.7  # the rule that is gone; so the simulation can tell


@pytest.mark.parametrize("num_seeds", [5, 10, 20])
def test_a_deep_net_of_which_seeds_get_stuck_is_rarely_praised(num_seeds):
    words = {"praised": ("degradation", "lower"), "right": ("degradation", "higher")}
    found = shares(100, SEED, lambda rng: stuck_deep(rng, num_seeds), **words)
    assert found["after"]["praised"] <= 0.05
    if num_seeds == 20:
        assert found["before"]["praised"] > 0.5
        assert found["after"]["right"] > 0.6


@pytest.mark.parametrize("stuck", [0.0, 0.1, 0.3])
def test_equal_arms_are_rarely_told_apart_in_a_whole_comparison(stuck):
    found = shares(100, SEED, lambda rng: equal_arms(rng, 10, stuck=stuck))
    assert found["after"]["any"] <= at_most(0.05, 100)


def test_three_seeds_never_get_a_word():
    assert shares(20, SEED, lambda rng: equal_arms(rng, 3))["after"]["any"] == 0


@pytest.mark.parametrize(("num_seeds", "effect"), [(5, 20.0), (10, 2.0)])
def test_a_difference_is_found_where_it_must_be(num_seeds, effect):
    """Two standard deviations at ten seeds; at five, 0.57 nats: more than stuck seeds could turn around."""
    found = shares(100, SEED, lambda rng: one_difference(rng, num_seeds, effect), found=LOWER)
    assert found["after"]["found"] >= 0.8


def test_small_cells_beside_it_cost_a_cell_no_power():
    found = shares(60, SEED, small_cells_beside, found=LOWER)
    assert found["after"]["found"] >= 0.7
    assert found["before"]["found"] < 0.6


def test_ten_of_ten_against_none_of_ten_is_found():
    found = shares(40, SEED, lambda rng: fates(rng, 10, 1.0, 0.0), found=("fates", "higher"))
    assert found["after"]["found"] == 1.0


def test_a_word_that_rare_spikes_make_is_mostly_warned_of_or_withheld():
    assert shares(60, SEED, lambda rng: spiky(rng, 5))["after"]["any"] <= 0.05
    found = warned(60, SEED, 20)
    assert found["false"] < 0.25


@pytest.mark.parametrize("num_seeds", [2, 5, 10])
@pytest.mark.parametrize("spread", [0.5, 2.0])
def test_nets_on_the_limit_are_rarely_called_healthy(num_seeds, spread):
    found = healthy(300, SEED, num_seeds, LIMIT, spread)
    assert found["after"] <= at_most(0.05, 300)
    assert found["before"] > 0.4


def test_nets_far_from_the_limits_are_called_healthy():
    assert healthy(100, SEED, 5, 0.0, 0.5)["after"] > 0.9


@pytest.mark.parametrize("num_seeds", [5, 10, 20])
def test_the_interval_of_t_holds_where_float32_ends(num_seeds):
    found = coverage(300, SEED, num_seeds)
    assert found["after"] >= 0.93
    if num_seeds > 5:
        assert found["before"] < 0.8
