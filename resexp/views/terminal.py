"""Results on the terminal: a table, then sentences."""

from rich.console import Console
from rich.table import Table

TABLE_WIDTH = 120
"""Columns a table gets at least: one that a narrow terminal cuts off would mislead, so it wraps instead."""


def show(table: Table, *sentences: str) -> None:
    """Print on stdout."""
    if table.columns:
        Console(highlight=False, width=max(Console().width, TABLE_WIDTH)).print(table)
    console = Console(highlight=False)
    for sentence in sentences:
        console.print(sentence, markup=False, soft_wrap=True)
