"""Pictures of the claims that look at whole nets: estimates with their intervals, traces, lesions."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator

from resexp.views.figures.style import FONT_SIZE, INK, KIND_COLOURS, LINE, OTHER_COLOURS, SOFT, dress, panel
from resexp.views.figures.training import legend
from resexp.views.figures.transport import power

Interval = tuple[float, float]
MARKERS = "os^Dvp"


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
            colour=arm_colour(arm, list(lines)), marker=MARKERS[index % 6], label=arm,
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


def lesions_figure(
    blocks: Sequence[str],
    ways: Mapping[str, Mapping[str, tuple[float, Mapping[str, Sequence[float]]]]],
    *,
    guessing: float,
) -> Figure:
    """Draw the test error, in percent, of nets without one block; a panel for each way of measuring it.

    ways: by name, then by kind: the error of the whole net, and one error a net for each block taken out. A
    block that is not there cannot be taken out.
    """
    figure = Figure(figsize=(5.2, 2.4 * len(ways) + 0.4), layout="constrained")
    panels = figure.subplots(len(ways), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, (way, kinds) in zip(panels, ways.items(), strict=True):
        dress(axes)
        axes.set_title(way, loc="left", fontsize=FONT_SIZE, color=INK, pad=3)
        for kind, (whole, without) in kinds.items():
            axes.axhline(whole, color=KIND_COLOURS[kind], linewidth=1.0, linestyle=(0, (4, 2)))
            _dots_a_block(axes, blocks, without, kind)
        axes.axhline(guessing, color=SOFT, linewidth=0.9, linestyle=(0, (1, 2)))
        for at, block in enumerate(blocks):
            if all(block not in without for _, without in kinds.values()):
                axes.axvspan(at - 0.4, at + 0.4, color=LINE, linewidth=0, alpha=0.5)
                axes.annotate(
                    "cannot be\nremoved", (at, 0.5), xycoords=axes.get_xaxis_transform(), ha="center",
                    va="center", rotation=90, fontsize=FONT_SIZE - 1, color=SOFT,
                )  # fmt: skip
        axes.set_ylim(0, 100)
        axes.set_ylabel("test error (%)")
        _block_ticks(axes, blocks)
    panels[-1].set_xlabel("block taken out", fontsize=FONT_SIZE, color=INK)
    legend(figure, panels[0])
    return figure


def responses_figure(blocks: Sequence[str], responses: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Draw the standard deviation of each block's response, a dot a net, by kind."""
    figure, axes = panel(width=5.2, height=2.7)
    for kind, of_kind in responses.items():
        _dots_a_block(axes, blocks, of_kind, kind)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("std of R(x)")
    axes.set_xlabel("block")
    _block_ticks(axes, blocks)
    legend(figure, axes)
    return figure


def _dots_a_block(axes: Axes, blocks: Sequence[str], dots: Mapping[str, Sequence[float]], kind: str) -> None:
    """A dot a net at each block that has any, and a dash at their mean; the kinds side by side."""
    shift = -0.14 if kind == "plain" else 0.14
    for block, values in dots.items():
        at = blocks.index(block) + shift
        axes.plot(
            [at] * len(values), values, MARKERS[list(KIND_COLOURS).index(kind)], color=KIND_COLOURS[kind],
            markersize=4.5, markeredgewidth=0, alpha=0.75, label=kind if block == next(iter(dots)) else None,
        )  # fmt: skip
        mean = sum(values) / len(values)
        axes.plot([at - 0.12, at + 0.12], [mean, mean], color=KIND_COLOURS[kind], linewidth=1.8)


def _block_ticks(axes: Axes, blocks: Sequence[str]) -> None:
    axes.set_xticks(range(len(blocks)), [block.removeprefix("stage") for block in blocks])
    axes.set_xlim(-0.6, len(blocks) - 0.4)
    axes.grid(False, axis="x")


def seeds_figure(
    values: Mapping[str, Sequence[float]], means: Mapping[str, tuple[float, Interval | None]], xlabel: str
) -> Figure:
    """Draw a row an arm: a dot a seed, and under them the mean (a tick) with its interval (a bar)."""
    figure, axes = panel(width=5.2, height=0.5 * len(values) + 0.8)
    for row, (arm, dots) in enumerate(values.items()):
        colour = KIND_COLOURS["plain" if arm.startswith("plain") else "residual"]
        mean, interval = means[arm]
        axes.plot(
            dots, [row - 0.14] * len(dots), "o", color=colour, markersize=4.5, markeredgewidth=0, alpha=0.7
        )
        if interval is not None:
            axes.plot(interval, [row + 0.14] * 2, color=colour, linewidth=2.4, solid_capstyle="butt")
        axes.plot([mean], [row + 0.14], "|", color=INK, markersize=9, markeredgewidth=1.5)
    axes.set_yticks(range(len(values)), list(values))
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.grid(False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlabel(xlabel)
    return figure


def cells_figure(
    cells: Mapping[str, tuple[tuple[float | None, Interval | None], tuple[float | None, Interval | None]]],
    *,
    chance: float,
) -> Figure:
    """Draw a row a net: what is left of the gradient (T, logarithmic) and, beside it, the loss in nats.

    cells: by name `activation: kind`, (mean, interval) of both. chance: the loss of guessing.
    """
    figure = Figure(figsize=(7.2, 0.27 * len(cells) + 1.0), layout="constrained")
    gradient, loss = figure.subplots(1, 2, sharey=True)
    for axes in (gradient, loss):
        dress(axes)
        axes.grid(False, axis="y")
    names = list(cells)
    for row, (name, (ratio, end)) in enumerate(cells.items()):
        colour = _kind_colour(name)
        for axes, (mean, interval) in ((gradient, ratio), (loss, end)):
            if interval is not None:
                axes.plot(interval, [row, row], color=colour, linewidth=2.2, alpha=0.6, solid_capstyle="butt")
            if mean is not None:
                axes.plot([mean], [row], "o", color=colour, markersize=5, markeredgewidth=0)
        if row and name.split(": ")[0] != names[row - 1].split(": ")[0]:
            for axes in (gradient, loss):
                axes.axhline(row - 0.5, color=LINE, linewidth=0.8)
    means = [ratio[0] for ratio, _ in cells.values() if ratio[0]]
    low, high = min(1e-5, *means) / 30, max(1e4, *means) * 30
    gradient.set_xscale("log")
    gradient.set_xlim(low, high)
    for zone in ((low, 1e-3), (1e3, high)):
        gradient.axvspan(*zone, color=LINE, linewidth=0, alpha=0.5)
    gradient.axvline(1, color=SOFT, linewidth=0.9, linestyle=(0, (1, 2)))
    gradient.xaxis.set_major_locator(LogLocator(numticks=5))
    gradient.xaxis.set_minor_locator(NullLocator())
    gradient.xaxis.set_major_formatter(lambda x, _: power(x))
    gradient.set_xlabel("T: gradient, first over last")
    loss.axvline(chance, color=SOFT, linewidth=0.9, linestyle=(0, (1, 2)))
    # A net that blew up stands at the edge as an arrow, or it would hide all differences between the others.
    edge = 1.3 * chance
    loss.set_xlim(max(0.0, loss.get_xlim()[0]), min(edge, loss.get_xlim()[1]))
    for row, (name, (_, (mean, _))) in enumerate(cells.items()):
        if mean is not None and mean > edge:
            loss.plot([edge], [row], ">", color=_kind_colour(name), markersize=6, clip_on=False)
    loss.set_xlabel("training loss (nats)")
    loss.xaxis.set_major_locator(MaxNLocator(5))
    gradient.set_yticks(range(len(names)), names)
    gradient.set_ylim(len(names) - 0.5, -0.5)
    return figure


def _kind_colour(name: str) -> str:
    """Return the colour of a cell `activation: kind`."""
    return KIND_COLOURS["plain" if name.split(": ")[1].startswith("plain") else "residual"]
