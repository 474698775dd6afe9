"""The summary of a run, result.json: a few numbers, computed from its record alone."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from resexp.records.schema import (
    EvaluationRow,
    FaultRow,
    FirstOverLast,
    GradientEnd,
    GradientEnds,
    LossCurve,
    OutputRow,
    ProfileRow,
    RunResult,
    StepRow,
)

CURVE_POINTS = 200


def summarize(
    *,
    layers: Sequence[str],
    losses: np.ndarray,
    metrics: Iterable[StepRow | EvaluationRow | FaultRow],
    profile: Sequence[ProfileRow],
    steps: int,
    every_block: bool = True,
) -> RunResult:
    """Return the content of result.json.

    `losses` holds the training loss of every step made, float64 [K], and may be a map of a file. `metrics` is
    gone through once. `final_loss` is the mean of the losses over the last 10% of `steps`, `loss_area` over
    all; both None for a run that diverged, whose curve ends where it did. every_block: whether step 0 kept
    every block; else its weight gradients are those of one draw, and are left to metrics.jsonl.
    """
    first, last, fault = _ends_of(metrics)
    diverged = fault is not None
    tail = max(1, steps // 10)
    return RunResult(
        status="diverged" if diverged else "finished",
        steps=len(losses),
        final_loss=None if diverged else float(np.mean(losses[-tail:])),
        loss_area=None if diverged else float(np.mean(losses)),
        **_scores(None if diverged else last),
        gradient=_ends(layers, first.gradient_norm if first and every_block else []),
        transport=FirstOverLast(
            initial=first_over_last(profile[0].outputs) if profile else None,
            final=first_over_last(profile[-1].outputs) if profile and not diverged else None,
        ),
        curve=_thinned(losses),
        fault=fault,
    )


class _Ends(NamedTuple):
    """What a summary needs of metrics.jsonl; None where there is none."""

    first: StepRow | None
    evaluation: EvaluationRow | None
    fault: FaultRow | None


def _ends_of(metrics: Iterable[StepRow | EvaluationRow | FaultRow]) -> _Ends:
    """The first step, the last evaluation and the first fault; no other row is kept."""
    first = evaluation = fault = None
    for row in metrics:
        if isinstance(row, EvaluationRow):
            evaluation = row
        elif isinstance(row, FaultRow):
            fault = fault or row
        elif first is None and row.step == 0:
            first = row
    return _Ends(first, evaluation, fault)


def _scores(last: EvaluationRow | None) -> dict[str, float | None]:
    """The last evaluation's; those of validation images only where there are some."""
    scores = (
        "train_loss",
        "train_accuracy",
        "validation_loss",
        "validation_accuracy",
        "test_loss",
        "test_accuracy",
    )
    there = set() if last is None else last.model_fields_set
    return {
        key: getattr(last, key, None) for key in scores if key in there or not key.startswith("validation")
    }


def _ends(layers: Sequence[str], norms: Sequence[float]) -> GradientEnds | None:
    """The first and the last convolution's gradient at step 0: the head is no convolution."""
    if not norms:
        return None
    return GradientEnds(
        first=GradientEnd(layer=layers[0], norm=norms[0]),
        last=GradientEnd(layer=layers[-2], norm=norms[-2]),
    )


def first_over_last(outputs: Sequence[OutputRow]) -> float | None:
    """Return T, the norm of dE/dx at the stem over that at the last block, from a row of profile.jsonl.

    None where the last one is zero, or one of them is not finite.
    """
    first, last = outputs[0].norm, outputs[-1].norm
    return first / last if last and first is not None else None


def _thinned(losses: np.ndarray) -> LossCurve:
    """At most 200 points, each the mean of the steps around it."""
    if not len(losses):
        return LossCurve(step=[], loss=[])
    parts = np.array_split(losses, min(CURVE_POINTS, len(losses)))
    ends = np.cumsum([len(part) for part in parts])
    centres = [float(end - (len(part) + 1) / 2) for end, part in zip(ends, parts, strict=True)]
    return LossCurve(step=centres, loss=[float(part.mean()) for part in parts])
