"""Words about T over seeds, held against limits worked out by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from resexp.analysis.gradient_ratio import UNDERFLOW, gradient_ratio, may_vanish, num_vanishing


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
    found = gradient_ratio(_seeds(factor**layers), layers)
    assert found.word == word
    assert found.factor == pytest.approx(factor)


def test_interval_is_the_t_interval_of_log_t_over_seeds():
    values = [1e-5, 3e-4, 2e-6, 7e-5]
    logs = np.log10(values)
    half = stats.t.ppf(0.975, 3) * logs.std(ddof=1) / 2
    found = gradient_ratio(values, 18)
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
    assert gradient_ratio(_seeds(ratio, spread=0.001), layers).word == word


@pytest.mark.parametrize(("ratio", "layers"), [(1e-9, 54), (0.05, 6), (1.0, 18), (20, 18), (1e5, 54)])
def test_exploding_is_vanishing_read_backwards(ratio, layers):
    mirror = {"vanishing": "exploding", "exploding": "vanishing", "healthy": "healthy"}
    forward = gradient_ratio(_seeds(ratio), layers)
    backward = gradient_ratio([1 / value for value in _seeds(ratio)], layers)
    assert backward.word == mirror[forward.word]
    assert backward.depth == forward.depth


def test_the_whole_interval_must_lie_beyond_the_limit():
    wide = gradient_ratio([1e-9, 1e-1], 54)
    assert wide.ratio == pytest.approx(1e-5)
    assert wide.word == "not enough seeds to say"
    assert gradient_ratio([1e-9] * 2 + [1e-8, 1e-8], 54).word == "vanishing"


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
    found = gradient_ratio([ratio], 54)
    assert found.word == word
    assert "one seed" in found.sentence
    assert found.interval is None
    assert found.factor_interval is None


@pytest.mark.parametrize(
    "values",
    [
        [1e-9, 1e9],
        [10**x for x in (-4.0, -3.0, -2.0, -1.0, 0.0)],
        [10**x for x in (-2.0, -1.0, 0.0, 1.0, 4.0)],
        _seeds(10**-2.72, spread=0.5),
        _seeds(10**2.65, spread=0.5),
    ],
)
def test_health_is_not_read_into_a_wide_interval(values):
    """The mean of each is inside the limits, at 56 layers 10^-2.73 and 10^2.66; the interval is not."""
    assert gradient_ratio(values, 54).word == "not enough seeds to say"


def test_health_needs_seeds_until_its_interval_fits():
    values = [1e-2, 1e-1, 1.0]
    assert gradient_ratio(values, 54).word == "not enough seeds to say"
    assert gradient_ratio(values * 4, 54).word == "healthy"


@pytest.mark.parametrize("values", [[0.0, 0.0, 0.0, 0.0, 2e-3], [0.0, 1e-37, 1e-39, 1e-41, 1e-44]])
def test_an_underflow_is_censored_and_the_interval_is_its_upper_bound(values):
    """Each zero counts as 2^-126, float32's smallest normal number, which it lies below for certain."""
    logs = np.log10([value or 2.0**-126 for value in values])
    upper = logs.mean() + stats.t.ppf(0.975, 4) * logs.std(ddof=1) / math.sqrt(5)
    found = gradient_ratio(values, 54)
    assert found.word == "vanishing"
    assert found.interval == pytest.approx((0.0, 10**upper), rel=1e-9, abs=0)
    assert found.factor_interval == pytest.approx((0.0, 10 ** (upper / 54)))
    assert found.ratio is None
    assert f"T below {10**upper:.3g}" in found.sentence


def test_a_zero_in_float64_lies_below_what_float64_holds():
    found = gradient_ratio([0.0, 0.0, 0.0, 1e-300, 1e-305], 54)
    assert found.word == "vanishing"
    assert found.interval is not None
    assert found.interval[1] < 1e-295


def test_a_seed_that_vanishes_alone_is_counted_and_an_interval_that_may_is_seen():
    assert num_vanishing([1e-9, 1e-9, 1e-9, 1e-9, 0.5, 0.0, None, math.nan], 54) == 5
    assert num_vanishing([1e-2] * 3, 54) == 0
    assert num_vanishing([1e-2] * 3, 18) == 3  # 0.77 a layer
    assert may_vanish(gradient_ratio([1e-3, 1.0, 1.0], 54))
    assert not may_vanish(gradient_ratio(_seeds(0.5), 54))
    assert not may_vanish(gradient_ratio([0.5], 54))


@pytest.mark.parametrize("num_seeds", [1, 2, 5])
def test_an_exact_zero_is_underflow_and_vanishing_and_no_number(num_seeds):
    found = gradient_ratio([0.0] * num_seeds, 54)
    assert found.word == "vanishing"
    assert (found.ratio, found.interval, found.factor, found.depth) == (None, None, None, None)
    assert f"{UNDERFLOW} in {num_seeds} of {num_seeds}" in found.sentence


def test_a_zero_confirms_vanishing_and_contradicts_health():
    assert gradient_ratio([0.0, 1e-40, 1e-41, 1e-42], 54).word == "vanishing"
    assert gradient_ratio([0.0, *_seeds(0.5)], 54).word == "not enough seeds to say"
    assert gradient_ratio([0.0, *_seeds(1e6)], 54).word == "not enough seeds to say"
    found = gradient_ratio([0.0, 1e-40], 54)
    assert (found.ratio, found.factor, found.depth) == (None, None, None)


def test_seeds_without_a_measurement_are_left_out():
    with_gaps = gradient_ratio([None, *_seeds(1e-9), math.inf, math.nan], 54)
    assert with_gaps == gradient_ratio(_seeds(1e-9), 54)
    assert gradient_ratio([None, None], 54).word == "not measured"
    assert gradient_ratio([], 54).n == 0


@pytest.mark.parametrize(("factor", "depth"), [(0.5, 12), (0.393, 10), (2.0, 12), (1.19, 42)])
def test_depth_is_the_first_at_which_a_thousandth_or_a_thousand_is_passed(factor, depth):
    """Between the stem's output and the last block's lie depth - 2 layers; 0.5^9 > 1e-3 > 0.5^10."""
    assert gradient_ratio(_seeds(factor**54), 54).depth == depth


def test_healthy_nets_pass_no_depth():
    assert gradient_ratio(_seeds(0.5), 54).depth is None


def test_a_subnormal_is_a_number_and_an_interval_may_leave_the_floats():
    found = gradient_ratio([5e-324, 1e300], 54)
    assert found.interval == (0.0, math.inf)
    assert found.word == "not enough seeds to say"


def test_every_sentence_has_its_n():
    assert gradient_ratio(_seeds(1e-9), 54).sentence.endswith("n = 5")
    assert gradient_ratio([0.3], 54).sentence.endswith("n = 1")


@pytest.mark.parametrize(("values", "layers"), [([-1.0], 54), ([1.0], 0)])
def test_what_cannot_be_a_ratio_of_norms_is_refused(values, layers):
    with pytest.raises(ValueError, match=r"negative|layer"):
        gradient_ratio(values, layers)
