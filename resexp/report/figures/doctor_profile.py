"""The doctor's picture: the gradient at every layer with weights, in the order in which they run."""

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from resexp.records.doctor import DoctorDocument, DoctorReading
from resexp.report.figures.style import FONT_SIZE, INK, RESIDUAL_COLOUR, SOFT, panel
from resexp.report.formatting import power

FEWEST_DECADES = 1.0


def doctor_figure(document: DoctorDocument) -> Figure:
    """Draw the size of dE/dx by layer, T's last end as 1; a triangle at the foot is an underflow."""
    figure, axes = panel(5.6, 3.4)
    known = [layer.arriving for one in document.readings for layer in one.layers if layer.arriving]
    low, high = _decades(known)
    floor = 10.0**low
    colours = [RESIDUAL_COLOUR] if document.after is None else [SOFT, RESIDUAL_COLOUR]
    names = ["at initialisation", f"after {document.after.steps:,} steps" if document.after else ""]
    for reading, colour, name in zip(document.readings, colours, names, strict=False):
        _draw(axes, reading, colour, name, floor)
    axes.axhline(1.0, color=SOFT, linewidth=0.9, linestyle=(0, (1, 2)))
    axes.set_xlim(0.5, len(document.layers) + 0.5)
    axes.set_yscale("log")
    axes.set_ylim(floor, 10.0**high)
    axes.yaxis.set_major_locator(LogLocator(numticks=7))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda y, _: power(y))
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.set_xlabel("layer with weights, in the order in which they run")
    axes.set_ylabel("size of dE/dx, last end = 1")
    words = ", then ".join(reading.word for reading in document.readings)
    title = f"{document.target}\n{words}; n = {document.seeds}"
    axes.set_title(title, loc="left", fontsize=FONT_SIZE, color=INK)
    if document.after is not None:
        axes.legend(frameon=False, fontsize=FONT_SIZE - 1)
    return figure


def _draw(axes: Axes, reading: DoctorReading, colour: str, name: str, floor: float) -> None:
    sizes = [layer.arriving for layer in reading.layers]
    drawn = [(x, size) for x, size in enumerate(sizes, 1) if size]
    gone = [x for x, size in enumerate(sizes, 1) if size == 0]
    axes.plot(
        *(zip(*drawn, strict=True) if drawn else ((), ())), "o-", color=colour, markersize=3.5, label=name
    )
    axes.plot(gone, [floor] * len(gone), "v", color=colour, markersize=5, clip_on=False)


def _decades(sizes: list[float]) -> tuple[float, float]:
    """Return the powers of ten between which all sizes and 1 lie, with room, at least a decade."""
    logs = [math.log10(size) for size in sizes] + [0.0]
    low, high = min(logs), max(logs)
    room = 0.15 + max(0.0, FEWEST_DECADES - (high - low)) / 2
    return low - room, high + room
