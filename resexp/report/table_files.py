"""A table as a file: CSV, Markdown, LaTeX."""

import csv
import io
import re

from resexp.config.yaml_nodes import without_commands
from resexp.report.tables import LATEX, FinalTable


def to_csv(table: FinalTable) -> str:
    """Return the rows for machines: full precision, nothing where there is nothing."""
    file = io.StringIO()
    writer = csv.DictWriter(file, list(table.rows[0]) if table.rows else ["arm"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(table.rows)
    return without_commands(file.getvalue(), lines=True)


def to_markdown(table: FinalTable) -> str:
    """Return the table as GitHub's Markdown."""
    numbers = table.numbers
    rule = ["---:" if name in numbers else "---" for name in table.names]
    lines = [[_markdown(text) for text in line] for line in (table.names, *table.texts)]
    return "".join(f"| {' | '.join(line)} |\n" for line in (lines[0], rule, *lines[1:]))


def to_latex(table: FinalTable) -> str:
    """Return the table as a LaTeX tabular that needs no package."""
    shape = "".join("r" if name in table.numbers else "l" for name in table.names)
    lines = [" & ".join(map(_latex, line)) + r" \\" for line in (table.names, *table.texts)]
    body = "\n".join([r"\hline", lines[0], r"\hline", *lines[1:], r"\hline"])
    return f"\\begin{{tabular}}{{{shape}}}\n{body}\n\\end{{tabular}}\n"


def _one_line(text: str) -> str:
    return without_commands(" ".join(text.split()))


def _markdown(text: str) -> str:
    # No newline may end the row, no bar the cell; the rest is what Markdown or HTML would take for its own.
    return re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", _one_line(text))


def _latex(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in _one_line(text))
