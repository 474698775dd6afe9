"""Figures of the squiggle: sheets of paper with crayon on them, and errors over the steps."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from resexp.report.figures.lines import legend
from resexp.report.figures.style import FONT_SIZE, INK, SOFT, colour_of, dress, markers

Drawing = NDArray[np.float32]
"""Wax on paper, [H, W] in [0, 1]."""
_PAPER = "#fffdf6"
EDGE = "#d9d3c4"
"""A sheet stays a sheet in the dark: these two do not follow the reader's setting."""
GRAPHITE = "#4a4742"


def sheets_figure(
    task: tuple[Drawing, Drawing],
    columns: Mapping[str, Sequence[Drawing]],
    rows: Sequence[str],
    *,
    colours: Mapping[str, str],
) -> Figure:
    """Draw sheets of paper with crayon on them: the task on top, then a column a name, a row each of `rows`.

    task: what is given, what is wanted. columns: two or more. colours: of each column's heading and crayon.
    """
    size = (1.24 * len(columns) + 0.6, 1.24 * (len(rows) + 1) + 0.6)
    figure = Figure(figsize=size, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0.02, hspace=0.02)  # type: ignore[union-attr]
    grid = figure.subplots(len(rows) + 1, len(columns), squeeze=False)
    for axes in grid[0]:
        axes.set_axis_off()
    for axes, drawing, word in ((grid[0, 0], task[0], "given"), (grid[0, -1], task[1], "wanted")):
        axes.set_axis_on()
        _sheet(axes, drawing, GRAPHITE)
        axes.set_title(word, fontsize=FONT_SIZE, color=SOFT, pad=4)
    way = {"arrowstyle": "->", "color": SOFT, "linewidth": 1.2}
    grid[0, 1].annotate("", (0.85, 0.5), (0.15, 0.5), xycoords="axes fraction", arrowprops=way)
    for j, (name, drawings) in enumerate(columns.items()):
        for i, drawing in enumerate(drawings):
            axes = grid[i + 1, j]
            _sheet(axes, drawing, colours[name])
            if i == 0:
                axes.set_title(name, fontsize=FONT_SIZE, color=colours[name], pad=4)
            if j == 0:
                axes.set_ylabel(rows[i], fontsize=FONT_SIZE, color=SOFT, rotation=0, ha="right", va="center")
    return figure


def _sheet(axes: Axes, drawing: Drawing, colour: str) -> None:
    """Put one drawing on paper: the wax covers the paper, it does not tint it."""
    paper, wax = np.array(to_rgb(_PAPER)), np.array(to_rgb(colour))
    amount = np.clip(drawing, 0, 1)[:, :, None]
    axes.imshow(paper + amount * (wax - paper), interpolation="none")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color(EDGE)
    axes.spines[:].set_linewidth(0.8)


def curves_figure(
    panels: Mapping[str, Mapping[str, Mapping[int, Sequence[float]]]], *, floor: float, names: Sequence[str]
) -> Figure:
    """Draw a panel under the other: the mean over seeds by step, the seeds' range as a band, a curve a name.

    panels: title to name to step to one number a seed, on one logarithmic axis from `floor` up.
    """
    figure = Figure(figsize=(4.3, 2.35 * len(panels) + 0.6), layout="constrained")
    stack = figure.subplots(len(panels), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, (title, curves) in zip(stack, panels.items(), strict=True):
        dress(axes)
        for name, curve in curves.items():
            x, values = list(curve), np.array(list(curve.values()))
            colour = colour_of(name, names)
            axes.plot(
                x, values.mean(axis=1), color=colour, marker=markers(names)[name], markersize=4,
                markeredgewidth=0, label=name,
            )  # fmt: skip
            axes.fill_between(
                x, values.min(axis=1), values.max(axis=1), color=colour, alpha=0.18, linewidth=0
            )
            axes.set_xticks(x[:1] + [step for step in x if step >= x[-1] / 5])
        axes.set_title(title, loc="left", fontsize=FONT_SIZE, color=INK, pad=3)
        axes.set_yscale("log")
        axes.set_ylim(floor, None)
        axes.yaxis.set_minor_locator(NullLocator())
    stack[-1].set_xlabel("step", fontsize=FONT_SIZE, color=INK)
    legend(figure, stack[0])
    return figure
