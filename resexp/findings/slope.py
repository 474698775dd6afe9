"""How steeply the gradient's size changes from layer to layer inside the stages of one net.

The end points of a profile give T. Theory speaks of layers deep inside a stage, so against theory it is the
slope that counts, with one intercept a stage: strides, wider channels and smaller maps then play no part.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

MIN_BLOCKS = 3
"""Outputs a stage must have, or its slope says nothing."""


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
