"""Terminal output: results as a table, then sentences."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console, ConsoleOptions
from rich.markup import escape
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from resexp.analysis.cells import short
from resexp.config.imports import without_folder
from resexp.config.yaml_nodes import without_commands
from resexp.records.claim import ClaimDocument
from resexp.records.documents import GradientRow, GradientsDocument
from resexp.records.jsonl import Row
from resexp.report.formatting import NOTHING, duration, measured, scientific
from resexp.report.text_table import TextTable, text_table

WIDEST = 10_000
NUM_SHOWN = 4
"""Measurements of a claim in the table: its first ones, which its answer rests on. The page has them all."""
COUNTS = ("runs", "there_already", "steps", "seconds")
ALWAYS = ("depth", "kind")
IF_VARIED = (
    "norm", "init", "activation", "order", "width", "convs_per_block", "block", "shortcut", "branch_scale",
    "shortcut_scale", "learn_branch_scale",
)  # fmt: skip
"""A column each where the nets differ, else words under the table."""
IN_WORDS = ("norm", "init", "activation", "order")
FIXED = ("T", "factor a layer", "theory")
NUMBERS = ("depth", "width", "T", "theory", "1e±3")


class _Shown:
    """A table in which what would command the terminal is spelled out; such a line gets longer."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for segment in console.render(self._table, options):
            yield segment._replace(text=without_commands(segment.text, lines=True))


def show(table: TextTable | Table, *sentences: str) -> None:
    """Print on stdout: fitted to a terminal, in whole lines where a file or a program reads it.

    What would command the terminal is spelled out.
    """
    console = Console(highlight=False)
    width = console.width if console.is_terminal else None
    fitted = table.fitted(width) if isinstance(table, TextTable) else table
    if fitted.columns:
        least = Measurement.get(console, console.options.update(width=WIDEST), fitted)
        needed = least.minimum if width is not None else least.maximum
        # One that is cut off would mislead: beyond what folds, the terminal wraps.
        Console(highlight=False, width=max(needed, console.width)).print(_Shown(fitted), crop=False)
    for sentence in sentences:
        console.print(without_commands(sentence), markup=False, soft_wrap=not console.is_terminal)


def as_text(table: TextTable) -> str:
    """Return the table in whole lines."""
    console = Console(highlight=False, width=WIDEST, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(_Shown(table.fitted(None)), crop=False)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def claims_table(documents: Sequence[Mapping[str, Any]]) -> Table:
    """Return the table of these finding.json documents."""
    table = Table("claim", "measured, mean [95% interval]", "answer", show_lines=True)
    for document in map(ClaimDocument.model_validate, documents):
        lines = Text()
        for measurement in document.measurements[:NUM_SHOWN]:
            seeds = f", n = {measurement.n}" if measurement.n else ""
            lines.append(f"{measurement.what}: {measured(measurement.model_dump())}{seeds}\n")
        lines.rstrip()
        claim = Text.assemble((document.name, "bold"), "\n", document.claim)
        table.add_row(claim, lines, document.answer)
    return table


def forecast_table(document: Mapping[str, Any]) -> TextTable:
    """Return one line a cell: its runs, those that are there already, the steps left, the time they take."""
    rows = []
    for cell in document["cells"]:
        axes = {short(key): value for key, value in cell.items() if key not in COUNTS}
        counts = {
            "runs": cell["runs"],
            "there already": cell["there_already"],
            "steps left": f"{cell['steps']:,}",
        }
        rows.append({**axes, **counts, "time": duration(cell["seconds"])})
    return text_table(rows)


def forecast_notes(document: Mapping[str, Any]) -> list[str]:
    """Return the sums, and what the time was measured on."""
    lines = []
    if document["recorded"]:
        lines.append(f"{document['recorded']} finished runs take part as they are.")
    if not document["cells"]:
        return [*lines, f"{document['folder']}: nothing to train."]
    runs, there, steps = document["runs"], document["there_already"], document["steps"]
    time = duration(document["seconds"])
    lines.append(
        f"{document['folder']}: {runs} runs, {there} of them there already; {steps:,} steps left, "
        f"about {time} one after the other. Nothing was trained."
    )
    if looks := document.get("looks"):
        lines.append(
            f"That is the most: --until resolved looks at {', '.join(map(str, looks))} seeds and ends once "
            "every cell's arms are told apart."
        )
    if execution := document.get("execution"):
        how = f"{execution['device']}, {execution['precision']}, {execution['threads']} threads"
        compiled = "compiled" in execution["mode"]
        apart = "; the runs would be compiled, the measurement was not" if compiled else ""
        lines.append(
            f"Time from a step, a probe and an evaluation of each net, the best of three here: {how}{apart}."
        )
    return lines


def gradients_table(document: Row) -> Table:
    """Return one line a kind of net: T, the factor a layer with its 95% interval, theory's factor, the word.

    The last column is the depth at which 1e-3 or 1e3 is passed. 80 columns suffice for three axes.
    """
    text = gradients_text(document)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for name in text.names:
        table.add_column(name, justify="right" if name in NUMBERS else "left", no_wrap=name in FIXED)
    for line in text.texts:
        table.add_row(*map(escape, line))
    return table


def gradients_text(document: Row) -> TextTable:
    """Return the texts of that table."""
    rows = GradientsDocument.read(document).rows
    keys = [*ALWAYS, *(key for key in IF_VARIED if _varied(key, rows))]
    names = [*(key.replace("_", " ") for key in keys), "T", "factor a layer", "theory", "word", "1e±3"]
    texts = [[*(without_folder(str(row.setting(key))) for key in keys), *_texts(row)] for row in rows]
    return TextTable(names, texts, NUMBERS)


def _varied(key: str, rows: Sequence[GradientRow]) -> bool:
    return len({row.setting(key) for row in rows}) > 1


def gradients_notes(document: Row) -> list[str]:
    """Return what has to be said under the table, a line each."""
    table = GradientsDocument.read(document)
    rows = table.rows
    seeds = len(rows[0].seeds)
    shared = [
        f"{key} {without_folder(str(rows[0].setting(key)))}" for key in IN_WORDS if not _varied(key, rows)
    ]
    lines = [
        *([f"All nets: {', '.join(shared)}."] if shared else []),
        f"T: size of dE/dx at the stem's output over that at the last block's. n = {seeds} "
        f"{'seed' if seeds == 1 else 'seeds'}, {table.images} images of {table.data.label}, "
        f"{table.precision}, no training. 1e±3: the depth at which T passes 0.001 or 1000.",
    ]
    underflows = sum(row.underflows for row in rows)
    if underflows:
        lines.append(f"underflow: an exact zero, below what float64 holds ({underflows} measurements).")
    elif any(row.below_float32 for row in rows):
        lines.append("* below what float32 holds: in training this gradient is an exact zero, an underflow.")
    lines += sorted({row.predicted_by for row in rows if row.predicted is None})
    return lines


def _texts(row: GradientRow) -> list[str]:
    ratio = scientific(row.ratio) if row.ratio is not None else "underflow" if row.underflows else NOTHING
    return [
        ratio + ("*" if row.below_float32 else ""),
        _factor(row.factor, row.interval),
        NOTHING if row.predicted is None else f"{row.predicted:.3f}",
        row.verdict,
        str(row.depth_passed or NOTHING),
    ]


def _factor(factor: float | None, interval: Sequence[float | None] | None) -> str:
    if factor is None:
        return NOTHING
    if interval is None:
        return f"{factor:.3f}"
    low, high = ("∞" if bound is None else f"{bound:.3f}" for bound in interval)
    return f"{factor:.3f} [{low}, {high}]"
