"""Learning curves: loss and error over the steps, and both against depth. All arms in one panel."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from resexp.config.yaml_nodes import one_line
from resexp.report.figures.lines import DASHES, Line, draw_line, legend
from resexp.report.figures.style import FONT_SIZE, SOFT, panel

FEWEST_FOR_A_COURSE = 3
"""Evaluations."""


def loss_panel(
    training: Sequence[Line], test: Sequence[Line], colours: Mapping[str, str], *, guess_loss: float
) -> Figure:
    """Draw the training loss (solid) and the test loss (dashed, dots where it was measured) over the steps.

    guess_loss: the loss of guessing, ln K, drawn as a dotted line.
    """
    figure, axes = panel()
    _draw_all(axes, training, test, colours)
    _dotted(axes, guess_loss, "guessing")
    _finish(figure, axes, "step", "loss (nats)")
    return figure


def error_panel(
    training: Sequence[Line], test: Sequence[Line], colours: Mapping[str, str], *, guess_error: float
) -> Figure:
    """Draw the training error (solid) and the test error (dashed) over the steps, in percent.

    With fewer than three evaluations the last one is drawn as bars: two points make no course.
    """
    if max((len(line.x) for line in (*training, *test)), default=0) < FEWEST_FOR_A_COURSE:
        return _error_bars(training, test, colours, guess_error)
    figure, axes = panel()
    _draw_all(axes, training, test, colours)
    _dotted(axes, guess_error, "guessing")
    _finish(figure, axes, "step", "error (%)")
    return figure


def number_panel(lines: Sequence[Line], colours: Mapping[str, str], ylabel: str) -> Figure:
    """Draw a number that a probe measured over the steps."""
    figure, axes = panel()
    for line in lines:
        draw_line(axes, line, colours[line.arm], marker=_marker(line.arm, colours))
    _finish(figure, axes, "step", ylabel)
    return figure


def depth_panel(
    lines: Sequence[Line],
    seeds: Mapping[str, Sequence[tuple[float, float]]],
    stuck: Mapping[str, Sequence[tuple[float, float]]],
    colours: Mapping[str, str],
    ylabel: str,
) -> Figure:
    """Draw a final number against depth: a line through the means, and a dot (depth, y) a seed.

    stuck: seeds still at guessing, hollow.
    """
    figure, axes = panel()
    for line in lines:
        colour = colours[line.arm]
        axes.plot(line.x, line.middle, color=colour, linewidth=1.8, label=line.label)
        x, y = zip(*seeds[line.arm], strict=True) if seeds.get(line.arm) else ((), ())
        axes.plot(x, y, _marker(line.arm, colours), color=colour, markersize=5, markeredgewidth=0, alpha=0.7)
    for arm, dots in stuck.items():
        x, y = zip(*dots, strict=True)
        hollow = {"color": colours[arm], "markerfacecolor": "none", "markersize": 5, "markeredgewidth": 1.2}
        axes.plot(x, y, _marker(arm, colours), label=f"{arm}, still at guessing", **hollow)
    depths = {depth for dots in (*seeds.values(), *stuck.values()) for depth, _ in dots}
    axes.set_xticks(sorted(depths))
    axes.margins(x=0.08)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    _finish(figure, axes, "depth (weighted layers)", ylabel)
    return figure


def _error_bars(
    training: Sequence[Line], test: Sequence[Line], colours: Mapping[str, str], guess_error: float
) -> Figure:
    """A pair of bars a line at the last evaluation, training filled, test hollow; strokes span the seeds."""
    figure, axes = panel()
    pairs = [(line, test[index] if index < len(test) else None) for index, line in enumerate(training)]
    for index, pair in enumerate(pairs):
        for line, x, filled in ((pair[0], index - 0.2, True), (pair[1], index + 0.2, False)):
            if line is None:
                continue
            colour, y = colours[line.arm], float(line.middle[-1])
            style = {"facecolor": colour if filled else "none", "edgecolor": colour, "linewidth": 1.4}
            axes.bar(x, y, 0.36, label="_hidden", **style)
            if line.n > 1:
                axes.plot([x, x], [line.low[-1], line.high[-1]], color=SOFT, linewidth=1)
            axes.annotate(
                f"{y:.0f}", (x, max(y, line.high[-1])), xytext=(0, 2), textcoords="offset points",
                ha="center", fontsize=FONT_SIZE - 1, color=SOFT,
            )  # fmt: skip
    for label, filling in (("training", SOFT), ("test", "none")):
        axes.bar([0], [0], facecolor=filling, edgecolor=SOFT, linewidth=1.4, label=label)
    axes.set_xticks(range(len(pairs)), [one_line(line.label) for line, _ in pairs])
    axes.grid(False, axis="x")
    axes.margins(y=0.12)
    axes.set_ylim(0, max(axes.get_ylim()[1], 1.1 * guess_error))
    _dotted(axes, guess_error, "guessing")
    axes.set_ylabel("error (%)")
    axes.yaxis.set_major_locator(MaxNLocator(6))
    legend(figure, axes)
    return figure


def _draw_all(axes: Axes, training: Sequence[Line], test: Sequence[Line], colours: Mapping[str, str]) -> None:
    for line in training:
        alone = _marker(line.arm, colours) if len(line.x) == 1 else None
        draw_line(axes, line, colours[line.arm], marker=alone)
    for line in test:
        draw_line(axes, line, colours[line.arm], dashed=True, marker=_marker(line.arm, colours))
    for label, style, marker in (("training", "-", None), ("test", DASHES, "o")):
        look = {"linewidth": 1.2, "linestyle": style, "marker": marker, "markersize": 4.0}
        axes.plot([], [], color=SOFT, label=label, **look)


def _marker(arm: str, colours: Mapping[str, str]) -> str:
    """One marker an arm, so that no line is told by its colour alone."""
    return "os^Dvp"[list(colours).index(arm) % 6]


def _dotted(axes: Axes, y: float, text: str) -> None:
    axes.axhline(y, color=SOFT, linewidth=0.9, linestyle=(0, (1, 2)))
    axes.annotate(
        text, (1, y), xycoords=axes.get_yaxis_transform(), xytext=(0, 2), textcoords="offset points",
        ha="right", va="bottom", fontsize=FONT_SIZE - 1, color=SOFT,
    )  # fmt: skip


def _finish(figure: Figure, axes: Axes, xlabel: str, ylabel: str) -> None:
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    if xlabel == "step":
        _, right = axes.get_xlim()
        axes.set_xlim(-0.04 * right, right)  # from the beginning, where only the end was evaluated, too
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
    axes.yaxis.set_major_locator(MaxNLocator(6))
    legend(figure, axes)
