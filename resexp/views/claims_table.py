"""Findings as a table on the terminal: claim, what was measured, answer."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

NUM_SHOWN = 4
"""Measurements of a claim in the table: its first ones, which its answer rests on. The page has them all."""


def measured(measurement: Mapping[str, Any]) -> str:
    """Return mean, 95% interval and unit of one measurement: `0.31 [0.29, 0.33] of just copying`."""
    if measurement["mean"] is None:
        return "not measured"
    interval = measurement["interval"]
    bounds = "" if interval is None else f" [{number(interval[0])}, {number(interval[1])}]"
    unit = measurement["unit"]
    space = "" if unit.startswith("%") or not unit else " "
    return f"{number(measurement['mean'])}{bounds}{space}{unit}"


def number(value: float) -> str:
    """Return three digits, with a power of ten only where it helps: 0.0312, 1.3e-5, 12.5, 5200."""
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e5:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def claims_table(documents: Sequence[Mapping[str, Any]]) -> Table:
    """Return the table of these finding.json documents."""
    table = Table("claim", "measured, mean [95% interval]", "answer", show_lines=True)
    for document in documents:
        lines = Text()
        for measurement in document["measurements"][:NUM_SHOWN]:
            seeds = f", n = {measurement['n']}" if measurement["n"] else ""
            lines.append(f"{measurement['what']}: {measured(measurement)}{seeds}\n")
        lines.rstrip()
        claim = Text.assemble((document["name"], "bold"), "\n", document["claim"])
        table.add_row(claim, lines, document["answer"])
    return table
