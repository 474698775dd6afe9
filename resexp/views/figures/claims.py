"""Pictures of the claims about single blocks and about the way of the gradient: drawings, curves, shares."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter
from numpy.typing import NDArray

from resexp.views.figures.style import (
    FONT_SIZE,
    INK,
    KIND_COLOURS,
    OTHER_COLOURS,
    SOFT,
    dress,
    markers,
    panel,
)
from resexp.views.figures.training import legend

Drawing = NDArray[np.float32]
"""Wax on paper, [H, W] in [0, 1]."""
PAPER = "#fffdf6"
EDGE = "#d9d3c4"
"""A sheet stays a sheet in the dark: these two do not follow the reader's setting."""
GRAPHITE = "#4a4742"


def colour_of(name: str, names: Sequence[str]) -> str:
    """Return the colour of one of `names`: plain and residual have their own, the others follow in order."""
    others = [other for other in names if other not in KIND_COLOURS]
    return KIND_COLOURS.get(name) or OTHER_COLOURS[others.index(name) % len(OTHER_COLOURS)]


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
    paper, wax = np.array(to_rgb(PAPER)), np.array(to_rgb(colour))
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


def errors_figure(
    rows: Sequence[str],
    values: Mapping[str, Sequence[Sequence[float]]],
    xlabel: str,
    *,
    floor: float,
    names: Sequence[str],
) -> Figure:
    """Draw a row for each of `rows` with one mark a seed and a longer one at the mean, for every name.

    values: name to row to one number a seed, on a logarithmic axis that ends at `floor`: what is below it,
    exact zeros too, stands on it.
    """
    figure, axes = panel(height=0.62 * len(rows) + 1.1)
    offsets = np.linspace(-0.24, 0.24, len(values))
    for offset, (name, by_row) in zip(offsets, values.items(), strict=True):
        colour, marker = colour_of(name, names), markers(names)[name]
        for row, each in enumerate(by_row):
            seen = np.maximum(np.asarray(each), floor)
            y = np.full(len(seen), row + offset)
            axes.scatter(
                seen,
                y,
                s=26,
                color=colour,
                marker=marker,
                alpha=0.7,
                linewidths=0,
                label=name if row == 0 else None,
            )
    for row in range(1, len(rows)):
        axes.axhline(row - 0.5, color=SOFT, linewidth=0.4)
    axes.axvline(1, color=SOFT, linewidth=0.9, linestyle=(0, (1, 2)))
    axes.set_xscale("log")
    axes.set_xlim(floor / 1.8, 4)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), list(rows), color=INK)
    axes.grid(False, axis="y")
    axes.set_xlabel(xlabel)
    legend(figure, axes)
    return figure


def highway_figure(left: Mapping[str, Sequence[Sequence[float]]], *, floor: float) -> Figure:
    """Draw what is left of the highway's gradient at each block's input, mean over seeds, range as a band.

    left: name to seed to one number a block, in depth order, in units of the last block's output.
    Lines leave the picture at `floor`.
    """
    figure, axes = panel(width=5.2, height=3.6)
    names = list(left)
    for index, (name, seeds) in enumerate(left.items()):
        values = np.array(seeds)
        x = np.arange(1, values.shape[1] + 2)
        values = np.concatenate([values, np.ones((len(values), 1))], axis=1)
        colour = (KIND_COLOURS["residual"], *OTHER_COLOURS[:2], OTHER_COLOURS[3], INK)[index]
        middle = np.exp(np.log(values).mean(axis=0))
        axes.plot(
            x, middle, color=colour, linewidth=1.6, marker=markers(names)[name], markevery=3, markersize=4,
            markeredgewidth=0, label=name,
        )  # fmt: skip
        axes.fill_between(x, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.18, linewidth=0)
    axes.set_yscale("log")
    axes.set_ylim(floor, 2)
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("at the input of block (1: nearest to the image)")
    axes.set_ylabel("gradient left on the highway")
    legend(figure, axes)
    return figure


def path_figure(
    count: Sequence[float], shares: Mapping[str, Sequence[Sequence[float]]], window: range
) -> Figure:
    """Draw by path length the share of all paths (grey) and of the gradient (mean over seeds)."""
    figure, axes = panel(width=5.2, height=3.4)
    lengths = np.arange(len(count))
    axes.axvspan(window[0] - 0.5, window[-1] + 0.5, color=SOFT, alpha=0.12, linewidth=0)
    axes.fill_between(
        lengths, 100 * np.array(count), color=SOFT, alpha=0.35, linewidth=0, label="number of paths"
    )
    colours = [KIND_COLOURS["residual"]] if len(shares) == 1 else [*OTHER_COLOURS[:2], KIND_COLOURS["plain"]]
    for (name, seeds), colour, marker in zip(shares.items(), colours, "os^", strict=False):
        values = 100 * np.array(seeds)
        axes.plot(
            lengths, values.mean(axis=0), color=colour, linewidth=1.6, marker=marker, markersize=3.2,
            markeredgewidth=0, label="gradient" if len(shares) == 1 else f"gradient: {name}",
        )  # fmt: skip
        axes.fill_between(
            lengths, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.18, linewidth=0
        )
    axes.set_xlabel("length of the path: branches taken, of " + str(len(count) - 1))
    axes.set_ylabel("share of all")
    axes.yaxis.set_major_formatter(PercentFormatter(decimals=0))
    legend(figure, axes)
    return figure
