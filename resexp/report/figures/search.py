"""The search's picture: validation loss against the value that was tried, a dot a seed, the choice marked."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from resexp.config.yaml_nodes import one_line
from resexp.records.manifest import ChoiceRow
from resexp.report.figures.lines import legend
from resexp.report.figures.style import SOFT, markers, panel

WORST_OVER_BEST = 3.0
"""A loss beyond so many times the lowest stands at the top, as those that diverged: the rest stays seen."""


def search_panel(choices: Sequence[ChoiceRow], colours: Mapping[str, str], key: str) -> Figure:
    """Draw one cell's search: an arm a line through the means, a ring around its choice.

    Crosses at the top stand for what diverged or is far above all else.
    """
    figure, axes = panel()
    values = list(dict.fromkeys(value for choice in choices for value in choice.losses))
    known = [x for choice in choices for own in choice.losses.values() for x in own if x is not None]
    ceiling = WORST_OVER_BEST * min(known, default=1.0)
    shown = [x for x in known if x <= ceiling]
    low, high = min(shown, default=0.0), max(shown, default=1.0)
    room = 0.08 * (high - low or 1.0)
    top = high + 2 * room
    shapes = markers([choice.arm for choice in choices])
    for index, choice in enumerate(choices):
        colour, shift = colours[choice.arm], 0.06 * (index - (len(choices) - 1) / 2)
        means: list[tuple[float, float]] = []
        for place, value in enumerate(values):
            seeds = [math.inf if x is None else x for x in choice.losses.get(value, [])]
            fit = [x for x in seeds if x <= ceiling]
            x = place + shift
            axes.plot([x] * len(fit), fit, shapes[choice.arm], color=colour, alpha=0.6, markersize=4.5)
            axes.plot([x] * (len(seeds) > len(fit)), [top] * (len(seeds) > len(fit)), "x", color=colour)
            if len(fit) == len(seeds) and fit:
                means.append((x, sum(fit) / len(fit)))
            if value == choice.value and len(fit) == len(seeds) and fit:
                axes.plot(*means[-1], "o", color=colour, markersize=11, markerfacecolor="none")
        if means:
            axes.plot(*zip(*means, strict=True), color=colour, linewidth=1.8, label=one_line(choice.arm))
    if any(
        len(own) > sum(x is not None and x <= ceiling for x in own)
        for c in choices
        for own in c.losses.values()
    ):
        axes.plot([], [], "x", color=SOFT, label="diverged, or far above")
    axes.plot([], [], "o", color=SOFT, markersize=9, markerfacecolor="none", label="chosen")
    axes.set_xticks(range(len(values)), [one_line(value, limit=12) for value in values])
    axes.set_ylim(low - room, top + room)
    axes.margins(x=0.1)
    axes.set_xlabel(one_line(key))
    axes.set_ylabel("validation loss (nats)")
    legend(figure, axes)
    return figure
