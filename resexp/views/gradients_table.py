"""gradients.json as a table for the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from resexp.views.tables import NOTHING, scientific

Row = Mapping[str, Any]
ALWAYS = ("depth", "kind", "norm", "init", "activation")
IF_VARIED = (
    "order",
    "width",
    "convs_per_block",
    "shortcut",
    "branch_scale",
    "shortcut_scale",
    "learn_branch_scale",
)
NUMBERS = ("depth", "width", "convs per block", "T", "predicted T", "predicted", "1e±3 at depth")


def gradients_table(document: Row) -> Table:
    """Return one line a kind of net: T, the factor a layer with its 95% interval, theory, the word."""
    rows = document["rows"]
    keys = [*ALWAYS, *(key for key in IF_VARIED if len({row[key] for row in rows}) > 1)]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    names = [
        *(key.replace("_", " ") for key in keys),
        "T",
        "predicted T",
        "factor a layer",
        "predicted",
        "word",
    ]
    for name in [*names, "1e±3 at depth"]:
        table.add_column(name, justify="right" if name in NUMBERS else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(row[key])) for key in keys), *_texts(row))
    return table


def notes(document: Row) -> list[str]:
    """Return what has to be said under the table, a line each."""
    rows = document["rows"]
    seeds = len(rows[0]["seeds"])
    lines = [
        f"T: size of dE/dx at the stem's output over that at the last block's. n = {seeds} "
        f"{'seed' if seeds == 1 else 'seeds'}, {document['images']} images of {document['data']['label']}, "
        f"{document['precision']}, no training."
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
        NOTHING if row["predicted_ratio"] is None else scientific(row["predicted_ratio"]),
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
