"""The summary of a run, result.json: a few numbers, computed from its record alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

CURVE_POINTS = 200


def summarize(
    *,
    layers: Sequence[str],
    losses: Sequence[float],
    metrics: Sequence[Mapping[str, Any]],
    profile: Sequence[Mapping[str, Any]],
    steps: int,
) -> dict[str, Any]:
    """Return the content of result.json.

    `losses` holds the training loss of every step made. `final_loss` is their mean over the last 10% of
    `steps`, `loss_area` over all; both None for a run that diverged, whose curve ends where it did.
    """
    faults = [row for row in metrics if row["kind"] == "fault"]
    evaluations = [row for row in metrics if row["kind"] == "evaluation"]
    first = next((row for row in metrics if row["kind"] == "step" and row["step"] == 0), {})
    diverged = bool(faults)
    last = {} if diverged or not evaluations else evaluations[-1]
    scores = (
        "train_loss",
        "train_accuracy",
        "validation_loss",
        "validation_accuracy",
        "test_loss",
        "test_accuracy",
    )
    tail = max(1, steps // 10)
    return {
        "status": "diverged" if diverged else "finished",
        "steps": len(losses),
        "final_loss": None if diverged else float(np.mean(losses[-tail:])),
        "loss_area": None if diverged else float(np.mean(losses)),
        **{key: last.get(key) for key in scores if key in last or not key.startswith("validation")},
        "gradient": _ends(layers, first.get("gradient_norm")),
        "transport": {
            "initial": first_over_last(profile[0]["outputs"]) if profile else None,
            "final": first_over_last(profile[-1]["outputs"]) if profile and not diverged else None,
        },
        "curve": _thinned(losses),
        "fault": faults[0] if faults else None,
    }


def _ends(layers: Sequence[str], norms: Sequence[float] | None) -> dict[str, Any] | None:
    """The first and the last convolution's gradient at step 0: the head is no convolution."""
    if norms is None:
        return None
    return {
        "first": {"layer": layers[0], "norm": norms[0]},
        "last": {"layer": layers[-2], "norm": norms[-2]},
    }


def first_over_last(outputs: Sequence[Mapping[str, Any]]) -> float | None:
    """Return T, the norm of dE/dx at the stem over that at the last block, from a row of profile.jsonl.

    None where the last one is zero, or one of them is not finite.
    """
    first, last = outputs[0]["norm"], outputs[-1]["norm"]
    return first / last if last and first is not None else None


def _thinned(losses: Sequence[float]) -> dict[str, list[float]]:
    """At most 200 points, each the mean of the steps around it."""
    if not losses:
        return {"step": [], "loss": []}
    parts = np.array_split(np.asarray(losses), min(CURVE_POINTS, len(losses)))
    ends = np.cumsum([len(part) for part in parts])
    centres = [float(end - (len(part) + 1) / 2) for end, part in zip(ends, parts, strict=True)]
    return {"step": centres, "loss": [float(part.mean()) for part in parts]}
