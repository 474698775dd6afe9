"""SVG: a figure inside a page; its text is the page's, its colours follow light and dark."""

import hashlib
import re
from io import BytesIO
from typing import Any

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from resexp.report.figures.gradient_curves import FRAME
from resexp.report.figures.style import (
    INK,
    LINE,
    OTHER_COLOURS,
    PLAIN_COLOUR,
    RESIDUAL_COLOUR,
    SOFT,
    as_written,
)
from resexp.report.html import escape

THEME = {
    INK: "currentColor",
    SOFT: "var(--soft)",
    LINE: "var(--line)",
    PLAIN_COLOUR: "var(--plain)",
    RESIDUAL_COLOUR: "var(--residual)",
    OTHER_COLOURS[0]: "var(--third)",
    OTHER_COLOURS[1]: "var(--fourth)",
}
"""Colours of a figure and what they become in a page, whose style sheet knows the reader's setting."""
# Text stays text, in the page's font; ids come from the content, so that equal records give equal pages.
SVG_SETTINGS: dict[Any, str] = {"svg.fonttype": "none", "svg.hashsalt": "resexp"}
NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def to_svg(figure: Figure, description: str) -> str:
    """Return an <svg> element with `description` (plain text) for those who cannot see it.

    Artists whose id is at-N get data-step="N" instead; only those of the first such N are shown at first.
    """
    buffer, canvas, dpi = BytesIO(), FigureCanvasSVG(figure), figure.dpi
    figure.patch.set_visible(False)
    for axes in figure.axes:
        axes.patch.set(facecolor="none", edgecolor="none")
    with matplotlib.rc_context(SVG_SETTINGS), as_written(figure):
        # As savefig does it, which draws everything once more for the layout alone.
        if (layout := figure.get_layout_engine()) is not None:
            layout.execute(figure)
            figure.set_layout_engine("none")
            figure.dpi = dpi  # asking the canvas for its measures has left 72 there
        canvas.print_svg(buffer, metadata=NO_METADATA)
    svg = buffer.getvalue().decode()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"\s+", " ", svg).replace("> <", "><").replace("xlink:href", "href")
    # Hundredths of a point are finer than any screen.
    svg = re.sub(r"(\.\d\d)\d+", r"\1", svg)
    svg = _with_steps(_with_own_ids(svg, "f" + hashlib.sha256((description + svg).encode()).hexdigest()[:8]))
    for colour, themed in THEME.items():
        svg = svg.replace(colour, themed)
    # matplotlib names its own fonts at each text; the page's is wanted, at the same size.
    svg = re.sub(r"font-family: [^;\"]*; ?", "", svg)
    view = re.search(r'viewBox="[^"]*"', svg)
    assert view is not None
    head = f'<svg {view[0]} role="img" aria-label="{escape(description)}">'
    return re.sub(r"<svg[^>]*>", lambda _: head, svg, count=1)


def _with_own_ids(svg: str, prefix: str) -> str:
    """Keep the ids that are referred to, and make them differ from those of the page's other figures."""
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', svg))
    svg = re.sub(r'((?:href="|url\()#)', rf"\g<1>{prefix}-", svg)

    def own(match: re.Match[str]) -> str:
        name = match[1]
        if name in used:
            return f' id="{prefix}-{name}"'
        return match[0] if name.startswith(FRAME) else ""

    return re.sub(r' id="([^"]*)"', own, svg)


def _with_steps(svg: str) -> str:
    first = re.search(rf' id="({FRAME}\d+)"', svg)

    def stepped(match: re.Match[str]) -> str:
        shown = first is not None and match[1] == first[1]
        step = match[1].removeprefix(FRAME)
        return f' data-step="{step}"' + ("" if shown else ' display="none"')

    return re.sub(rf' id="({FRAME}\d+)"', stepped, svg)
