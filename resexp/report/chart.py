"""Charts of characters for a terminal: lines over an axis, side by side."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rich.table import Table
from rich.text import Text

from resexp.config.yaml_nodes import without_commands

Points = Mapping[float, float]
"""y by x."""
MARKS = "o+x*"
"""Of the first line, the second, ...: ASCII, which every terminal has. Where lines meet, the last is seen."""
STYLES = ("dark_orange", "dodger_blue1", "green", "magenta")
LABEL = 7
"""Columns left of the axis."""
ROWS = 9
NUM_TICKS = 4


class Chart(NamedTuple):
    """Lines by name. log: y on a scale of powers of ten, where what is not above 0 lies at the foot.

    y_range: the least that the axis spans, in y.
    """

    title: str
    lines: Mapping[str, Points]
    x_label: str
    log: bool = False
    y_range: tuple[float, float] | None = None

    def text(self, width: int) -> Text:
        """Return it as ROWS rows of the plot with title, axis and x label, `width` columns wide."""
        columns = max(8, width - LABEL - 1)
        axis = _Axis.of(self)
        x_axis = _x_axis(self.lines)
        cells: dict[tuple[int, int], int] = {}
        for index, points in enumerate(self.lines.values()):
            for x, y in points.items():
                if not math.isnan(y):
                    cells[axis.row(y), _column(x, x_axis, columns)] = index
        labels = axis.labels()
        text = Text(without_commands(self.title)[:width], style="bold")
        for row in range(ROWS):
            text.append(f"\n{labels.get(row, ''):>{LABEL - 1}} ", style="not bold")
            text.append("|" if row in labels else " ", style="dim not bold")
            for column in range(columns):
                index = cells.get((row, column))
                mark, style = (" ", "") if index is None else (MARKS[index % 4], STYLES[index % 4])
                text.append(mark, style=f"not bold {style}".strip())
        text.append(f"\n{self._x_ticks(x_axis, columns)}", style="not bold")
        return text

    def _x_ticks(self, x_axis: tuple[float, float], columns: int) -> str:
        first, last = (f"{x:g}" for x in x_axis)
        middle = self.x_label.center(columns - len(first) - len(last))
        return f"{'':{LABEL + 1}}{first}{middle}{last}"


def beside(charts: Sequence[Chart], width: int) -> Table:
    """Return the charts next to each other, and under them what the marks mean."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    each = (width - 2 * len(charts)) // max(1, len(charts))
    for _ in charts:
        grid.add_column(no_wrap=True, width=each)
    grid.add_row(*(chart.text(each) for chart in charts))
    return grid


def marks_legend(names: Sequence[str]) -> Text:
    """Return the marks with their names."""
    text = Text()
    for index, name in enumerate(names):
        text.append(f"{MARKS[index % 4]} {without_commands(name)}", style=STYLES[index % 4])
        text.append("   ")
    text.rstrip()
    return text


class _Axis(NamedTuple):
    """The y axis from `low` to `high`, in powers of ten where `log`."""

    low: float
    high: float
    log: bool

    @classmethod
    def of(cls, chart: Chart) -> "_Axis":
        values = [y for points in chart.lines.values() for y in points.values() if math.isfinite(y)]
        values += chart.y_range or ()
        if chart.log:
            decades = [math.log10(y) for y in values if y > 0] or [0.0]
            below = 1 if any(y <= 0 for y in values) else 0
            low, high = math.floor(min(decades)) - below, math.ceil(max(decades))
        else:
            low, high = min(values, default=0.0), max(values, default=1.0)
        return cls(low, high if high > low else low + 1.0, chart.log)

    def row(self, y: float) -> int:
        """The row of y, 0 at the top."""
        if self.log:
            y = math.log10(y) if 0 < y < math.inf else self.low if y <= 0 else self.high
        part = (min(max(y, self.low), self.high) - self.low) / (self.high - self.low)
        return round((1 - part) * (ROWS - 1))

    def labels(self) -> dict[int, str]:
        """The tick labels by row, few enough that each has a row of its own."""
        if self.log:
            every = max(1, math.ceil((self.high - self.low) / NUM_TICKS))
            decades = range(math.ceil(self.low), math.floor(self.high) + 1)
            return {self.row(10.0**d): "1" if d == 0 else f"1e{d}" for d in decades if d % every == 0}
        step = (self.high - self.low) / (NUM_TICKS - 1)
        ticks = [self.low + k * step for k in range(NUM_TICKS)]
        return {self.row(y): f"{y:.2f}" if abs(y) < 100 else f"{y:.0f}" for y in ticks}


def _x_axis(lines: Mapping[str, Points]) -> tuple[float, float]:
    known = [x for points in lines.values() for x in points]
    first, last = min(known, default=0.0), max(known, default=1.0)
    return first, last if last > first else first + 1


def _column(x: float, x_axis: tuple[float, float], columns: int) -> int:
    first, last = x_axis
    return round((x - first) / (last - first) * (columns - 1))
