"""Figures in a notebook: drawn by it as they stand in the pages."""

from collections.abc import Mapping
from functools import partial

from matplotlib.figure import Figure

from resexp.errors import UsageError
from resexp.report.figures.png import to_png
from resexp.report.figures.svg import first_frame_only


def shown(figure: Figure) -> Figure:
    """Return the figure, which notebooks then draw; of several frames, the first."""
    first_frame_only(figure)
    setattr(figure, "_repr_png_", partial(to_png, figure))  # noqa: B010 - asked for by name
    return figure


def picked(figures: Mapping[str, Figure], name: str | None, first: str = "gradient") -> Figure:
    """Return the first figure whose name begins so; without a name the gradient's, if there is one."""
    wanted = first if name is None else name
    for called, figure in figures.items():
        if called.startswith(wanted):
            return shown(figure)
    if name is None and figures:
        return shown(next(iter(figures.values())))
    raise UsageError(f"no figure is called {wanted}; there are: {', '.join(figures) or 'none'}")
