"""A comparison as its folder tells it: comparison.json, and what can be read of each run.

A run's folder that is gone, damaged or not ours takes nothing from the others: its numbers stand in
comparison.json, its curves are left out, and it is said why.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from resexp.analysis.cells import DEPTH, INIT, NORM, cell_axes, grouped, settings_of, short
from resexp.config import Config
from resexp.errors import RunFolderError
from resexp.records.documents import ComparisonDocument, RunRow, VerdictRow
from resexp.records.manifest import BestOfRow, Manifest
from resexp.records.run import Run, read_folder_manifest, read_json
from resexp.records.schema import OutputRow, ProbeRow
from resexp.report.sentences import cell_words

Curve = Mapping[float, float]
"""One seed: y by x."""
RECORD_DAMAGE = (RunFolderError, AttributeError, LookupError, TypeError, ValueError)
"""What reading a record raises that is not what it should be."""


@dataclass(frozen=True)
class Entry:
    """One run of a comparison.

    run: its line in comparison.json. config, began: None where `fault` says why the folder cannot be read.
    speed: images/s, None where it was not timed.
    """

    run: RunRow
    folder: Path
    config: Config | None
    began: Manifest | None
    speed: float | None
    fault: str | None
    searched: str | None = None
    """the key whose value was chosen for each arm"""

    @cached_property
    def facts(self) -> Mapping[str, Any]:
        """The config by dotted keys, without name and seed; where it cannot be read, what its row has."""
        known = {DEPTH: self.run.depth, NORM: self.run.norm, INIT: self.run.init}
        settings = settings_of(self.config.tree()) if self.config else ()
        return {key: value for key, value in (known | dict(settings)).items() if key != self.searched}

    def fact(self, key: str) -> Any:
        """One of the facts as JSON has it, None where it is not known."""
        return _listed(self.facts.get(key))


@dataclass(frozen=True)
class Curves:
    """What is drawn of one run. Losses in nats and errors in percent by step; the rest by layer.

    transport: per probed step, the size of dE/dx at each output in units of the last one's. responses: std of
    R(x) of each block at the last probe. probed: per number of a probe other than the gradient profile, as
    "probe: key", its course over the steps.
    """

    loss: Curve
    train_loss: Curve
    test_loss: Curve
    train_error: Curve
    test_error: Curve
    transport: Mapping[int, Curve]
    responses: Curve
    probed: Mapping[str, Curve]


@dataclass(frozen=True)
class Cell:
    """The runs that differ in nothing but arm and seed. name: what was varied, by dotted key."""

    name: Mapping[str, Any]
    entries: Sequence[Entry]

    @property
    def words(self) -> str:
        """What it is called: 'depth 56, no normalisation'; '' where nothing is varied."""
        return cell_words({short(key): value for key, value in self.name.items()})

    def holds(self, verdict: VerdictRow) -> bool:
        """Whether a verdict is about this cell: it names nothing that is otherwise here."""
        named = verdict.cell or {}
        return all(named.get(short(key)) == value for key, value in self.name.items())


def cells(entries: Sequence[Entry]) -> list[Cell]:
    """Return the cells in order of appearance."""
    groups = grouped(entries, varied(entries), lambda entry: entry.facts)
    return [Cell({key: _listed(value) for key, value in name}, members) for name, members in groups.items()]


def varied(entries: Sequence[Entry]) -> list[str]:
    """Return the keys that make the cells, by what can be read."""
    readable = [entry for entry in entries if entry.fault is None] or entries
    return cell_axes([(entry.run.arm, entry.facts) for entry in readable])


def read_comparison(folder: Path) -> tuple[list[Entry], list[VerdictRow]]:
    """Return the runs and the verdicts. Raises RunFolderError where comparison.json is not one."""
    path = folder / "comparison.json"
    try:
        document = ComparisonDocument.read(read_json(path))
    except ValueError as error:
        raise RunFolderError(f"{path}: not a comparison, or damaged; compare the arms again") from error
    found = best_of(folder)
    searched = found.key if found else None
    return [entry_of(folder, row, searched) for row in document.runs], document.verdicts


def best_of(folder: Path) -> BestOfRow | None:
    """Return how a key's value was chosen for each arm of a comparison, if it was."""
    try:
        return read_folder_manifest(folder / "manifest.json").best_of
    except RunFolderError:  # the comparison stands without it
        return None


def read_curves(entry: Entry) -> Curves | str:
    """Return what is drawn of a run, or why it cannot be read."""
    if entry.fault is not None:
        return entry.fault
    run = Run(entry.folder)
    try:
        evaluations = run.rows("evaluation")
        return Curves(
            loss=_loss(run),
            train_loss={row.step: _or_nan(row.train_loss) for row in evaluations},
            test_loss={row.step: _or_nan(row.test_loss) for row in evaluations},
            train_error={row.step: 100 * (1 - row.train_accuracy) for row in evaluations},
            test_error={row.step: 100 * (1 - row.test_accuracy) for row in evaluations},
            transport={row.step: row.arriving() for row in run.profile},
            responses=_responses(run.profile[-1].outputs) if run.profile else {},
            probed=_probed(run.probed),
        )
    except RECORD_DAMAGE as error:
        return _reason(error, entry.folder)


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def entry_of(folder: Path, row: RunRow, searched: str | None = None) -> Entry:
    """Return a run of the comparison in this folder. searched: a key that makes no cell."""
    run = Run(folder / row.folder)
    try:
        manifest, config, speed = run.manifest, run.config, run.images_per_second
        _ = run.result
    except RECORD_DAMAGE as error:
        return Entry(row, run.folder, None, None, None, _reason(error, run.folder))
    return Entry(row, run.folder, config, manifest, speed, None, searched)


def _loss(run: Run) -> Curve:
    """Training loss by step, thinned as in result.json; from metrics.jsonl while the run has not ended."""
    if run.result is not None:
        return dict(zip(run.result.curve.step, run.result.curve.loss, strict=True))
    return {row.step: row.loss for row in run.rows("step")}


def _probed(rows: Sequence[ProbeRow]) -> dict[str, Curve]:
    found: dict[str, dict[float, float]] = {}
    for row in rows:
        for key, value in row.numbers().items():
            found.setdefault(f"{row.probe}: {key}", {})[row.step] = value
    return dict(found)


def _or_nan(loss: float | None) -> float:
    """A loss that was not finite leaves a gap."""
    return math.nan if loss is None else loss


def _responses(outputs: Sequence[OutputRow]) -> Curve:
    return {out.layer: out.response_std for out in outputs if out.response_std is not None}


def _reason(error: Exception, folder: Path) -> str:
    known = isinstance(error, RunFolderError)
    why = "; ".join(error.lines) if known else f"not what a run writes ({type(error).__name__}: {error})"
    return why if str(folder) in why else f"{folder}: {why}"
