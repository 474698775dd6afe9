"""Parquet (pyarrow): runs.parquet, a row a run; numbers.parquet, a row a number, in row groups by run."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from resexp.records.files import disk_errors
from resexp.report.export.course import Exported
from resexp.report.export.csv_files import table_row

ROW_GROUP = 500_000
"""numbers that are held at once"""


def write_parquet(runs: Sequence[Exported], folder: Path, *, project: str, final: Path) -> str:
    """Write both files; see `Writer`."""
    import pyarrow as pa  # pyright: ignore[reportMissingImports]
    from pyarrow.parquet import ParquetWriter, write_table  # pyright: ignore[reportMissingImports]

    keys = dict.fromkeys(key for run in runs for key in table_row(run))
    rows = [{**dict.fromkeys(keys), **table_row(run)} for run in runs]
    words = pa.dictionary(pa.int32(), pa.string())
    schema = pa.schema([("run", words), ("step", pa.int64()), ("name", words), ("value", pa.float64())])
    with disk_errors(folder):
        write_table(pa.table({key: [row[key] for row in rows] for key in keys}), folder / "runs.parquet")
        with ParquetWriter(folder / "numbers.parquet", schema) as file:
            for run in runs:
                for columns in _pieces_of(run):
                    file.write_table(pa.table(columns).cast(schema))
    return f"pandas.read_parquet({str(final / 'numbers.parquet')!r})"


def _pieces_of(run: Exported) -> Iterator[dict[str, list[Any]]]:
    steps, names, values = list[int](), list[str](), list[float]()
    for step, numbers in run.points():
        steps += [step] * len(numbers)
        names += numbers
        values += numbers.values()
        if len(steps) >= ROW_GROUP:
            yield {"run": [run.name] * len(steps), "step": steps, "name": names, "value": values}
            steps, names, values = [], [], []
    yield {"run": [run.name] * len(steps), "step": steps, "name": names, "value": values}
