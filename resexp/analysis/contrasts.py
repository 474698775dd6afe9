"""Contrasts: what is subtracted from what, arms and depths, and which of it is tested.

In each cell every arm is set against the first. The primary metric, fixed beforehand, is `final_loss`, the
mean training loss over the last 10% of the steps. It alone is tested between arms; the other metrics get
intervals without words. A stuck run has a loss like any other and stays in. A diverged one has none: then
there is no word on a mean, and what became of the seeds is the finding. How many seeds trained is tested as
well, by Fisher's exact test, wherever one did not. All tests of a comparison, degradation among them, are
one family for Holm's correction, so the chance that a whole comparison says one false word stays at 5%. A
test that could not give a word, whatever it found, is no part of the family.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from resexp.analysis.cells import Arms, CellKey, RunSummary, name_of
from resexp.analysis.degradation import Degradation, degradations
from resexp.analysis.samples import TRAIN_LOSS, LeftOut, divergence, ended, left_out_of, odd_seed, turns
from resexp.analysis.statistics import (
    ERROR_RATE,
    MIN_SEEDS_FOR_A_WORD,
    SEEDS_TO_SEE_IT,
    DifferenceWord,
    Estimate,
    difference_word,
    fisher,
    holm,
    paired_difference,
)

PRIMARY = "final_loss"
METRICS = (PRIMARY, "loss_area", "train_loss", "train_accuracy", "test_loss", "test_accuracy")
TRAINED = "trained"
"""The metric of a comparison of fates: the share of seeds that got below guessing and did not diverge."""


@dataclass(frozen=True)
class Difference:
    """One difference in one cell: n, mean, t interval; p, adjusted p and a word if it is tested.

    about: arms (arm - reference, paired by seed); fates (share of seeds that trained, arm - reference);
    degradation (plain, deep - shallow); shortcuts (what they save of it). what: the same, spelled out with
    the arms. tested: whether it is asked for a word at all. obstacle: why it gets none, whatever the numbers.
    left_out: the seeds the numbers do not rest on. odd: the seed that makes the spread, None without one.
    turns: whether the sign would turn if 30% of the better side's seeds had got stuck unseen. counts: of
    fates, how many trained of how many, for both arms. smallest_p: that the test could give. adjusted_p: None
    outside the family. word: lower, higher, not resolved; None where none may be said. level: what adjusted_p
    has to be below for a word.
    """

    about: Literal["arms", "fates", "degradation", "shortcuts"]
    what: str
    arm: str
    reference: str
    cell: CellKey
    metric: str
    steps: str
    estimate: Estimate
    tested: bool
    obstacle: str | None = None
    left_out: tuple[LeftOut, ...] = ()
    odd: int | None = None
    turns: bool = False
    counts: tuple[int, int, int, int] | None = None
    smallest_p: float = 0.0
    adjusted_p: float | None = None
    word: DifferenceWord | None = None
    level: float = ERROR_RATE

    def in_family(self, level: float = ERROR_RATE) -> bool:
        """Whether the test could give a word at this level, so that it takes its share of it."""
        able = self.estimate.n >= MIN_SEEDS_FOR_A_WORD and self.smallest_p < level
        return able and self.tested and self.obstacle is None and self.estimate.p is not None

    @property
    def too_few_to_trust(self) -> bool:
        """Whether stuck seeds could hide behind so few, and would turn the sign."""
        return self.about != "fates" and self.estimate.n < SEEDS_TO_SEE_IT and self.turns


def differences(cells: Mapping[CellKey, Arms], level: float = ERROR_RATE) -> list[Difference]:
    """Return every difference, those between arms first, judged at this level of the family's error."""
    found = [difference for cell, arms in cells.items() for difference in _between_arms(cell, arms)]
    found += [difference for finding in degradations(cells) for difference in _between_depths(finding)]
    return _judged(found, level)


def _between_arms(cell: CellKey, arms: Arms) -> Iterator[Difference]:
    reference, *others = arms
    for arm in others:
        runs = [*arms[arm], *arms[reference]]
        for metric in METRICS:
            yield _in_metric(metric, arm, reference, cell, arms)
        yield from _in_fates(arm, reference, name_of(cell, runs), arms)


def _in_metric(metric: str, arm: str, reference: str, cell: CellKey, arms: Arms) -> Difference:
    runs = [*arms[arm], *arms[reference]]
    mine, other = ended(arms[arm], metric), ended(arms[reference], metric)
    shared = sorted(mine.keys() & other.keys())
    left_out = (
        *left_out_of(arm, arms[arm], mine, [run.seed for run in arms[reference]]),
        *left_out_of(reference, arms[reference], other, [run.seed for run in arms[arm]]),
    )
    return Difference(
        about="arms",
        what=f"{arm} - {reference}",
        arm=arm,
        reference=reference,
        cell=name_of(cell, runs),
        metric=metric,
        steps=_steps(runs),
        estimate=paired_difference(mine, other),
        tested=metric == PRIMARY,
        obstacle=divergence(left_out),
        left_out=left_out,
        odd=odd_seed({seed: mine[seed] - other[seed] for seed in shared}),
        turns=metric == PRIMARY
        and turns([mine[seed] for seed in shared], [other[seed] for seed in shared], runs[0].guess_loss),
    )


def _in_fates(arm: str, reference: str, cell: CellKey, arms: Arms) -> Iterator[Difference]:
    """Compare how many seeds trained; nothing where all of them did, or where no run has ended."""
    known = {one: [run for run in arms[one] if run.fate != "unfinished"] for one in (arm, reference)}
    trained = {one: sum(run.fate == "finished" for run in runs) for one, runs in known.items()}
    mine, other = len(known[arm]), len(known[reference])
    if not mine or not other or trained[arm] + trained[reference] == mine + other:
        return
    p, smallest = fisher(trained[arm], mine, trained[reference], other)
    share = trained[arm] / mine - trained[reference] / other
    yield Difference(
        about="fates",
        what=f"{arm} - {reference}",
        arm=arm,
        reference=reference,
        cell=cell,
        metric=TRAINED,
        steps=_steps([*arms[arm], *arms[reference]]),
        estimate=Estimate(n=min(mine, other), mean=share, p=p),
        tested=True,
        left_out=tuple(
            LeftOut(one, "unfinished", len(arms[one]) - len(known[one]))
            for one in (arm, reference)
            if len(known[one]) < len(arms[one])
        ),
        counts=(trained[arm], mine, trained[reference], other),
        smallest_p=smallest,
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
        metric=TRAIN_LOSS,
        steps=_steps(runs),
        estimate=found.cost,
        tested=found.obstacle is None,
        obstacle=found.obstacle,
        left_out=found.left_out,
        odd=found.odd,
        turns=found.turns,
    )
    yield cost
    if found.residual is not None and found.added is not None:
        what = f"({plain}) - ({found.residual}, depth {deep} - depth {shallow})"
        yield replace(
            cost,
            about="shortcuts",
            what=what,
            reference=found.residual,
            estimate=found.added,
            tested=False,
            left_out=found.added_left_out,
        )


def _judged(differences: Sequence[Difference], level: float) -> list[Difference]:
    """Adjust the p values of all that is tested together, and give the words they allow."""
    family = {
        index: d.estimate.p
        for index, d in enumerate(differences)
        if d.in_family(level) and d.estimate.p is not None
    }
    judged = [replace(difference, level=level) for difference in differences]
    for index, adjusted in zip(family, holm(list(family.values())), strict=True):
        difference = judged[index]
        word = difference_word(difference.estimate, adjusted, level)
        if word != "not resolved" and difference.too_few_to_trust:
            word = None
        judged[index] = replace(difference, adjusted_p=adjusted, word=word)
    return judged


def _steps(runs: Iterable[RunSummary]) -> str:
    steps = sorted({run.steps for run in runs})
    return f"{steps[0]} steps" if len(steps) == 1 else f"{steps[0]} to {steps[-1]} steps"
