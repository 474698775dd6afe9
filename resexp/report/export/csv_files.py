"""CSV: runs.csv, a line a run; numbers.csv, a line a number (run, step, name, value), in full precision."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from resexp.config.yaml_nodes import without_commands
from resexp.records.files import disk_errors
from resexp.report.export.course import Exported


def write_csv(runs: Sequence[Exported], folder: Path, *, project: str, final: Path) -> str:
    """Write both files; see `Writer`."""
    rows = [table_row(run) for run in runs]
    with disk_errors(folder), (folder / "runs.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(
            file, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n"
        )
        table.writeheader()
        table.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
    with disk_errors(folder), (folder / "numbers.csv").open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(["run", "step", "name", "value"])
        for run in runs:
            for step, numbers in run.points():
                lines.writerows(
                    [_cell(run.name), step, _cell(name), repr(value)] for name, value in numbers.items()
                )
    return f"pandas.read_csv({str(final / 'numbers.csv')!r}, float_precision='round_trip')"


def table_row(run: Exported) -> Mapping[str, Any]:
    """Return what a run is and came to, in one row; a setting that shares its key with a fact gives way."""
    summary = {f"result.{key}": value for key, value in run.summary.items()}
    return {"run": run.name, **run.settings, **run.facts, **summary}


def _cell(value: Any) -> Any:
    return without_commands(value, lines=True) if isinstance(value, str) else value
