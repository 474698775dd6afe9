"""Lines with bands: records of several seeds as what a panel draws.

A band is the range of the seeds, lowest to highest, not an interval: pictures show what there was, and what
may be concluded from it is said in the verdicts.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from resexp.report.comparison_data import Curve
from resexp.report.figures.style import FONT_SIZE, INK

Float64s = NDArray[np.float64]
DASHES = (0, (4, 2))


@dataclass(frozen=True)
class Line:
    """One arm in one panel.

    arm: its name, which decides the colour. label: its words in the legend. x, middle, low, high: float64
    [K], x rising. middle is the mean of n seeds (of their logarithms where the axis is one); low and high are
    their range. singly: drawn thin and dashed, one line a seed, for seeds that are not averaged.
    """

    arm: str
    label: str
    x: Float64s
    middle: Float64s
    low: Float64s
    high: Float64s
    n: int
    singly: bool = False


def line(
    arm: str, label: str, curves: Iterable[Curve], *, geometric: bool = False, singly: bool = False
) -> Line | None:
    """Return the line of some seeds over the x that all of them have; None where there is no such x.

    geometric: average logarithms; an x at which any seed is not above 0 (an underflow) has a middle and a
    low of 0, so that it is seen at the foot of the axis and not averaged away.
    """
    curves = [curve for curve in curves if curve]
    shared = sorted(set.intersection(*(set(curve) for curve in curves))) if curves else []
    if not shared:
        return None
    values = np.array([[curve[x] for x in shared] for curve in curves], dtype=np.float64)
    if geometric:
        with np.errstate(divide="ignore"):
            middle = np.exp(np.log(np.maximum(values, 0.0)).mean(axis=0))
    else:
        middle = values.mean(axis=0)
    x = np.array(shared, dtype=np.float64)
    return Line(arm, label, x, middle, values.min(axis=0), values.max(axis=0), len(curves), singly)


def draw_line(
    axes: Axes, line: Line, colour: str, *, dashed: bool = False, marker: str | None = None
) -> None:
    """Draw one line, and its band if there is more than one seed."""
    style = DASHES if dashed or line.singly else "-"
    width = 0.9 if line.singly else 1.6
    size = {"marker": marker, "markersize": 4.0, "markeredgewidth": 0} if marker else {}
    axes.plot(line.x, line.middle, color=colour, linewidth=width, linestyle=style, label=line.label, **size)
    if line.n > 1:
        axes.fill_between(line.x, line.low, line.high, color=colour, alpha=0.18, linewidth=0)


def legend(figure: Figure, axes: Axes) -> None:
    """Put the legend above the axes, where no data can be."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        columns = 4 if sum(map(len, labels)) < 34 else 2 if max(map(len, labels)) < 22 else 1
        figure.legend(
            handles, labels, loc="outside upper left", ncols=columns, frameon=False, fontsize=FONT_SIZE,
            labelcolor=INK, handlelength=1.8, columnspacing=1.2, borderaxespad=0.2,
        )  # fmt: skip
