"""Degradation: a deeper plain net that trains worse than a shallower one (He et al. 2015, section 1).

Measured on the loss over a fixed 2,000 training images in evaluation mode, so it is not overfitting; and
only between nets that learn and whose gradient does not vanish, so it is neither of those either.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from resexp.analysis.cells import DEPTH, Cell, RunSummary, name_of
from resexp.analysis.gradient_ratio import transport
from resexp.analysis.statistics import (
    Estimate,
    Word,
    difference_word,
    holm,
    paired_difference,
    welch_difference,
)

METRIC = "train_loss"
LEARNED_MARGIN = 0.1
"""Nats below ln K that the deeper net must reach before its loss says anything about degradation."""
Arms = Mapping[str, Sequence[RunSummary]]
PRIMARY = "final_loss"
METRICS = (PRIMARY, "loss_area", "train_loss", "train_accuracy", "test_loss", "test_accuracy")


@dataclass(frozen=True)
class Degradation:
    """The deepest plain net against the shallowest, all else equal.

    cost: deep - shallow, by Welch, since nets of two depths share no initial weights. obstacle: why it must
    not be called degradation, whatever the numbers; None if nothing stands in the way. residual: the arm set
    beside it, None without one. added: (plain deep - plain shallow) - (residual deep - residual shallow),
    what the shortcuts save; paired by seed within each depth, by Welch across.
    """

    plain: str
    cell: Cell
    shallow: Sequence[RunSummary]
    deep: Sequence[RunSummary]
    cost: Estimate
    obstacle: str | None
    residual: str | None
    added: Estimate | None


def degradations(cells: Mapping[Cell, Arms]) -> list[Degradation]:
    """Return one finding for each plain arm and each setting in which it was given at two depths or more."""
    by_rest: dict[Cell, dict[int, Arms]] = {}
    for cell, arms in cells.items():
        rest = tuple(pair for pair in cell if pair[0] != DEPTH)
        if len(rest) < len(cell):
            by_rest.setdefault(rest, {})[dict(cell)[DEPTH]] = arms
    return [
        _degradation(arm, rest, depths)
        for rest, depths in by_rest.items()
        for arm in dict.fromkeys(arm for arms in depths.values() for arm in arms)
        if len(_depths_of(arm, "plain", depths)) > 1
    ]


def _depths_of(arm: str, kind: str, depths: Mapping[int, Arms]) -> list[int]:
    return sorted(
        depth for depth, arms in depths.items() if any(run.kind == kind for run in arms.get(arm, ()))
    )


def _degradation(plain: str, cell: Cell, depths: Mapping[int, Arms]) -> Degradation:
    given = _depths_of(plain, "plain", depths)
    at_shallow, at_deep = depths[given[0]], depths[given[-1]]
    shallow, deep = learned(at_shallow[plain]), learned(at_deep[plain])
    residual = next(
        (arm for arm in at_deep if {given[0], given[-1]} <= set(_depths_of(arm, "residual", depths))), None
    )
    added = None
    if residual is not None:
        added = welch_difference(
            _paired(deep, learned(at_deep[residual])), _paired(shallow, learned(at_shallow[residual]))
        )
    return Degradation(
        plain=plain,
        cell=cell,
        shallow=at_shallow[plain],
        deep=at_deep[plain],
        cost=welch_difference(list(deep.values()), list(shallow.values())),
        obstacle=_obstacle(at_deep[plain], deep),
        residual=residual,
        added=added,
    )


def learned(runs: Sequence[RunSummary], metric: str = METRIC) -> dict[int, float]:
    """Return the metric by seed of the runs that finished and left guessing; the others are only counted."""
    values = {run.seed: getattr(run, metric) for run in runs if run.fate == "finished"}
    return {seed: value for seed, value in values.items() if value is not None}


def _paired(values: Mapping[int, float], reference: Mapping[int, float]) -> list[float]:
    return [values[seed] - reference[seed] for seed in sorted(values.keys() & reference.keys())]


def _obstacle(runs: Sequence[RunSummary], losses: Mapping[int, float]) -> str | None:
    layers = runs[0].depth - 2
    for when, values in (
        ("at step 0", [run.transport_initial for run in runs]),
        ("at the last probe", [run.transport_final for run in runs]),
    ):
        if transport(values, layers).word == "vanishing":
            return f"the gradient vanishes {when}"
    if not losses:
        return "no seed learned"
    mean, needed = sum(losses.values()) / len(losses), runs[0].chance - LEARNED_MARGIN
    if mean >= needed:
        return (
            f"its loss of {mean:.3f} is not below ln {runs[0].num_classes} - {LEARNED_MARGIN} = {needed:.3f}"
        )
    return None


@dataclass(frozen=True)
class Difference:
    """One difference in one cell: n, mean, t interval; p, adjusted p and a word if it is tested.

    about: arms (arm - reference, paired by seed); degradation (plain, deep - shallow); shortcuts (what they
    save of it). what: the same, spelled out with the arms. obstacle: why no word may be said, None if nothing
    but the number of seeds stands in the way. word: lower, higher, not resolved; None below five seeds.
    """

    about: Literal["arms", "degradation", "shortcuts"]
    what: str
    arm: str
    reference: str
    cell: Cell
    metric: str
    steps: str
    estimate: Estimate
    tested: bool
    obstacle: str | None = None
    adjusted_p: float | None = None
    word: Word | None = None


def differences(cells: Mapping[Cell, Arms]) -> list[Difference]:
    """Return every difference, those between arms first, judged."""
    found = [difference for cell, arms in cells.items() for difference in _between_arms(cell, arms)]
    found += [difference for finding in degradations(cells) for difference in _between_depths(finding)]
    return _judged(found)


def _between_arms(cell: Cell, arms: Arms) -> Iterator[Difference]:
    reference, *others = arms
    for arm in others:
        runs = [*arms[arm], *arms[reference]]
        for metric in METRICS:
            yield Difference(
                about="arms",
                what=f"{arm} - {reference}",
                arm=arm,
                reference=reference,
                cell=name_of(cell, runs),
                metric=metric,
                steps=_steps(runs),
                estimate=paired_difference(learned(arms[arm], metric), learned(arms[reference], metric)),
                tested=metric == PRIMARY,
            )


def _between_depths(found: Degradation) -> Iterator[Difference]:
    shallow, deep = found.shallow[0].depth, found.deep[0].depth
    runs = [*found.shallow, *found.deep]
    plain = f"{found.plain}, depth {deep} - depth {shallow}"
    cost = Difference(
        about="degradation",
        what=plain,
        arm=found.plain,
        reference=found.plain,
        cell=name_of(found.cell, runs),
        metric=METRIC,
        steps=_steps(runs),
        estimate=found.cost,
        tested=found.obstacle is None,
        obstacle=found.obstacle,
    )
    yield cost
    if found.residual is not None and found.added is not None:
        what = f"({plain}) - ({found.residual}, depth {deep} - depth {shallow})"
        yield replace(
            cost, about="shortcuts", what=what, reference=found.residual, estimate=found.added, tested=False
        )


def _judged(differences: Sequence[Difference]) -> list[Difference]:
    """Adjust the p values of all that is tested together, and give the words they allow."""
    family = [index for index, difference in enumerate(differences) if difference.tested]
    p_values = {index: p for index in family if (p := differences[index].estimate.p) is not None}
    judged = list(differences)
    for index, adjusted in zip(p_values, holm(list(p_values.values())), strict=True):
        word = difference_word(judged[index].estimate, adjusted)
        judged[index] = replace(judged[index], adjusted_p=adjusted, word=word)
    return judged


def _steps(runs: Iterable[RunSummary]) -> str:
    steps = sorted({run.steps for run in runs})
    return f"{steps[0]} steps" if len(steps) == 1 else f"{steps[0]} to {steps[-1]} steps"
