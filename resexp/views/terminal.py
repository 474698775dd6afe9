"""Results on the terminal: a table, then sentences."""

from rich.console import Console
from rich.table import Table

TABLE_WIDTH = 120


def show(table: Table, *sentences: str) -> None:
    """Print on stdout. A table is given 120 columns at least: cut off by a narrow terminal it would mislead."""
    console = Console(highlight=False)
    console.print(table, width=max(console.width, TABLE_WIDTH), crop=False)
    for sentence in sentences:
        console.print(sentence, markup=False, soft_wrap=True)
