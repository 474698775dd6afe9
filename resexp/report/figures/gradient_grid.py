"""The gradient grid: gradient against depth, for nets at initialisation and one net at a step.

Sizes are relative to the last block's output, so that the left end of a line is T. An exact zero has no
logarithm: it is an underflow, and is marked at the foot of the axis instead of being left out.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from resexp.config.imports import without_folder
from resexp.records.documents import GradientRow, GradientsDocument
from resexp.records.jsonl import Row
from resexp.records.schema import OutputRow, ProfileRow
from resexp.report.figures.gradient_curves import MIN_DECADES, decade_span, heat_panel
from resexp.report.figures.style import FONT_SIZE, INK, KIND_COLOURS, OTHER_COLOURS, SOFT, dress
from resexp.report.formatting import power

KIND_MARKERS = {"plain": "o", "residual": "s"}
SHOWN = ("norm", "init", "activation")
"""Settings that name a row of panels always; these only where they differ:"""
SHOWN_IF_VARIED = (
    "order",
    "width",
    "convs_per_block",
    "block",
    "shortcut",
    "branch_scale",
    "shortcut_scale",
    "learn_branch_scale",
)


class Point(NamedTuple):
    """One output."""

    layer: int
    sizes: tuple[float, float, float] | None
    """log10 of N over N at the last output: mean, lowest, highest; None where every seed underflowed"""
    underflows: int


def grid_figure(document: Row) -> Figure:
    """Draw gradients.json: a column for each depth, a row of panels for each other setting, twins together.

    Line: mean of log10 over the seeds. Band: their range. Dashed: what theory predicts.
    """
    rows = GradientsDocument.read(document).rows
    depths = sorted({row.depth for row in rows})
    settings = list(dict.fromkeys(_setting(row) for row in rows))
    figure = Figure(figsize=(1.2 + 2.7 * len(depths), 0.7 + 2.2 * len(settings)), layout="constrained")
    panels = figure.subplots(len(settings), len(depths), squeeze=False, sharey="row")
    for line, setting in zip(panels, settings, strict=True):
        nets = [row for row in rows if _setting(row) == setting]
        for axes, depth in zip(line, depths, strict=True):
            dress(axes)
            for row in nets:
                if row.depth == depth:
                    _draw(axes, _points(row), row.kind)
                    _draw_prediction(axes, row)
            axes.axhline(0, color=SOFT, linewidth=0.9, linestyle=(0, (1, 2)))
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        predicted = [point.predicted for row in nets for point in row.profile]
        _decades(line[0], [point for row in nets for point in _points(row)], predicted)
        line[0].set_ylabel(_words(nets[0], rows))
    for axes, depth in zip(panels[0], depths, strict=True):
        axes.set_title(f"depth {depth}")
    for axes in panels[-1]:
        axes.set_xlabel("layer (1 = stem)")
    figure.supylabel("size of dE/dx, last block = 1", fontsize=FONT_SIZE, color=SOFT)
    figure.legend(
        handles=_handles(rows), loc="outside upper left", ncols=4, frameon=False, fontsize=FONT_SIZE,
        labelcolor=INK, borderaxespad=0.2,
    )  # fmt: skip
    return figure


def step_figure(row: ProfileRow, *, kind: str, title: str) -> Figure:
    """Draw one row of profile.jsonl: the size of dE/dx at every output; in a residual net its two ways.

    Its margins are fixed, so that nothing jumps from step to step, and it is drawn in half the time.
    """
    outputs = row.outputs
    split = [output for output in outputs if output.shortcut_share is not None]
    height = 4.6 if split else 2.8
    figure = Figure(figsize=(4.0, height))
    figure.subplots_adjust(left=0.19, right=0.98, bottom=0.5 / height, top=1 - 0.44 / height, hspace=0.08)
    upper, *lower = figure.subplots(2 if split else 1, 1, squeeze=False, sharex=True).flat
    points = [_point(output, outputs[-1]) for output in outputs]
    dress(upper)
    _draw(upper, points, kind)
    upper.axhline(0, color=SOFT, linewidth=0.9, linestyle=(0, (1, 2)))
    _decades(upper, points)
    upper.set_ylabel("size of dE/dx,\nlast block = 1")
    upper.set_title(title, loc="left", fontsize=FONT_SIZE, color=INK)
    for axes in lower:
        dress(axes)
        axes.axhline(0, color=SOFT, linewidth=0.9)
        layers = [output.layer for output in split]
        ways = {
            "shortcut": ([output.shortcut_share for output in split], KIND_COLOURS["residual"]),
            "branch": ([output.branch_share for output in split], OTHER_COLOURS[3]),
        }
        for way, (shares, colour) in ways.items():
            axes.plot(layers, shares, color=colour, linewidth=1.6, label=way)
        axes.set_ylabel("share of the\nblock's gradient")
        axes.legend(frameon=False, fontsize=FONT_SIZE, labelcolor=INK, ncols=2, loc="best")
    bottom = lower[-1] if lower else upper
    bottom.set_xlabel("layer (1 = stem)")
    bottom.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    return figure


def _setting(row: GradientRow) -> tuple[Any, ...]:
    """Everything about a net but its kind and depth."""
    return tuple(row.setting(key) for key in (*SHOWN, *SHOWN_IF_VARIED))


def _words(row: GradientRow, rows: Sequence[GradientRow]) -> str:
    norm = "no norm" if row.norm == "none" else f"{row.norm} norm"
    varied = [key for key in SHOWN_IF_VARIED if len({other.setting(key) for other in rows}) > 1]
    extra = [f"\n{key.replace('_', ' ')} {row.setting(key)}" for key in varied]
    init, activation = (without_folder(str(row.setting(key))) for key in ("init", "activation"))
    return f"{norm}, {init} init\n{activation}" + "".join(extra)


def _points(row: GradientRow) -> list[Point]:
    points = []
    for point in row.profile:
        middle, low, high = point.log10, point.log10_low, point.log10_high
        sizes = None if middle is None or low is None or high is None else (middle, low, high)
        points.append(Point(point.layer, sizes, point.underflows))
    return points


def _point(output: OutputRow, last: OutputRow) -> Point:
    """One output of one net: an exact zero underflowed, what is not finite (a diverged net) is left out."""
    size, whole = output.norm, last.norm
    log = math.log10(size / whole) if size and whole else None
    return Point(output.layer, None if log is None else (log, log, log), int(size == 0))


def _draw(axes: Axes, points: Sequence[Point], kind: str) -> None:
    colour = KIND_COLOURS[kind]
    known = [(point.layer, *point.sizes) for point in points if point.sizes is not None]
    if known:
        layers, middle, low, high = zip(*known, strict=True)
        marker = KIND_MARKERS[kind] if len(points) <= 12 else None
        axes.plot(layers, middle, color=colour, linewidth=1.6, marker=marker, markersize=3.5)
        axes.fill_between(layers, low, high, color=colour, alpha=0.2, linewidth=0)
    gone = [point.layer for point in points if point.underflows]
    # At the foot of the axis, wherever that comes to lie.
    axes.plot(gone, [0.02] * len(gone), "v", color=colour, markersize=4, transform=axes.get_xaxis_transform())


def _draw_prediction(axes: Axes, row: GradientRow) -> None:
    known = [(p.layer, p.predicted) for p in row.profile if p.predicted is not None]
    if known:
        axes.plot(*zip(*known, strict=True), color=INK, linewidth=1.0, linestyle=(0, (3, 2)))


def _decades(axes: Axes, points: Sequence[Point], predicted: Sequence[float | None] = ()) -> None:
    """Label an axis of logarithms with powers of ten, and leave room for the marks of underflow."""
    ends = [size for point in points if point.sizes is not None for size in point.sizes]
    ends += [value for value in predicted if value is not None]
    low, high = min([*ends, -MIN_DECADES]), max([*ends, MIN_DECADES])
    room = 0.12 * (high - low) if any(point.underflows for point in points) else 0.03 * (high - low)
    axes.set_ylim(low - room, high + 0.03 * (high - low))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_formatter(lambda y, _: power(10.0**y))


def _handles(rows: Sequence[GradientRow]) -> list[Line2D | Patch]:
    kinds = list(dict.fromkeys(row.kind for row in rows))
    num_seeds = max(len(row.seeds) for row in rows)
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=KIND_COLOURS[kind], marker=KIND_MARKERS[kind], markersize=3.5, label=kind)
        for kind in kinds
    ]
    if num_seeds > 1:
        handles.append(Patch(color=SOFT, alpha=0.25, linewidth=0, label=f"range of {num_seeds} seeds"))
    if any(point.predicted is not None for row in rows for point in row.profile):
        handles.append(Line2D([], [], color=INK, linewidth=1.0, linestyle=(0, (3, 2)), label="predicted"))
    if any(point.underflows for row in rows for point in row.profile):
        handles.append(Line2D([], [], color=SOFT, marker="v", markersize=4, linestyle="", label="underflow"))
    return handles


def heat_figure(rows: Sequence[ProfileRow], *, title: str) -> Figure:
    """Draw rows of profile.jsonl, one column a probed step; the colours span the sizes that are there."""
    layers = np.array([float(output.layer) for output in rows[0].outputs])
    decades = np.full((len(layers), len(rows)), np.nan)
    for column, row in enumerate(rows):
        for line, output in enumerate(row.outputs):
            point = _point(output, row.outputs[-1])
            if point.sizes is not None:
                decades[line, column] = point.sizes[0]
            elif point.underflows:
                decades[line, column] = -np.inf
    figure = heat_panel(layers, [row.step for row in rows], decades, span=decade_span([decades]))
    figure.set_size_inches(4.0, 3.4)
    figure.axes[0].set_title(title, loc="left", fontsize=FONT_SIZE, color=INK)
    gone = "\npale: underflow" if np.isneginf(decades).any() else ""
    figure.axes[1].set_title(
        f"size of dE/dx,\nlast block = 1{gone}", fontsize=FONT_SIZE - 1, color=SOFT, loc="right"
    )
    return figure
