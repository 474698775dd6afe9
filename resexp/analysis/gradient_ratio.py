"""The gradient ratio T, first over last: vanishing, exploding or healthy; and its slope inside the stages.

T is N_first / N_last: the L2 norm of dE/dx at the stem's output over that at the last block's output. The
factor is T^(1 / layers): by how much one weighted layer scales the gradient on its way to the input.

The end points give T. Theory speaks of layers deep inside a stage, so against theory it is the slope that
counts, with one intercept a stage: strides, wider channels and smaller maps then play no part.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from resexp.analysis.statistics import Interval, mean_estimate
from resexp.records.schema import OutputRow

Direction = Literal["vanishing", "exploding"]
GradientWord = Literal[Direction, "healthy", "not enough seeds to say", "one seed", "not measured"]
# In decades of T, so that vanishing and exploding are mirror images.
CLEAR_DECADES = 3.0
"""T below 1e-3 vanishes, above 1e3 explodes, by the bound of its interval that is nearer to 1."""
MILD_DECADES = 1.0
"""A shallow net has few layers to vanish in: T below 0.1 or above 10 will do, if the factor is clear."""
MILD_FACTOR: dict[Direction, float] = {"vanishing": 0.89, "exploding": 1.12}
ONE_SEED_DECADES = 4.0
"""One seed shows no spread, so it must be clearer still: T below 1e-4 or above 1e4."""
EDGE_FLOAT32, EDGE_FLOAT64 = 2.0**-126, 2.0**-1022
"""Normal numbers. A gradient that comes out as an exact zero lies below, and T with it: N is summed in
float64, and at the last block it is of the order of 1."""
ONLY_FLOAT64 = 1e-60
"""A T below it was not measured in float32."""
UNDERFLOW = "an exact zero (below what float32/float64 holds, or cut off by dead units)"
MIN_BLOCKS = 3
"""Outputs a stage must have, or its slope says nothing."""


@dataclass(frozen=True)
class GradientRatio:
    """What became of the gradient on its way through one kind of net, over seeds.

    n: seeds measured, of which `underflows` gave an exact zero. ratio: the geometric mean of T; None where a
    seed underflowed, which no mean may leave out. interval: its 95% t interval, taken on log10 T, from the
    spread over seeds alone, None below two. With underflows it is (0, upper bound), where each of them is
    taken for the smallest number that a float holds, so the bound is on the safe side; None where all
    underflowed. factor: per weighted layer, likewise. depth: of the net, in weighted layers, at which 1e-3 or
    1e3 is passed at this factor; None unless vanishing or exploding with a ratio.
    """

    n: int
    underflows: int
    layers: int
    ratio: float | None
    interval: Interval | None
    factor: float | None
    factor_interval: Interval | None
    word: GradientWord
    depth: int | None
    sentence: str


def gradient_ratio(values: Sequence[float | None], layers: int) -> GradientRatio:
    """Judge T over seeds, for nets with `layers` weighted layers between the first and the last output.

    values: one T a seed; exactly 0 where the numerator underflowed; None (or not finite) where there is
    none, which leaves the seed out. layers: the net's depth - 2, at least 1.
    """
    if layers < 1:
        raise ValueError(f"there must be a layer between the first output and the last, got {layers}")
    measured = [value for value in values if value is not None and math.isfinite(value)]
    if any(value < 0 for value in measured):
        raise ValueError(f"T is a ratio of norms and cannot be negative, got {min(measured)}")
    n, underflows = len(measured), measured.count(0.0)
    mean, interval = _on_log_scale(measured)

    word = _word(n, underflows, mean, interval, layers)
    depth = _depth_passed(mean, layers) if mean is not None and word in MILD_FACTOR else None
    ratio, factor = (None, None) if mean is None else (_power(mean), _power(mean / layers))
    ratios = factors = None
    if interval is not None:
        ratios = (_power(interval[0]), _power(interval[1]))
        factors = (_power(interval[0] / layers), _power(interval[1] / layers))

    parts = []
    if mean is not None:
        parts.append(f"T = {ratio:.3g}{_brackets(ratios)}")
        parts.append(f"factor {factor:.3g}{_brackets(factors)} a layer")
    elif ratios is not None and factors is not None:
        parts.append(f"T below {ratios[1]:.3g}, factor below {factors[1]:.3g} a layer")
    if depth is not None:
        parts.append(f"{'1e-3' if word == 'vanishing' else '1e3'} is passed at depth {depth}")
    if underflows:
        parts.append(f"{UNDERFLOW} in {underflows} of {n}")
    head = f"{word} (one seed)" if n == 1 and word in MILD_FACTOR else word
    sentence = f"{head}: {', '.join(parts)}; n = {n}" if n else word
    return GradientRatio(n, underflows, layers, ratio, ratios, factor, factors, word, depth, sentence)


def num_vanishing(values: Sequence[float | None], layers: int) -> int:
    """Return how many seeds vanish by themselves, an underflow included: T below the limits of the word."""
    measured = [value for value in values if value is not None and math.isfinite(value)]
    return sum(
        value == 0 or _direction(math.log10(value), math.log10(value), layers) == "vanishing"
        for value in measured
    )


def may_vanish(found: GradientRatio) -> bool:
    """Return whether the interval of T reaches down to where the gradient vanishes."""
    if found.interval is None:
        return False
    low = math.log10(found.interval[0]) if found.interval[0] > 0 else -math.inf
    return _direction(low, low, found.layers) == "vanishing"


def _on_log_scale(measured: Sequence[float]) -> tuple[float | None, Interval | None]:
    """Return the mean of log10 T and its interval; with underflows no mean and the upper bound alone."""
    above = [value for value in measured if value > 0]
    logs = [math.log10(value) for value in above]
    if len(above) == len(measured):
        estimate = mean_estimate(logs)
        return estimate.mean, estimate.interval
    if not above:
        return None, None
    # Put in for what is smaller still, it moves the mean up: the bound holds for the mean that is not seen.
    edge = math.log10(EDGE_FLOAT64 if min(above) < ONLY_FLOAT64 else EDGE_FLOAT32)
    bounded = mean_estimate([*logs, *[edge] * (len(measured) - len(above))]).interval
    return None, None if bounded is None else (-math.inf, bounded[1])


def _word(
    n: int, underflows: int, mean: float | None, interval: Interval | None, layers: int
) -> GradientWord:
    if n == 0:
        return "not measured"
    if underflows == n:
        return "vanishing"
    if interval is not None:
        low, high = interval
        if direction := _direction(low, high, layers):
            return direction
        inside = not _direction(low, low, layers) and not _direction(high, high, layers)
        return "healthy" if inside else "not enough seeds to say"
    if mean is not None and abs(mean) > ONE_SEED_DECADES:
        return "vanishing" if mean < 0 else "exploding"
    return "one seed"


def _direction(low: float, high: float, layers: int) -> Direction | None:
    """Hold the bounds of log10 T against the limits."""
    nearer: dict[Direction, float] = {"vanishing": -high, "exploding": low}
    for direction, decades in nearer.items():
        clear_factor = decades / layers > abs(math.log10(MILD_FACTOR[direction]))
        if decades > CLEAR_DECADES or (decades > MILD_DECADES and clear_factor):
            return direction
    return None


def _depth_passed(mean: float, layers: int) -> int:
    """Return the depth, stem and head included, from which |log10 T| is at least 3 at the mean factor."""
    return math.ceil(CLEAR_DECADES / abs(mean) * layers) + 2


def _power(exponent: float) -> float:
    """Return 10^exponent; infinity where that is beyond a float, as an interval's far bound may be."""
    try:
        return 10.0**exponent
    except OverflowError:
        return math.inf


def _brackets(bounds: Interval | None) -> str:
    return "" if bounds is None else f" [{bounds[0]:.3g}, {bounds[1]:.3g}]"


def slope(outputs: Sequence[OutputRow]) -> float | None:
    """Return decades of RMS per weighted layer towards the input: negative where the gradient shrinks.

    outputs: those of a row of profile.jsonl. Outputs whose RMS is an exact zero (an underflow) or not finite
    are left out.
    """
    return slope_of(
        [(output.stage, output.layer, math.log10(output.rms)) for output in outputs if output.rms]
    )


def slope_of(points: Iterable[tuple[int, float, float]]) -> float | None:
    """Return decades per layer towards the input, from (stage, layer, log10 of a size).

    Least squares of the size against the layer, pooled over the stages, with one intercept each; None where
    no stage has three points.
    """
    stages: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for stage, layer, size in points:
        stages[stage].append((layer, size))
    covariance = variance = 0.0
    for members in stages.values():
        if len(members) < MIN_BLOCKS:
            continue
        layer_mean = sum(layer for layer, _ in members) / len(members)
        covariance += sum((layer - layer_mean) * size for layer, size in members)
        variance += sum((layer - layer_mean) ** 2 for layer, _ in members)
    return -covariance / variance if variance else None
