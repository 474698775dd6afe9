"""Figures of shattering: the gradient along x, and how far neighbours agree by depth."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from resexp.analysis.statistics import Interval
from resexp.report.figures.lines import legend
from resexp.report.figures.style import FONT_SIZE, INK, KIND_COLOURS, OTHER_COLOURS, SOFT, dress, panel

_MARKERS = "os^Dvp"


def arm_colour(arm: str, arms: Sequence[str]) -> str:
    """Return an arm's colour: its kind's own for `plain`, `residual` and both without norm."""
    kind = arm.removesuffix(", no norm")
    others = [name for name in arms if name.removesuffix(", no norm") not in KIND_COLOURS]
    return KIND_COLOURS.get(kind) or OTHER_COLOURS[others.index(arm) % len(OTHER_COLOURS)]


def traces_figure(x: Sequence[float], traces: Mapping[str, Sequence[float]]) -> Figure:
    """Draw each trace, in [-1, 1], in a strip of its own under the others."""
    figure = Figure(figsize=(5.2, 0.95 * len(traces) + 0.5), layout="constrained")
    strips = figure.subplots(len(traces), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (arm, trace) in zip(strips, traces.items(), strict=True):
        dress(axes)
        axes.plot(x, trace, color=arm_colour(arm, list(traces)), linewidth=0.9)
        axes.set_title(arm, loc="left", fontsize=FONT_SIZE, color=INK, pad=2)
        axes.set_ylim(-1.1, 1.1)
        axes.set_yticks([0], ["0"])
    strips[-1].set_xlabel("x", fontsize=FONT_SIZE, color=INK)
    return figure


def depth_figure(lines: Mapping[str, Sequence[tuple[int, float, Interval | None]]], ylabel: str) -> Figure:
    """Draw estimates (depth, mean, interval), a line an arm, slightly apart so that their bars show."""
    figure, axes = panel(width=5.2, height=4.0)
    depths = sorted({depth for line in lines.values() for depth, _, _ in line})
    for index, (arm, line) in enumerate(lines.items()):
        shift = 1.02 ** (index - (len(lines) - 1) / 2)
        estimates(
            axes, [depth * shift for depth, _, _ in line], [(mean, interval) for _, mean, interval in line],
            colour=arm_colour(arm, list(lines)), marker=_MARKERS[index % 6], label=arm,
            dashed=arm.endswith("no norm"),
        )  # fmt: skip
    means = [mean for line in lines.values() for _, mean, _ in line]
    # Intervals of few seeds may reach far beyond: they run off the panel, so that the means can be told.
    axes.set_ylim(min(0.0, *means) - 0.3, max(means) + 0.3)
    axes.axhline(0, color=SOFT, linewidth=0.9, linestyle=(0, (1, 2)))
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(depths))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda depth, _: f"{depth:g}")
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlabel("depth (weighted layers)")
    axes.set_ylabel(ylabel)
    legend(figure, axes)
    return figure


def estimates(
    axes: Axes,
    x: Sequence[float],
    values: Sequence[tuple[float, Interval | None]],
    *,
    colour: str,
    marker: str,
    label: str,
    dashed: bool = False,
) -> None:
    """Draw means joined by a line, with their intervals as bars; a mean without an interval has no bar."""
    style = (0, (4, 2)) if dashed else "-"
    axes.plot(
        x, [mean for mean, _ in values], color=colour, linewidth=1.3, linestyle=style, marker=marker,
        markersize=4.5, markeredgewidth=0, label=label,
    )  # fmt: skip
    for at, (_, interval) in zip(x, values, strict=True):
        if interval is not None:
            axes.plot([at, at], interval, color=colour, linewidth=1.0, alpha=0.7)
