"""The doctor's picture: the gradient at every layer with weights, in the order in which they run."""

import math

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from resexp.records.doctor import DoctorDocument
from resexp.report.figures.style import FONT_SIZE, INK, RESIDUAL_COLOUR, SOFT, panel
from resexp.report.formatting import power


def doctor_figure(document: DoctorDocument) -> Figure:
    """Draw the size of dE/dx by layer, T's last end as 1; a triangle at the foot is an underflow."""
    figure, axes = panel(5.6, 3.2)
    sizes = [layer.arriving for layer in document.layers]
    known = [size for size in sizes if size]
    floor = 10.0 ** (math.floor(math.log10(min(known, default=0.1))) - 1)
    places = range(1, len(sizes) + 1)
    drawn = [(x, size) for x, size in zip(places, sizes, strict=True) if size]
    gone = [x for x, size in zip(places, sizes, strict=True) if size == 0]
    axes.plot(*(zip(*drawn, strict=True) if drawn else ((), ())), "o-", color=RESIDUAL_COLOUR, markersize=3.5)
    axes.plot(gone, [floor] * len(gone), "v", color=RESIDUAL_COLOUR, markersize=5)
    axes.axhline(1.0, color=SOFT, linewidth=0.9, linestyle=(0, (1, 2)))
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(numticks=7))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda y, _: power(y))
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.set_xlabel("layer with weights, in the order in which they run")
    axes.set_ylabel("size of dE/dx, last end = 1")
    seeds = "one seed" if document.seeds == 1 else f"geometric mean of {document.seeds} seeds"
    axes.set_title(f"{document.target}, {seeds}: {document.word}", loc="left", fontsize=FONT_SIZE, color=INK)
    return figure
