"""Cells of a comparison's grid: runs as a comparison sees them, and how they are grouped.

A cell is one combination of what was varied (depth, norm, ...): whatever differs between runs of one arm,
seeds apart. What differs between the arms themselves is the question, not a cell.
"""

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from resexp.config import flat
from resexp.records.run import Run
from resexp.records.schema import RunResult

STUCK_MARGIN = 0.05
"""Nats. The loss of a constant guess scatters around ln K by less; a net that learns falls by more."""
MIN_POINTS_FOR_A_TREND, TREND_ERROR_RATE = 8, 0.01
DEPTH, NORM, INIT = "model.depth", "model.norm", "model.init"
CellKey = tuple[tuple[str, Any], ...]
Fate = Literal["finished", "stuck", "diverged", "unfinished"]
Facts = Mapping[str, Any]
Member = TypeVar("Member")
"""A run, in whatever shape whoever groups it has it."""


@dataclass(frozen=True)
class RunSummary:
    """One run, as its folder tells it.

    status: finished, diverged, or anything else for a run that is not over. Losses in nats, accuracies in
    [0, 1], None where there is none. curve: (step, training loss), thinned. transport_initial and _final:
    T at step 0 and at the last probe; exactly 0 is an underflow, None is not measured. gradient_first and
    _last: the weight gradient's norm in the first and the last convolution at step 0. folder: relative to
    the comparison's. settings: the config by dotted keys, from `settings_of`. label_entropy: of the training
    labels, in nats, None where the classes are about equally many.
    """

    arm: str
    kind: str
    depth: int
    norm: str
    init: str
    seed: int
    status: str
    num_classes: int
    steps: int
    parameters: int | None = None
    final_loss: float | None = None
    loss_area: float | None = None
    train_loss: float | None = None
    train_accuracy: float | None = None
    test_loss: float | None = None
    test_accuracy: float | None = None
    gradient_first: float | None = None
    gradient_last: float | None = None
    transport_initial: float | None = None
    transport_final: float | None = None
    folder: str = ""
    curve: tuple[tuple[float, float], ...] = ()
    settings: CellKey = ()
    label_entropy: float | None = None

    @property
    def guess_loss(self) -> float:
        """The loss of guessing, in nats: ln K, or less where classes are not equally many."""
        return math.log(self.num_classes) if self.label_entropy is None else self.label_entropy

    @property
    def guess_words(self) -> str:
        """What the loss of guessing is."""
        even = f"ln {self.num_classes}"
        return even if self.label_entropy is None else f"the labels' entropy of {self.label_entropy:.3f}"

    @property
    def fate(self) -> Fate:
        """What became of the run. Stuck: no recorded loss lies 0.05 below guessing's, so it never left it."""
        if self.status != "finished":
            return "diverged" if self.status == "diverged" else "unfinished"
        losses = [loss for _, loss in self.curve] or [self.final_loss]
        never_left = all(loss is not None and loss > self.guess_loss - STUCK_MARGIN for loss in losses)
        return "stuck" if never_left else "finished"

    @property
    def falling(self) -> bool | None:
        """Whether the loss of a stuck run still falls; None for other runs, and where too little is recorded.

        Kendall's rank test of the recorded losses against their steps, behind the first quarter of the run,
        in which a net comes down to guessing. A loss that stands still is called falling in 1% of runs.
        """
        if self.fate != "stuck":
            return None
        late = [point for point in self.curve if point[0] >= self.steps / 4]
        if len(late) < MIN_POINTS_FOR_A_TREND:
            return None
        import scipy  # a tenth of a second that commands without a comparison need not wait

        steps, losses = zip(*late, strict=True)
        return bool(scipy.stats.kendalltau(steps, losses, alternative="less").pvalue < TREND_ERROR_RATE)

    @property
    def facts(self) -> dict[str, Any]:
        """Everything that may name a cell, by dotted key."""
        return {DEPTH: self.depth, NORM: self.norm, INIT: self.init, **dict(self.settings)}


Arms = Mapping[str, Sequence[RunSummary]]
"""The runs of one cell by arm; the first arm is what the others are set against."""


def settings_of(tree: Mapping[str, Any]) -> CellKey:
    """Return a config's tree as (dotted key, value) pairs, without what never names a cell: name and seed."""
    return tuple(
        (key, tuple(value) if isinstance(value, list) else value)
        for key, value in flat(tree).items()
        if key not in ("name", "seed")
    )


def varying(facts: Sequence[Facts]) -> list[str]:
    """Return the keys that have not the same value in all, in order of appearance; no value counts as one."""
    keys = dict.fromkeys(key for fact in facts for key in fact)
    return [key for key in keys if len({fact.get(key) for fact in facts}) > 1]


def cell_axes(facts: Sequence[tuple[str, Facts]]) -> list[str]:
    """Return the keys that make the cells, from each run's arm and facts: what varies within an arm."""
    arms = dict.fromkeys(arm for arm, _ in facts)
    return list(
        dict.fromkeys(key for arm in arms for key in varying([fact for own, fact in facts if own == arm]))
    )


def grouped(
    members: Sequence[Member], axes: Sequence[str], facts: Callable[[Member], Facts]
) -> dict[CellKey, list[Member]]:
    """Return the members of each cell, cells and members in order of appearance."""
    cells: dict[CellKey, list[Member]] = {}
    for member in members:
        known = facts(member)
        cells.setdefault(tuple((axis, known.get(axis)) for axis in axes), []).append(member)
    return cells


def by_cell(runs: Sequence[RunSummary]) -> dict[CellKey, dict[str, list[RunSummary]]]:
    """Return the runs of each cell by arm, cells and arms in order of appearance.

    Raises ValueError for two runs of one arm, cell and seed: one of them would be lost in silence.
    """
    axes = cell_axes([(run.arm, run.facts) for run in runs])
    cells: dict[CellKey, dict[str, list[RunSummary]]] = {}
    for cell, members in grouped(runs, axes, lambda run: run.facts).items():
        for run in members:
            own = cells.setdefault(cell, {}).setdefault(run.arm, [])
            if any(other.seed == run.seed for other in own):
                raise ValueError(f"two runs of {run.arm} with the same seed in cell {label(cell)!r}")
            own.append(run)
    return cells


def name_of(cell: CellKey, runs: Iterable[RunSummary]) -> CellKey:
    """Return the cell with depth, norm and init spelled out where all its runs share them."""
    facts = [run.facts for run in runs]
    shared = {key: facts[0][key] for key in (DEPTH, NORM, INIT) if len({fact[key] for fact in facts}) == 1}
    return tuple((shared | dict(cell)).items())


def short(key: str) -> str:
    """Return a dotted key without the section everything is about."""
    return key.removeprefix("model.")


def label(cell: CellKey) -> str:
    """Return a cell in words: 'depth 56, norm batch'."""
    return ", ".join(f"{short(key)} {value}" for key, value in cell)


def summary_of(run: Run, *, arm: str, beside: Path, without: str | None = None) -> RunSummary:
    """Return the run's summary; its folder is given relative to `beside`. without: a key that makes no cell.

    Raises RunFolderError where the record cannot be read. A run that has not ended has no scores yet.
    """
    result, model = run.result, run.config.model
    ended = {} if result is None else _ended(result)
    return RunSummary(
        arm=arm,
        kind=model.kind,
        depth=model.depth,
        norm=model.norm,
        init=model.init,
        seed=run.config.seed,
        status=run.status,
        num_classes=run.manifest.data.num_classes,
        label_entropy=run.manifest.data.guess_loss if run.manifest.data.class_counts else None,
        steps=run.config.optim.steps,
        parameters=run.manifest.parameters,
        folder=os.path.relpath(run.folder, beside),
        settings=tuple(pair for pair in settings_of(run.config.tree()) if pair[0] != without),
        **ended,
    )


def _ended(result: RunResult) -> dict[str, Any]:
    """What is known of a run only when it has ended."""
    gradient = result.gradient
    return {
        "final_loss": result.final_loss,
        "loss_area": result.loss_area,
        "train_loss": result.train_loss,
        "train_accuracy": result.train_accuracy,
        "test_loss": result.test_loss,
        "test_accuracy": result.test_accuracy,
        "gradient_first": None if gradient is None else gradient.first.norm,
        "gradient_last": None if gradient is None else gradient.last.norm,
        "transport_initial": result.transport.initial,
        "transport_final": result.transport.final,
        "curve": tuple(zip(result.curve.step, result.curve.loss, strict=True)),
    }
