"""A result: what notebooks and scripts get. It shows itself as the program's own pages do."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any

from resexp.errors import UsageError
from resexp.report.comparison_page import ComparisonPage
from resexp.report.figures.notebook import Figure, picked

if TYPE_CHECKING:
    import pandas

FRAME_HEIGHT = 720
"""Pixels of a page in a notebook; it scrolls."""


class Paged:
    """A result whose page is made when it is first asked for."""

    @cached_property
    def _page(self) -> ComparisonPage:
        raise NotImplementedError

    def figures(self) -> dict[str, Figure]:
        """Return the page's figures by name: loss, error, gradient, gradient over training, responses."""
        return {picture.name: picture.drawn for picture in self._page.pictures}

    def figure(self, name: str | None = None) -> Figure:
        """Return the first figure whose name begins so; the gradient by default."""
        return picked(self.figures(), name)

    def _repr_html_(self) -> str:
        return framed(self._page.html)


def data_frame(rows: Sequence[Mapping[str, Any]]) -> "pandas.DataFrame":
    """Return the rows as a pandas table. Raises UsageError where pandas is not installed."""
    try:
        import pandas
    except ImportError as error:
        raise UsageError(
            "to_pandas needs pandas, which is not installed: pip install 'resexp[notebook]'"
        ) from error
    return pandas.DataFrame([dict(row) for row in rows])


def framed(page: str, height: int = FRAME_HEIGHT) -> str:
    """Return a whole page as HTML that stands inside another, its style and script kept apart."""
    style = f"width: 100%; height: {height}px; border: 0"
    return f'<iframe srcdoc="{escape(page)}" style="{style}"></iframe>'
