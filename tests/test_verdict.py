"""Words about T over seeds, held against limits worked out by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from resexp.analysis.gradient_ratio import UNDERFLOW, transport


def _seeds(ratio: float, spread: float = 0.02) -> list[float]:
    """Five T around `ratio`, within `spread` decades."""
    return [ratio * 10 ** (spread * step) for step in (-1, -0.5, 0, 0.5, 1)]


# Factor a layer and word of nets tried by hand, before there was this instrument: depth, factor, word.
TRIED = [
    (8, 0.399, "vanishing"),
    (20, 0.391, "vanishing"),
    (56, 0.393, "vanishing"),
    (8, 0.957, "healthy"),
    (20, 0.984, "healthy"),
    (56, 0.974, "healthy"),
    (8, 0.216, "vanishing"),
    (8, 1.24, "healthy"),
    (20, 1.20, "exploding"),
    (56, 1.19, "exploding"),
    (8, 0.867, "healthy"),
    (20, 0.951, "healthy"),
    (56, 0.985, "healthy"),
    (8, 1.10, "healthy"),
    (20, 1.16, "exploding"),
    (8, 0.429, "vanishing"),
    (56, 0.468, "vanishing"),
    (8, 0.882, "healthy"),
    (20, 1.13, "healthy"),
    (56, 1.07, "healthy"),
]


@pytest.mark.parametrize(("depth", "factor", "word"), TRIED)
def test_nets_tried_by_hand_get_their_words(depth, factor, word):
    layers = depth - 2
    found = transport(_seeds(factor**layers), layers)
    assert found.word == word
    assert found.factor == pytest.approx(factor)


def test_interval_is_the_t_interval_of_log_t_over_seeds():
    values = [1e-5, 3e-4, 2e-6, 7e-5]
    logs = np.log10(values)
    half = stats.t.ppf(0.975, 3) * logs.std(ddof=1) / 2
    found = transport(values, 18)
    assert found.ratio == pytest.approx(stats.gmean(values))
    assert found.interval == pytest.approx((10 ** (logs.mean() - half), 10 ** (logs.mean() + half)))
    assert found.factor_interval == pytest.approx(
        (10 ** ((logs.mean() - half) / 18), 10 ** ((logs.mean() + half) / 18))
    )


@pytest.mark.parametrize(
    ("ratio", "layers", "word"),
    [
        (0.9e-3, 100, "vanishing"),
        (1.1e-3, 100, "healthy"),
        (1.1e3, 100, "exploding"),
        (0.9e3, 100, "healthy"),
        (0.09, 18, "vanishing"),
        (0.09, 22, "healthy"),
        (0.11, 6, "healthy"),
        (11, 18, "exploding"),
        (11, 24, "healthy"),
        (9, 6, "healthy"),
    ],
)
def test_limits(ratio, layers, word):
    """T of 0.09 over 22 layers is a factor of 0.896 a layer, over 0.89; T of 11 over 24 one of 1.105."""
    assert transport(_seeds(ratio, spread=0.001), layers).word == word


@pytest.mark.parametrize(("ratio", "layers"), [(1e-9, 54), (0.05, 6), (1.0, 18), (20, 18), (1e5, 54)])
def test_exploding_is_vanishing_read_backwards(ratio, layers):
    mirror = {"vanishing": "exploding", "exploding": "vanishing", "healthy": "healthy"}
    forward = transport(_seeds(ratio), layers)
    backward = transport([1 / value for value in _seeds(ratio)], layers)
    assert backward.word == mirror[forward.word]
    assert backward.depth == forward.depth


def test_the_whole_interval_must_lie_beyond_the_limit():
    wide = transport([1e-9, 1e-1], 54)
    assert wide.ratio == pytest.approx(1e-5)
    assert wide.word == "not enough seeds to say"
    assert transport([1e-9] * 2 + [1e-8, 1e-8], 54).word == "vanishing"


@pytest.mark.parametrize(
    ("ratio", "word"),
    [
        (0.9e-4, "vanishing"),
        (1.1e-4, "one seed"),
        (0.45, "one seed"),
        (0.9e4, "one seed"),
        (1.1e4, "exploding"),
    ],
)
def test_one_seed_gets_a_word_only_where_it_is_very_clear(ratio, word):
    found = transport([ratio], 54)
    assert found.word == word
    assert "one seed" in found.sentence
    assert found.interval is None
    assert found.factor_interval is None


@pytest.mark.parametrize("num_seeds", [1, 2, 5])
def test_an_exact_zero_is_underflow_and_vanishing_and_no_number(num_seeds):
    found = transport([0.0] * num_seeds, 54)
    assert found.word == "vanishing"
    assert (found.ratio, found.interval, found.factor, found.depth) == (None, None, None, None)
    assert f"{UNDERFLOW} in {num_seeds} of {num_seeds}" in found.sentence


def test_a_zero_confirms_vanishing_and_contradicts_health():
    assert transport([0.0, 1e-40, 1e-41, 1e-42], 54).word == "vanishing"
    assert transport([0.0, *_seeds(0.5)], 54).word == "not enough seeds to say"
    assert transport([0.0, *_seeds(1e6)], 54).word == "not enough seeds to say"
    assert transport([0.0, 1e-40], 54).ratio == pytest.approx(1e-40)


def test_seeds_without_a_measurement_are_left_out():
    with_gaps = transport([None, *_seeds(1e-9), math.inf, math.nan], 54)
    assert with_gaps == transport(_seeds(1e-9), 54)
    assert transport([None, None], 54).word == "not measured"
    assert transport([], 54).n == 0


@pytest.mark.parametrize(("factor", "depth"), [(0.5, 12), (0.393, 10), (2.0, 12), (1.19, 42)])
def test_depth_is_the_first_at_which_a_thousandth_or_a_thousand_is_passed(factor, depth):
    """Between the stem's output and the last block's lie depth - 2 layers; 0.5^9 > 1e-3 > 0.5^10."""
    assert transport(_seeds(factor**54), 54).depth == depth


def test_healthy_nets_pass_no_depth():
    assert transport(_seeds(0.5), 54).depth is None


def test_a_subnormal_is_a_number_and_an_interval_may_leave_the_floats():
    found = transport([5e-324, 1e300], 54)
    assert found.interval == (0.0, math.inf)
    assert found.word == "not enough seeds to say"


def test_every_sentence_has_its_n():
    assert transport(_seeds(1e-9), 54).sentence.endswith("n = 5")
    assert transport([0.3], 54).sentence.endswith("n = 1")


@pytest.mark.parametrize(("values", "layers"), [([-1.0], 54), ([1.0], 0)])
def test_what_cannot_be_a_ratio_of_norms_is_refused(values, layers):
    with pytest.raises(ValueError, match=r"negative|layer"):
        transport(values, layers)
