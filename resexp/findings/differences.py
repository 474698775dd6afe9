"""What is subtracted from what, and which of it is tested.

In each cell every arm is set against the first. The primary metric, fixed beforehand, is `final_loss`, the
mean training loss over the last 10% of the steps. It alone is tested between arms; the other metrics get
intervals without words. All tests of a comparison, degradation among them, are one family for Holm's
correction, so the chance that a whole comparison says one false word stays at 5%.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from resexp.findings.cells import Cell, RunSummary, name_of
from resexp.findings.degradation import METRIC, Degradation, degradations, learned
from resexp.findings.statistics import Estimate, Word, difference_word, holm, paired_difference

PRIMARY = "final_loss"
METRICS = (PRIMARY, "loss_area", "train_loss", "train_accuracy", "test_loss", "test_accuracy")

Arms = Mapping[str, Sequence[RunSummary]]


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
