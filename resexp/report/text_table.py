"""Text table: rows that fit a terminal, or whole lines for whatever reads a pipe."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.markup import escape
from rich.table import Table

from resexp.records.jsonl import Row

MAY_DROP = ("images/s", "data")
"""Columns that a narrow terminal need not show, the first one first; the others fold between words."""
MOST_UNFOLDED = 14
"""Letters: a longer word, as a folder's path is, folds where a terminal is narrow."""
GAP = 1


class TextTable(NamedTuple):
    """Names of columns, rows of texts, and which of the columns are numbers."""

    names: Sequence[str]
    texts: Sequence[Sequence[str]]
    numbers: Sequence[str] = ()

    def fitted(self, width: int | None) -> Table:
        """Return it at most `width` columns wide if its words can be; None: in whole lines."""
        table = self
        if width is not None:
            for name in MAY_DROP:
                if _total(table._words()) > width:
                    table = table._without(name)
        return table._rich(list(table._widths(width)))

    def _columns(self) -> Iterator[tuple[str, ...]]:
        return zip(self.names, *self.texts, strict=True)

    def _without(self, name: str) -> "TextTable":
        kept = [index for index, other in enumerate(self.names) if other != name]
        texts = [[line[index] for index in kept] for line in self.texts]
        return TextTable([self.names[index] for index in kept], texts, self.numbers)

    def _words(self) -> list[int]:
        """The longest word of each column: as narrow as it may be without breaking one."""
        return [max(map(len, " ".join(column).split())) for column in self._columns()]

    def _widths(self, width: int | None) -> list[int]:
        """How wide each column is: folded between words first, the widest first, then within long ones."""
        widths = [max(map(len, column)) for column in self._columns()]
        if width is not None:
            words = self._words()
            widths = _narrowed(widths, words, width)
            widths = _narrowed(widths, [min(word, MOST_UNFOLDED) for word in words], width)
        return widths

    def _rich(self, widths: Sequence[int]) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
        for name, width in zip(self.names, widths, strict=True):
            justify = "right" if name in self.numbers else "left"
            table.add_column(escape(name), justify=justify, overflow="fold", width=width)
        for line in self.texts:
            table.add_row(*map(escape, line))
        return table


def text_table(rows: Sequence[Row]) -> TextTable:
    """Return rows of text, whose keys are the columns."""
    columns = list(rows[0]) if rows else []
    return TextTable(columns, [[str(row[column]) for column in columns] for row in rows])


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _narrowed(widths: Sequence[int], least: Sequence[int], width: int) -> list[int]:
    narrowed = list(widths)
    while _total(narrowed) > width:
        spare = [k for k, (one, floor) in enumerate(zip(narrowed, least, strict=True)) if one > floor]
        if not spare:
            break
        narrowed[max(spare, key=lambda k: narrowed[k])] -= 1
    return narrowed
