"""SVG: a figure inside a page; its text is the page's, its colours follow light and dark."""

import hashlib
import json
import re
from collections.abc import Iterator
from io import BytesIO
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import matplotlib
from matplotlib.artist import Artist
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from resexp.config.yaml_nodes import without_commands
from resexp.report.figures.gradient_curves import FRAME
from resexp.report.figures.hover import Hover
from resexp.report.figures.style import (
    INK,
    LINE,
    OTHER_COLOURS,
    PLAIN_COLOUR,
    RESIDUAL_COLOUR,
    SOFT,
    as_written,
)

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
NAMESPACES = {"xmlns": "http://www.w3.org/2000/svg", "xmlns:xlink": "http://www.w3.org/1999/xlink"}
FONTS = "Helvetica, Arial, 'Liberation Sans', sans-serif"
NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
NOT_SHOWN = ("metadata", "style")
VERBATIM = ("id", "href")
"""Attributes that are no numbers: names, and pictures in base 64."""


def to_svg(figure: Figure, description: str, hover: Hover | None = None) -> str:
    """Return an <svg> element with `description` (plain text) for those who cannot see it.

    hover: the numbers that a page's script shows at the pointer.

    Artists whose id is at-N get data-step="N" instead; only those of the first such N are shown at first.
    What is written in the figure stays as it was written: attributes alone are changed.
    """
    root = ElementTree.fromstring(_drawn(figure))
    _tidy(root)
    description = without_commands(description)
    content = description + ElementTree.tostring(root, encoding="unicode")
    _own_ids(root, "f" + hashlib.sha256(content.encode()).hexdigest()[:8])
    for element in root.iter():
        element.attrib = {name: _themed(value) for name, value in element.attrib.items()}
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": description}
    if hover is not None:
        root.attrib["data-hover"] = json.dumps(
            hover.placed(figure), ensure_ascii=False, separators=(",", ":")
        )
    return ElementTree.tostring(root, encoding="unicode")


def standalone(svg: str) -> str:
    """Return the element as a document of its own: light colours, a common font, its first frame alone."""
    root = ElementTree.fromstring(svg)
    for element in root.iter():
        for colour, themed in THEME.items():
            element.attrib = {name: value.replace(themed, colour) for name, value in element.attrib.items()}
        if target := element.attrib.pop("href", None):
            element.attrib["xlink:href"] = target  # which older programs know
        for child in [child for child in element if child.get("display") == "none"]:
            element.remove(child)
    root.attrib.pop("data-hover", None)
    width, height = root.attrib["viewBox"].split()[2:]
    root.attrib |= {**NAMESPACES, "font-family": FONTS, "width": width, "height": height}
    root.insert(0, Element("rect", width="100%", height="100%", fill="white"))
    return ElementTree.tostring(root, encoding="unicode")


def first_frame_only(figure: Figure) -> None:
    """Hide what belongs to a later frame than the first."""
    frames = [artist for artist in figure.findobj() if (artist.get_gid() or "").startswith(FRAME)]
    first = min((_step(artist) for artist in frames), default=0)
    for artist in frames:
        artist.set_visible(_step(artist) == first)


def _step(artist: Artist) -> int:
    return int((artist.get_gid() or "").removeprefix(FRAME))


def _drawn(figure: Figure) -> bytes:
    """The document as matplotlib writes it."""
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
    return buffer.getvalue()


def _tidy(element: Element) -> None:
    """Leave out what a page has no use for: namespaces, metadata, styles, line breaks, needless digits."""
    element.tag = _plain(element.tag)
    element.attrib = {_plain(name): _short(_plain(name), value) for name, value in element.attrib.items()}
    for child in list(element):
        _tidy(child)
        if child.tag in NOT_SHOWN:
            element.remove(child)
        child.tail = _unless_layout(child.tail)
    element.text = _unless_layout(element.text)


def _plain(name: str) -> str:
    """A name without its namespace: in HTML the parser knows them."""
    return name.rpartition("}")[2]


def _short(name: str, value: str) -> str:
    """Hundredths of a point are finer than any screen; fonts are the page's, at the size matplotlib names."""
    if name in VERBATIM:
        return value
    return re.sub(r"font-family: [^;]*(; ?|$)", "", re.sub(r"(\.\d\d)\d+", r"\1", " ".join(value.split())))


def _unless_layout(text: str | None) -> str | None:
    return None if text and "\n" in text and text.isspace() else text


def _own_ids(root: Element, prefix: str) -> None:
    """Keep the ids that are referred to, and make them differ from those of the page's other figures."""
    used = {name for element in root.iter() for name in _references(element)}
    first = next((name for element in root.iter() if (name := element.get("id", "")).startswith(FRAME)), None)
    for element in root.iter():
        element.attrib = dict(_renamed(element, used, first, prefix))


def _references(element: Element) -> Iterator[str]:
    for name, value in element.attrib.items():
        if name == "href" and value.startswith("#"):
            yield value[1:]
        yield from re.findall(r"url\(#([^)]+)\)", value)


def _renamed(element: Element, used: set[str], first: str | None, prefix: str) -> Iterator[tuple[str, str]]:
    """An element's attributes: ids that are steps become data, others are kept where they are referred to."""
    for name, value in element.attrib.items():
        if name != "id":
            target = f"#{prefix}-{value[1:]}" if name == "href" and value.startswith("#") else value
            yield name, target.replace("url(#", f"url(#{prefix}-")
        elif value in used:
            yield name, f"{prefix}-{value}"
        elif value.startswith(FRAME):
            yield "data-step", value.removeprefix(FRAME)
            if value != first:
                yield "display", "none"


def _themed(value: str) -> str:
    for colour, themed in THEME.items():
        value = value.replace(colour, themed)
    return value
