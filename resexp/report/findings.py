"""What a comparison found, cell by cell: the sentences that its page and the terminal both show."""

from collections.abc import Iterator, Sequence

from resexp.records.documents import VerdictRow
from resexp.report.comparison_data import Cell, Entry, cells
from resexp.report.formatting import first_upper
from resexp.report.sentences import Headline, cell_words, headlines


def findings(
    found: Sequence[Cell], verdicts: Sequence[VerdictRow]
) -> Iterator[tuple[str, Sequence[Headline]]]:
    """Yield heading and sentences of each cell, then of what no one cell holds: it spans depths."""
    rest = list(verdicts)
    for cell in found:
        own = [verdict for verdict in rest if cell.holds(verdict)]
        taken = set(map(id, own))
        rest = [verdict for verdict in rest if id(verdict) not in taken]
        if said := list(headlines(own, [entry.run for entry in cell.entries])):
            yield first_upper(cell.words), said
    for words in dict.fromkeys(cell_words(verdict.cell or {}) for verdict in rest):
        own = [verdict for verdict in rest if cell_words(verdict.cell or {}) == words]
        span = "" if "depth" in (own[0].cell or {}) else "across depths"
        if said := list(headlines(own, [])):
            yield first_upper(", ".join(filter(None, (span, words)))), said


def comparison_lines(entries: Sequence[Entry], verdicts: Sequence[VerdictRow]) -> list[str]:
    """Return what a comparison found, a sentence a line, each cell under its name."""
    lines = []
    for heading, said in findings(cells(entries), verdicts):
        lines += ["", heading or "Found"]
        lines += [f"- {one.sentence}" for one in said]
    return lines
