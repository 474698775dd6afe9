"""A comparison's forecast on the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from resexp.findings.cells import short
from resexp.views.tables import plain_table

COUNTS = ("runs", "there_already", "steps", "seconds")


def forecast_table(document: Mapping[str, Any]) -> Table:
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
    return plain_table(rows)


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
    if execution := document.get("execution"):
        how = f"{execution['device']}, {execution['precision']}, {execution['threads']} threads"
        compiled = "compiled" in execution["mode"]
        apart = "; the runs would be compiled, the measurement was not" if compiled else ""
        lines.append(
            f"Time from a step, a probe and an evaluation of each net, the best of three here: {how}{apart}."
        )
    return lines


def duration(seconds: float) -> str:
    """Return a length of time in two units at most: 40 s, 3 min, 2 h 5 min."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if hours else f"{minutes} min"
