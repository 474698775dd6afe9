"""Vanishing, exploding or healthy: what the size of dE/dx at both ends of a net says.

T is N_first / N_last: the L2 norm of dE/dx at the stem's output over that at the last block's output. The
factor is T^(1 / layers): by how much one weighted layer scales the gradient on its way to the input.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from resexp.analysis.statistics import Interval, mean_estimate

Direction = Literal["vanishing", "exploding"]
Word = Literal[Direction, "healthy", "not enough seeds to say", "one seed", "not measured"]
# In decades of T, so that vanishing and exploding are mirror images.
CLEAR_DECADES = 3.0
"""T below 1e-3 vanishes, above 1e3 explodes, by the bound of its interval that is nearer to 1."""
MILD_DECADES = 1.0
"""A shallow net has few layers to vanish in: T below 0.1 or above 10 will do, if the factor is clear."""
MILD_FACTOR: dict[Direction, float] = {"vanishing": 0.89, "exploding": 1.12}
ONE_SEED_DECADES = 4.0
"""One seed shows no spread, so it must be clearer still: T below 1e-4 or above 1e4."""
UNDERFLOW = "underflow (below what float32/float64 holds)"
MIN_BLOCKS = 3
"""Outputs a stage must have, or its slope says nothing."""


@dataclass(frozen=True)
class Transport:
    """What became of the gradient on its way through one kind of net, over seeds.

    n: seeds measured, of which `underflows` gave an exact zero. ratio: the geometric mean of T over the
    seeds that gave a number, None if none did; interval: its 95% t interval, taken on log10 T, from the
    spread over seeds alone, None below two. factor: per weighted layer, likewise. depth: of the net, in
    weighted layers, at which 1e-3 or 1e3 is passed at this factor; None unless vanishing or exploding.
    """

    n: int
    underflows: int
    layers: int
    ratio: float | None
    interval: Interval | None
    factor: float | None
    factor_interval: Interval | None
    word: Word
    depth: int | None
    sentence: str


def transport(values: Sequence[float | None], layers: int) -> Transport:
    """Judge T over seeds, for nets with `layers` weighted layers between the first and the last output.

    values: one T a seed; exactly 0 where the numerator underflowed; None (or not finite) where there is
    none, which leaves the seed out. layers: the net's depth - 2, at least 1.
    """
    if layers < 1:
        raise ValueError(f"there must be a layer between the first output and the last, got {layers}")
    measured = [value for value in values if value is not None and math.isfinite(value)]
    if any(value < 0 for value in measured):
        raise ValueError(f"T is a ratio of norms and cannot be negative, got {min(measured)}")
    logs = [math.log10(value) for value in measured if value > 0]
    n, underflows = len(measured), len(measured) - len(logs)
    estimate = mean_estimate(logs)
    mean, interval = estimate.mean, estimate.interval

    word = _word(mean, interval, layers, underflows)
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
    if depth is not None:
        parts.append(f"{'1e-3' if word == 'vanishing' else '1e3'} is passed at depth {depth}")
    if underflows:
        parts.append(f"{UNDERFLOW} in {underflows} of {n}")
    head = f"{word} (one seed)" if n == 1 and word in MILD_FACTOR else word
    sentence = f"{head}: {', '.join(parts)}; n = {n}" if n else word
    return Transport(n, underflows, layers, ratio, ratios, factor, factors, word, depth, sentence)


def _word(mean: float | None, interval: Interval | None, layers: int, underflows: int) -> Word:
    if mean is None:
        return "vanishing" if underflows else "not measured"
    word: Word
    if interval is not None:
        word = _direction(*interval, layers) or "healthy"
        if word == "healthy" and _direction(mean, mean, layers):
            # The mean is beyond the limits and its interval is not: that must not be sold as health.
            word = "not enough seeds to say"
    elif abs(mean) > ONE_SEED_DECADES:
        word = "vanishing" if mean < 0 else "exploding"
    else:
        word = "one seed"
    # A seed that underflowed has vanished: it confirms that word and contradicts any other.
    return "not enough seeds to say" if underflows and word != "vanishing" else word


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


def slope(outputs: Sequence[Mapping[str, Any]]) -> float | None:
    """Return decades of RMS per weighted layer towards the input: negative where the gradient shrinks.

    outputs: those of a row of profile.jsonl. Least squares of log10 RMS against the layer, pooled over the
    stages. Outputs whose RMS is an exact zero (an underflow) or not finite are left out; None where no stage
    has three left.
    """
    stages: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for output in outputs:
        if output["rms"]:
            stages[output["stage"]].append((output["layer"], math.log10(output["rms"])))
    covariance = variance = 0.0
    for points in stages.values():
        if len(points) < MIN_BLOCKS:
            continue
        layer_mean = sum(layer for layer, _ in points) / len(points)
        covariance += sum((layer - layer_mean) * value for layer, value in points)
        variance += sum((layer - layer_mean) ** 2 for layer, _ in points)
    return -covariance / variance if variance else None
