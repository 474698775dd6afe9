"""gradients.json as a table for the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from resexp.views.tables import NOTHING, scientific

Row = Mapping[str, Any]
ALWAYS = ("depth", "kind")
IF_VARIED = (
    "norm", "init", "activation", "order", "width", "convs_per_block", "shortcut", "branch_scale",
    "shortcut_scale", "learn_branch_scale",
)  # fmt: skip
"""A column each where the nets differ, else words under the table."""
IN_WORDS = ("norm", "init", "activation", "order")
FIXED = ("T", "factor a layer", "theory")
NUMBERS = ("depth", "width", "T", "theory", "1e±3")


def gradients_table(document: Row) -> Table:
    """Return one line a kind of net: T, the factor a layer with its 95% interval, theory's factor, the word.

    The last column is the depth at which 1e-3 or 1e3 is passed. 80 columns suffice for three axes.
    """
    rows = document["rows"]
    keys = [*ALWAYS, *(key for key in IF_VARIED if _varied(key, rows))]
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for name in [
        *(key.replace("_", " ") for key in keys),
        "T",
        "factor a layer",
        "theory",
        "word",
        "1e±3",
    ]:
        table.add_column(name, justify="right" if name in NUMBERS else "left", no_wrap=name in FIXED)
    for row in rows:
        table.add_row(*(escape(str(row[key])) for key in keys), *_texts(row))
    return table


def _varied(key: str, rows: Sequence[Row]) -> bool:
    return len({row[key] for row in rows}) > 1


def notes(document: Row) -> list[str]:
    """Return what has to be said under the table, a line each."""
    rows = document["rows"]
    seeds = len(rows[0]["seeds"])
    shared = [f"{key} {rows[0][key]}" for key in IN_WORDS if not _varied(key, rows)]
    lines = [
        *([f"All nets: {', '.join(shared)}."] if shared else []),
        f"T: size of dE/dx at the stem's output over that at the last block's. n = {seeds} "
        f"{'seed' if seeds == 1 else 'seeds'}, {document['images']} images of {document['data']['label']}, "
        f"{document['precision']}, no training. 1e±3: the depth at which T passes 0.001 or 1000.",
    ]
    underflows = sum(row["underflows"] for row in rows)
    if underflows:
        lines.append(f"underflow: an exact zero, below what float64 holds ({underflows} measurements).")
    elif any(row["below_float32"] for row in rows):
        lines.append("* below what float32 holds: in training this gradient is an exact zero, an underflow.")
    lines += sorted({row["predicted_by"] for row in rows if row["predicted"] is None})
    return lines


def _texts(row: Row) -> list[str]:
    ratio = (
        scientific(row["ratio"])
        if row["ratio"] is not None
        else "underflow"
        if row["underflows"]
        else NOTHING
    )
    return [
        ratio + ("*" if row["below_float32"] else ""),
        _factor(row["factor"], row["interval"]),
        NOTHING if row["predicted"] is None else f"{row['predicted']:.3f}",
        row["verdict"],
        str(row["depth_passed"] or NOTHING),
    ]


def _factor(factor: float | None, interval: Sequence[float | None] | None) -> str:
    if factor is None:
        return NOTHING
    if interval is None:
        return f"{factor:.3f}"
    low, high = ("∞" if bound is None else f"{bound:.3f}" for bound in interval)
    return f"{factor:.3f} [{low}, {high}]"
