"""PNG and pixels: a figure for a file, or as an array for TensorBoard."""

from io import BytesIO

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from resexp.report.figures.style import as_written


def to_png(figure: Figure, dpi: int = 150) -> bytes:
    """Return the figure as a PNG on white, with nothing in it that changes from day to day."""
    buffer = BytesIO()
    figure.patch.set_visible(True)
    with as_written(figure):
        _on_white(figure, dpi).print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


def to_pixels(figure: Figure, dpi: int = 110) -> NDArray[np.uint8]:
    """Return the figure as uint8 [height, width, 3], on white."""
    canvas = _on_white(figure, dpi)
    with as_written(figure):
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _on_white(figure: Figure, dpi: int) -> FigureCanvasAgg:
    """Where it is drawn once; `savefig` draws a figure with a layout twice."""
    figure.set_dpi(dpi)
    figure.set_facecolor("white")
    return FigureCanvasAgg(figure)
