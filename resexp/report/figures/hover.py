"""Hover: the numbers of a figure at their places in its drawing, for a page's script to show."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resexp.report.figures.lines import Line
from resexp.report.formatting import size

POINTS_PER_INCH = 72
"""What an SVG's units are."""
MOST_POINTS = 150
"""Of a line: a pointer cannot tell more apart."""


class HoverLine(NamedTuple):
    """A line's numbers as people read them. step: of the frame it belongs to; None if always shown."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    texts: Sequence[str]
    step: int | None = None


class HoverLines(NamedTuple):
    """All lines of a figure's first axes. axis: what x counts, a word; y is what the figure's axis says."""

    axis: str
    lines: Sequence[HoverLine]

    def placed(self, figure: Figure) -> dict[str, Any]:
        """Return JSON's types: of each line its points as [x, y, number, text], places in the SVG's units."""
        axes = figure.axes[0]
        return {
            "axis": self.axis,
            "lines": [
                {"name": line.name, "step": line.step, "points": list(_points(figure, axes, line))}
                for line in self.lines
            ],
        }


class HoverGrid(NamedTuple):
    """A heat map's numbers. texts: by row (layer) and column (step)."""

    name: str
    layers: Sequence[float]
    steps: Sequence[int]
    texts: Sequence[Sequence[str]]

    def placed(self, figure: Figure) -> dict[str, Any]:
        """Return JSON's types: the box [left, top, right, bottom] in the SVG's units, and what is in it."""
        axes = figure.axes[0]
        left, bottom = _place(figure, axes, -0.5, -0.5)
        right, top = _place(figure, axes, len(self.steps) - 0.5, len(self.layers) - 0.5)
        return {"box": [left, top, right, bottom], **self._asdict()}


Hover = HoverLines | HoverGrid


def hover_lines(
    axis: str, lines: Sequence[Line], *, names: Sequence[str] = (), step: int | None = None, unit: str = ""
) -> HoverLines:
    """Return what there is to say of the lines, by `names` or their labels; without a label: nothing."""
    called = names or [line.label for line in lines]
    found = []
    for name, line in zip(called, lines, strict=True):
        if name.startswith("_"):
            continue
        kept = np.unique(np.linspace(0, len(line.x) - 1, min(len(line.x), MOST_POINTS)).round().astype(int))
        texts = [f"{size(float(y))}{unit}" for y in line.middle[kept]]
        found.append(HoverLine(name, line.x[kept].tolist(), line.middle[kept].tolist(), texts, step))
    return HoverLines(axis, found)


def _points(figure: Figure, axes: Axes, line: HoverLine) -> Iterator[list[Any]]:
    low, high = axes.get_ylim()
    for x, y, text in zip(line.x, line.y, line.texts, strict=True):
        if np.isfinite(y):
            yield [*_place(figure, axes, x, min(max(y, low), high)), round(x, 3), text]


def _place(figure: Figure, axes: Axes, x: float, y: float) -> tuple[float, float]:
    """Where data coordinates lie in the SVG, whose y goes down."""
    across, up = axes.transData.transform((x, y)) * POINTS_PER_INCH / figure.dpi
    return round(float(across), 1), round(float(figure.get_figheight() * POINTS_PER_INCH - up), 1)
