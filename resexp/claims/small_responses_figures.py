"""Figures of small responses: test error without one block, and how strongly each layer answers."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resexp.report.figures.lines import legend
from resexp.report.figures.style import FONT_SIZE, INK, KIND_COLOURS, LINE, SOFT, dress, panel

_MARKERS = "os^Dvp"


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


def responses_figure(layers: Sequence[str], responses: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Draw the standard deviation of each 3x3 layer's answer, a dot a net, by kind."""
    figure, axes = panel(width=5.2, height=2.7)
    for kind, of_kind in responses.items():
        _dots_a_block(axes, layers, of_kind, kind)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("std of a layer's answer")
    axes.set_xlabel("3x3 layer, from the image on")
    axes.set_xticks(range(len(layers)), [str(at) for at in range(1, len(layers) + 1)])
    axes.set_xlim(-0.6, len(layers) - 0.4)
    axes.grid(False, axis="x")
    legend(figure, axes)
    return figure


def _dots_a_block(axes: Axes, blocks: Sequence[str], dots: Mapping[str, Sequence[float]], kind: str) -> None:
    """A dot a net at each block that has any, and a dash at their mean; the kinds side by side."""
    shift = -0.14 if kind == "plain" else 0.14
    for block, values in dots.items():
        at = blocks.index(block) + shift
        axes.plot(
            [at] * len(values), values, _MARKERS[list(KIND_COLOURS).index(kind)], color=KIND_COLOURS[kind],
            markersize=4.5, markeredgewidth=0, alpha=0.75, label=kind if block == next(iter(dots)) else None,
        )  # fmt: skip
        mean = sum(values) / len(values)
        axes.plot([at - 0.12, at + 0.12], [mean, mean], color=KIND_COLOURS[kind], linewidth=1.8)


def _block_ticks(axes: Axes, blocks: Sequence[str]) -> None:
    axes.set_xticks(range(len(blocks)), [block.removeprefix("stage") for block in blocks])
    axes.set_xlim(-0.6, len(blocks) - 0.4)
    axes.grid(False, axis="x")
