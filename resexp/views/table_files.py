"""The final table as a file: CSV, Markdown, LaTeX. Names that come in are escaped."""

import csv
import io
import re

from resexp.views.tables import NOTHING, FinalTable


def to_csv(table: FinalTable) -> str:
    """Return the rows for machines: full precision, nothing where there is nothing."""
    file = io.StringIO()
    writer = csv.DictWriter(file, list(table.rows[0]) if table.rows else ["arm"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(table.rows)
    return file.getvalue()


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


def _markdown(text: str) -> str:
    # No newline may end the row, no bar the cell; the rest is what Markdown or HTML would take for its own.
    return re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", " ".join(text.split()))


LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", NOTHING: "--"}
LATEX |= {character: f"\\{character}" for character in "&%$#_{}"}


def _latex(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in " ".join(text.split()))
