"""Gradient curves: the gradient by layer, all arms together, as frames over the probed steps and heat maps.

Sizes are relative: dE/dx at an output over dE/dx at the last block's output. A line's left end is then T.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from resexp.report.figures.lines import Float64s, Line, draw_line, legend
from resexp.report.figures.style import FONT_SIZE, INK, LINE, SOFT, panel
from resexp.report.formatting import power

FRAME = "at-"
"""Start of the id that a frame's artists carry; a page turns it into the step they belong to."""
MIN_DECADES = 1.5
"""Shown to both sides of 1, so that the scatter of a healthy gradient is not blown up."""
COLOURS = "cividis"
"""Told apart by colour-blind readers, and in grey."""
GONE = "#e8d9d3"
"""An underflow, in no colour of the range."""


def frames_panel(frames: Mapping[int, Sequence[Line]], colours: Mapping[str, str]) -> Figure:
    """Draw the profile of every probed step on one pair of axes, to be shown one step at a time."""
    figure, axes = panel(height=3.1)
    bottom, top = _decades(
        [value for lines in frames.values() for line in lines for value in (line.low, line.high)]
    )
    floor = 10.0**bottom
    for index, (step, lines) in enumerate(frames.items()):
        before = set(axes.get_children())
        for line in lines:
            draw_line(axes, _raised(line, floor), colours[line.arm])
            gone = line.low <= 0
            axes.plot(line.x[gone], np.full(gone.sum(), floor), "v", color=colours[line.arm], markersize=4)
        for artist in set(axes.get_children()) - before:
            artist.set_gid(f"{FRAME}{step}")
            if index:
                artist.set_label("_hidden")
    axes.axhline(1.0, color=SOFT, linewidth=0.9, linestyle=(0, (1, 2)))
    axes.set_yscale("log")
    axes.set_ylim(floor, 10.0**top)
    axes.yaxis.set_major_locator(LogLocator(numticks=7))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda y, _: power(y))
    axes.set_xlabel("layer (1 = stem)")
    axes.set_ylabel("size of dE/dx, last block = 1")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if any((line.low <= 0).any() for lines in frames.values() for line in lines):
        axes.annotate(
            "underflow", (0, 0), xycoords="axes fraction", xytext=(3, 4), textcoords="offset points",
            fontsize=FONT_SIZE - 1, color=SOFT,
        )  # fmt: skip
    legend(figure, axes)
    return figure


def heat_panel(
    layers: Float64s, steps: Sequence[int], decades: Float64s, *, span: tuple[float, float]
) -> Figure:
    """Draw one arm's profile over all probed steps. decades: log10 of the size, float64 [layers, steps].

    span: the decades that the colours reach over, the same for all arms that are set side by side. -inf (an
    underflow) lies outside and has a colour of its own.
    """
    figure, axes = panel(height=3.1)
    axes.grid(False)
    colours = colormaps[COLOURS].with_extremes(under=GONE)
    low, high = span
    values = np.where(np.isneginf(decades), low - 1, decades)
    # One column a probe: the steps grow like 1, 2, 5, and their own scale would hide the first ones.
    image = axes.imshow(
        values, aspect="auto", origin="lower", cmap=colours, vmin=low, vmax=high, interpolation="nearest",
        extent=(-0.5, len(steps) - 0.5, -0.5, len(layers) - 0.5),
    )  # fmt: skip
    every = math.ceil(len(steps) / 8)
    axes.set_xticks(range(0, len(steps), every), [f"{step:,}" for step in steps[::every]])
    _layer_ticks(axes, layers)
    axes.set_xlabel("step, one column a probe: not to scale")
    axes.set_ylabel("layer (1 = stem)")
    bar = figure.colorbar(image, ax=axes, pad=0.02, fraction=0.06)
    bar.ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    bar.ax.yaxis.set_major_formatter(lambda y, _: power(10.0**y))
    if np.isneginf(decades).any():
        bar.ax.set_title("underflow: pale", fontsize=FONT_SIZE - 1, color=SOFT, loc="right")
    bar.ax.tick_params(colors=SOFT, labelsize=FONT_SIZE, width=0.6, length=3)
    bar.outline.set_edgecolor(LINE)  # pyright: ignore[reportCallIssue]
    return figure


def decade_span(grids: Sequence[Float64s]) -> tuple[float, float]:
    """Return whole decades that hold 1 and everything finite in the grids of log10 sizes."""
    known = np.concatenate([*(grid[np.isfinite(grid)] for grid in grids), [0.0]])
    low = math.floor(known.min())
    return low, max(math.ceil(known.max()), low + 1)


def responses_panel(lines: Sequence[Line], colours: Mapping[str, str]) -> Figure:
    """Draw the standard deviation of each block's response against its layer (He et al. 2015, Fig. 7)."""
    figure, axes = panel()
    for line in lines:
        draw_line(axes, line, colours[line.arm])
    positive = np.concatenate([line.low for line in lines])
    positive = positive[positive > 0]
    if len(positive) and positive.max() / positive.min() > 100:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(numticks=7))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(lambda y, _: power(y))
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlabel("layer of the block's output")
    axes.set_ylabel("std of R(x)")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    legend(figure, axes)
    return figure


def _decades(values: Sequence[Float64s]) -> tuple[float, float]:
    """The range of the axis, in whole decades that hold all that is above 0 and MIN_DECADES around 1."""
    flat = np.concatenate([*values, [1.0]])
    logs = np.log10(flat[flat > 0])
    # An underflow is drawn at the foot, a decade below all that is not.
    foot = min(logs.min() - (1.0 if (flat <= 0).any() else 0.1), -MIN_DECADES)
    return math.floor(foot * 2) / 2, math.ceil(max(logs.max() + 0.1, MIN_DECADES) * 2) / 2


def _raised(line: Line, floor: float) -> Line:
    """The line with what underflowed lifted to the foot of the axis."""
    middle, low, high = (np.maximum(values, floor) for values in (line.middle, line.low, line.high))
    return replace(line, middle=middle, low=low, high=high)


def _layer_ticks(axes: Axes, layers: Float64s) -> None:
    every = max(1, round(len(layers) / 6))
    axes.set_yticks(range(0, len(layers), every), [f"{layer:g}" for layer in layers[::every]])
    axes.tick_params(colors=SOFT, labelcolor=INK)
