"""Parquet (pyarrow): runs.parquet, a row a run; numbers.parquet, a row a number, in row groups by run."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow  # pyright: ignore[reportMissingImports]
import pyarrow.parquet  # pyright: ignore[reportMissingImports]

from resexp.records.files import disk_errors
from resexp.report.export.course import Exported
from resexp.report.export.csv_files import table_row

NUMBERS = pyarrow.schema(
    [
        ("run", pyarrow.dictionary(pyarrow.int32(), pyarrow.string())),
        ("step", pyarrow.int64()),
        ("name", pyarrow.dictionary(pyarrow.int32(), pyarrow.string())),
        ("value", pyarrow.float64()),
    ]
)
GROUP = 500_000
"""rows that are held at once"""


def write(runs: Sequence[Exported], folder: Path, *, project: str, final: Path) -> str:
    """Write both files; see `Adapter`."""
    keys = dict.fromkeys(key for run in runs for key in table_row(run))
    rows = [{**dict.fromkeys(keys), **table_row(run)} for run in runs]
    columns = {key: [row[key] for row in rows] for key in keys}
    with disk_errors(folder):
        pyarrow.parquet.write_table(pyarrow.table(columns), folder / "runs.parquet")
        with pyarrow.parquet.ParquetWriter(folder / "numbers.parquet", NUMBERS) as file:
            for run in runs:
                for part in _parts(run):
                    file.write_table(part)
    return f"pandas.read_parquet({str(final / 'numbers.parquet')!r})"


def _parts(run: Exported) -> Iterator[pyarrow.Table]:
    steps, names, values = list[int](), list[str](), list[float]()
    for step, numbers in run.points():
        steps += [step] * len(numbers)
        names += numbers
        values += numbers.values()
        if len(steps) >= GROUP:
            yield _part(run.name, steps, names, values)
            steps, names, values = [], [], []
    yield _part(run.name, steps, names, values)


def _part(name: str, steps: list[int], names: list[str], values: list[float]) -> pyarrow.Table:
    columns = {"run": [name] * len(steps), "step": steps, "name": names, "value": values}
    return pyarrow.table(columns).cast(NUMBERS)
