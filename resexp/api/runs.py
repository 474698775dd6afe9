"""Runs as they were recorded, for Python."""

import json
from collections.abc import Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

from resexp.analysis.cells import summary_of
from resexp.analysis.verdicts import compare_runs
from resexp.api.result import Paged, data_frame
from resexp.config import Config
from resexp.errors import RunFolderError
from resexp.records.documents import ComparisonDocument
from resexp.records.run import Run, Status, scan
from resexp.records.schema import RunResult
from resexp.report.comparison_data import entry_of
from resexp.report.comparison_page import ComparisonPage, comparison_page
from resexp.report.tables import final_table, run_rows, runs_table
from resexp.report.terminal import as_text

if TYPE_CHECKING:
    import pandas

    from resexp.models.resnet import Network

Rows = Literal["step", "evaluation", "profile"]


class TrainedRun(Paged):
    """One training, by its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def _run(self) -> Run:
        return Run(self.folder)

    @property
    def config(self) -> Config:
        return self._run.config

    @property
    def status(self) -> Status:
        return self._run.status

    @property
    def result(self) -> RunResult | None:
        """What it came to; None while it is not over."""
        return self._run.result

    def net(self) -> "Network":
        """Return the trained net, as `resexp.load` does."""
        return load(self.folder)

    def to_pandas(self, kind: Rows = "step") -> "pandas.DataFrame":
        """Return what was recorded, a row each: `step` (loss, rate), `evaluation`, or `profile` (a row an
        output and probe: norm is the size of dE/dx there, per image).
        """
        run = self._run
        if kind == "profile":
            return data_frame(
                [{"step": row.step, **out.to_json()} for row in run.profile for out in row.outputs]
            )
        return data_frame(
            [row.to_json() for row in (run.rows("step") if kind == "step" else run.rows("evaluation"))]
        )

    @cached_property
    def _page(self) -> ComparisonPage:
        summary = summary_of(self._run, arm=self.config.model.kind, beside=self.folder.parent)
        document = ComparisonDocument.read(json.loads(json.dumps(compare_runs([summary]).to_json())))
        entries = [entry_of(self.folder.parent, row) for row in document.runs]
        command = f"resexp train --config {self.folder / 'config.yaml'}"
        return comparison_page(
            entries, document.verdicts, final_table(entries, document.verdicts), command=command
        )

    def __repr__(self) -> str:
        return as_text(runs_table([self._run]))


class Runs(Sequence[TrainedRun]):
    """Runs in the order in which `resexp runs` lists them."""

    def __init__(self, found: Sequence[Run]) -> None:
        self._found = list(found)

    @overload
    def __getitem__(self, index: int) -> TrainedRun: ...
    @overload
    def __getitem__(self, index: slice) -> "Runs": ...
    def __getitem__(self, index: int | slice) -> "TrainedRun | Runs":
        if isinstance(index, slice):
            return Runs(self._found[index])
        return TrainedRun(self._found[index].folder)

    def __len__(self) -> int:
        return len(self._found)

    def to_pandas(self) -> "pandas.DataFrame":
        """Return a row a run, as `resexp runs --json` has them."""
        return data_frame(run_rows(self._found))

    def __repr__(self) -> str:
        return as_text(runs_table(self._found)) if self._found else "no runs"


def runs(runs_dir: str | PathLike[str] = "runs") -> Runs:
    """Return the runs under a folder but those that cannot be read. Raises RunFolderError for no folder."""
    root = Path(runs_dir)
    if not root.is_dir():
        raise RunFolderError(f"{root}: no such folder")
    return Runs([run for run, fault in scan(root) if fault is None])


def load(run: str | PathLike[str]) -> "Network":
    """Return the trained net of a finished run's folder, on the CPU, in evaluation mode.

    It takes images float32 [N, 3, 32, 32], normalised as the run's were, to logits [N, num_classes]. Raises
    RunFolderError for a folder that is no finished run or whose checkpoint is damaged.
    """
    from resexp.training.checkpoint import load_net

    return load_net(run)
