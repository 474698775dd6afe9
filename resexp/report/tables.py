"""Tables of runs and comparisons. Names that come in are escaped."""

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from resexp.analysis.cells import DEPTH, INIT, NORM, short
from resexp.analysis.statistics import mean_estimate
from resexp.config.imports import without_folder
from resexp.errors import RunFolderError
from resexp.records.documents import RatioRow, RunRow, VerdictRow
from resexp.records.jsonl import Row
from resexp.records.run import Run
from resexp.report.comparison_data import Entry, read_comparison, varied
from resexp.report.formatting import NOTHING, or_nothing, percent, scientific, thousands, three_decimals
from resexp.report.text_table import TextTable

POSSIBLE = {"final_loss": (0.0, math.inf), "test_accuracy": (0.0, 1.0)}
"""What the quantities can be; an interval from two seeds would reach beyond it."""


class Column(NamedTuple):
    """A column of the final table: its heading, how a row reads in it, whether that is a number."""

    name: str
    text: Callable[[Row], str]
    number: bool = True


class FinalTable(NamedTuple):
    """One row an arm and cell. rows: full precision, None for what is not there. texts: as people read it."""

    rows: list[Row]
    columns: list[Column]

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    @property
    def numbers(self) -> list[str]:
        return [column.name for column in self.columns if column.number]

    @property
    def texts(self) -> list[list[str]]:
        return [[column.text(row) for column in self.columns] for row in self.rows]


def final_table(entries: Sequence[Entry], verdicts: Sequence[VerdictRow]) -> FinalTable:
    """Return the table of a comparison: a mean with its 95% t interval where there are seeds for one.

    What the gradient does is taken from the verdicts, as it was judged.

    Diverged and unfinished seeds are counted and never averaged; stuck ones have a loss and stay in. Of the
    axes, depth is always shown, every other one where it varies.
    """
    axes = _axes(entries)

    def place(entry: Entry) -> tuple[Any, ...]:
        return (entry.run.arm, *(repr(entry.fact(axis)) for axis in axes))

    first = {place(entry): index for index, entry in reversed(list(enumerate(entries)))}
    groups = groupby(sorted(entries, key=lambda entry: first[place(entry)]), key=place)
    rows = []
    for _, members in groups:
        group = list(members)
        where = {short(axis): group[0].fact(axis) for axis in axes}
        judged = _judged(verdicts, group[0].run.arm, where)
        rows.append({"arm": group[0].run.arm, **where, **_scores(group, judged)})
    named = [Column(short(axis), _setting(short(axis)), axis == DEPTH) for axis in axes]
    return FinalTable(rows, [Column("arm", _plain("arm"), False), *named, *COLUMNS])


def comparison_table(folder: Path) -> TextTable:
    """Return the final table of a comparison's folder for the terminal."""
    table = final_table(*read_comparison(folder))
    return TextTable(table.names, table.texts, table.numbers)


def run_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return what `resexp runs` tells of each run."""
    rows = []
    for run in runs:
        model, result = run.config.model, run.result
        try:
            data, speed = run.manifest.data.label, run.images_per_second
        except (RunFolderError, LookupError, TypeError):
            data, speed = None, None
        rows.append(
            {
                "folder": str(run.folder),
                "status": run.status,
                "arm": model.kind,
                "depth": model.depth,
                "norm": model.norm,
                "seed": run.config.seed,
                "data": data,
                "steps": run.config.optim.steps,
                "final_loss": None if result is None else result.final_loss,
                "test_accuracy": None if result is None else result.test_accuracy,
                "images_per_second": speed,
            }
        )
    return rows


def runs_table(runs: Sequence[Run]) -> TextTable:
    """Return the runs as a table for the terminal."""
    table = [[column.text(row) for column in RUN_COLUMNS] for row in run_rows(runs)]
    names = [column.name for column in RUN_COLUMNS]
    return TextTable(names, table, [column.name for column in RUN_COLUMNS if column.number])


def _axes(entries: Sequence[Entry]) -> list[str]:
    """Depth, whatever makes the cells, and norm and init also where only the arms differ in them."""
    axes = dict.fromkeys([DEPTH, *varied(entries)])
    differing = [key for key in (NORM, INIT) if len({entry.fact(key) for entry in entries}) > 1]
    return list(dict.fromkeys([*axes, *differing]))


def _judged(verdicts: Sequence[VerdictRow], arm: str, where: Row) -> VerdictRow:
    """The verdict on the gradient at step 0; an empty one where it was not measured.

    A run whose folder is gone is known by its line in comparison.json alone: what that lacks fits anything.
    """
    known = {key: value for key, value in where.items() if value is not None}
    fitting = [
        verdict
        for verdict in verdicts
        if (verdict.about, verdict.when, verdict.arm) == ("gradient", "step 0", arm)
        and all((verdict.cell or {}).get(key) == value for key, value in known.items())
    ]
    return fitting[0] if len(fitting) == 1 else VerdictRow(about="gradient", sentence="")


def _scores(group: Sequence[Entry], judged: VerdictRow) -> dict[str, Any]:
    rows = [entry.run for entry in group]
    fates = [row.fate for row in rows]
    all_stuck = set(fates) == {"stuck"}
    scored = [row for row in rows if row.fate in ("finished", "stuck")]
    score = _range if all_stuck else _mean
    found = judged.transport or RatioRow()
    low, high = found.interval or (None, None)
    speeds = [entry.speed for entry in group if entry.speed is not None]
    return {
        "seeds": len(rows),
        **{fate: fates.count(fate) for fate in ("stuck", "diverged", "unfinished")},
        "parameters": rows[0].parameters,
        **score("final_loss", scored),
        **score("test_accuracy", scored),
        "gradient_first": _geometric_mean([row.gradient_first for row in rows]),
        "gradient_last": _geometric_mean([row.gradient_last for row in rows]),
        "transport": 0.0 if judged.n and found.underflows == judged.n else found.ratio,
        "transport_low": low,
        "transport_high": high,
        "gradient_word": judged.word,
        "images_per_second": median(speeds) if speeds else None,
    }


def _mean(key: str, rows: Sequence[RunRow]) -> dict[str, float | None]:
    estimate = mean_estimate([value for row in rows if (value := getattr(row, key)) is not None])
    low, high = estimate.interval or (None, None)
    least, most = POSSIBLE[key]
    return {
        key: estimate.mean,
        f"{key}_low": None if low is None else max(low, least),
        f"{key}_high": None if high is None else min(high, most),
    }


def _range(key: str, rows: Sequence[RunRow]) -> dict[str, float | None]:
    """Where no seed ever left guessing there is no mean, and no interval: this is where they sit."""
    known = [value for row in rows if (value := getattr(row, key)) is not None]
    return {key: None, f"{key}_low": min(known, default=None), f"{key}_high": max(known, default=None)}


def _geometric_mean(values: Sequence[float | None]) -> float | None:
    """Over seeds; exactly 0 as soon as one of them underflowed, which no mean may hide."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    product = 1.0
    for value in known:
        product *= value ** (1 / len(known))
    return product


def _plain(key: str) -> Callable[[Row], str]:
    return lambda row: or_nothing(str, row[key])


def _setting(key: str) -> Callable[[Row], str]:
    return lambda row: or_nothing(lambda value: without_folder(str(value)), row[key])


def _seeds(row: Row) -> str:
    fates = [f"{row[fate]} {fate}" for fate in ("stuck", "diverged", "unfinished") if row[fate]]
    return f"{row['seeds']}" + (f" ({', '.join(fates)})" if fates else "")


def _with_interval(key: str, text: Callable[[float], str]) -> Callable[[Row], str]:
    def read(row: Row) -> str:
        mean, low, high = (
            None if row[name] is None else text(row[name]) for name in (key, f"{key}_low", f"{key}_high")
        )
        if mean is not None:
            return mean if low is None else f"{mean} [{low}, {high}]"
        if low is None:
            return NOTHING
        return low if low == high else f"{low} to {high}"

    return read


def _gradients(row: Row) -> str:
    if row["gradient_last"] == 0:
        return "0 / 0"  # nothing came from the head, as where it begins at zero: no underflow
    return f"{or_nothing(scientific, row['gradient_first'])} / {or_nothing(scientific, row['gradient_last'])}"


def _transport(row: Row) -> str:
    if row["transport"] is None:
        # Some seeds underflowed: the bound alone is known.
        bound = row["transport_high"]
        return NOTHING if bound is None else f"< {scientific(bound)} {row['gradient_word']}"
    return f"{scientific(row['transport'])} {row['gradient_word']}"


RUN_COLUMNS = [
    Column("arm", _plain("arm"), False),
    Column("test accuracy", lambda row: or_nothing(percent, row["test_accuracy"])),
    Column("final loss", lambda row: or_nothing(three_decimals, row["final_loss"])),
    Column("depth", _plain("depth")),
    Column("norm", _plain("norm"), False),
    Column("seed", _plain("seed")),
    Column("steps", lambda row: thousands(row["steps"])),
    Column("status", _plain("status"), False),
    Column("folder", _plain("folder"), False),
    Column("data", _plain("data"), False),
    Column("images/s", lambda row: or_nothing(thousands, row["images_per_second"])),
]


COLUMNS = [
    Column("test accuracy", _with_interval("test_accuracy", percent)),
    Column("final loss", _with_interval("final_loss", three_decimals)),
    Column("seeds", _seeds),
    Column("gradient reaching layer 1", _transport),
    Column("weight gradient first / last", _gradients),
    Column("params", lambda row: or_nothing(thousands, row["parameters"])),
    Column("images/s", lambda row: or_nothing(thousands, row["images_per_second"])),
]


LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", NOTHING: "--"}
LATEX |= {character: f"\\{character}" for character in "&%$#_{}"}
