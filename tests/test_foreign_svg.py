"""Drawings from a folder: ours pass unchanged, and nothing else comes into a page."""

import random
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from resexp.errors import RunFolderError
from resexp.report.figures.style import panel
from resexp.report.figures.svg import to_svg
from resexp.report.foreign_svg import checked, read_drawing


@cache
def ours() -> str:
    """A drawing with lines, bands, markers, an image and a legend, rich in what matplotlib writes."""
    figure, axes = panel()
    axes.plot([1, 2, 3], [1e-3, 1, 10], "o--", label="a < b & c", color="#d55e00")
    axes.fill_between([1, 2, 3], [1e-4, 0.1, 1], alpha=0.2, color="#0072b2")
    axes.set_yscale("log")
    axes.annotate("along", (2, 1), rotation=90)
    axes.legend()
    inset = axes.inset_axes((0.6, 0.1, 0.2, 0.2))
    inset.imshow(np.arange(12.0).reshape(3, 4), interpolation="none")
    return to_svg(figure, 'said "in words" & more')


def described(text: str) -> list[tuple[str, dict[str, str], str]]:
    root = ElementTree.fromstring(text)
    return [(element.tag, element.attrib, element.text or "") for element in root.iter()]


def test_our_drawings_pass_with_nothing_lost() -> None:
    assert described(checked(ours())) == described(ours())


class Reader(HTMLParser):
    """What a browser would find: elements, and the attributes that could do something."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.harm: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            address = name in ("href", "src", "xlink:href", "from", "to", "values", "style", "clip-path")
            safe = re.fullmatch(r"#[\w.-]+|data:image/png;base64,[\w+/=\s]*", value or "")
            elsewhere = address and not safe and re.search(r"url\((?!#)|:\s*//|script|data:|@", value or "")
            if name.startswith("on") or elsewhere:
                self.harm.append((name, value))


DRAWN = {"svg", "defs", "g", "path", "use", "text", "tspan", "clippath", "rect", "image"}
INSERTED = [
    "<script>alert(1)</script>", "<SCRIPT>x</SCRIPT>", "<style>@import 'http://x'</style>",
    "<foreignObject><body xmlns='http://www.w3.org/1999/xhtml'><img src='x'/></body></foreignObject>",
    "<image href='file:///etc/passwd' x='0'/>", "<image href='http://x/a.png'/>",
    "<image href='data:image/svg+xml;base64,PHN2Zz4='/>", "<a href='javascript:x'><text>x</text></a>",
    "<use href='http://x#a'/>", "<g onload='x()'/>", "<g style='background: url(http://x)'/>",
    "<g style='fill: url(http://x#a)'/>", "<g style='position: fixed; width: 100%'/>", "<animate to='x'/>",
    "<set attributeName='onload' to='x()'/>", "<!-- --><g/>", "<![CDATA[</svg><script>x</script>]]>",
    "<?xml-stylesheet href='x'?>", "<p>out of the drawing</p>", "<text><title><img src='x'/></title></text>",
    "<g id='squiggle'/>", "<svg onload='x()'/>", "<iframe src='x'/>", "<path d='M 0 0' class='x'/>",
    "<g clip-path='url(http://x)'/>", "<text>&nbsp;</text>", "<g xlink:href='x'/>", "<x:script xmlns:x='y'/>",
]  # fmt: skip


@pytest.mark.parametrize("inserted", INSERTED)
def test_what_is_not_ours_keeps_the_drawing_out(inserted: str, tmp_path: Path) -> None:
    text = ours()
    at = text.index("<g>") if "<g>" in text else text.index("<g")
    (tmp_path / "picture1.svg").write_text(text[:at] + inserted + text[at:])
    with pytest.raises(RunFolderError, match="not a drawing of ours"):
        read_drawing(tmp_path / "picture1.svg")


HARMLESS = [
    "<g/>",
    "<text>&lt;script&gt;</text>",
    "<path d='M 0 0' style='fill: #fff'/>",
    "<g display='none'/>",
]
ATTRIBUTES = [
    " onload='x()'", " x='1'", " href='javascript:x'", " style='fill: url(#a)'", " style='stroke: none'",
    " id='a'", " id='f01234567-a'", " transform='scale(2)'", " aria-label='&quot;&gt;&lt;script&gt;'",
]  # fmt: skip


def test_what_passes_after_any_change_does_no_harm() -> None:
    rng, text = random.Random(0), ours()
    passed = refused = 0
    for _ in range(300):
        changed = text
        for _ in range(rng.choice((1, 1, 2))):
            # Behind a tag, or within one.
            at = rng.choice(
                [found.end() for found in re.finditer(r"<[a-zA-Z]+[^<>/]*>|<[a-zA-Z]+(?= )", changed)]
            )
            new = rng.choice(INSERTED + 9 * HARMLESS) if changed[at - 1] == ">" else rng.choice(ATTRIBUTES)
            changed = changed[:at] + new + changed[at:]
        try:
            found = checked(changed)
        except (ValueError, ElementTree.ParseError):
            refused += 1
            continue
        passed += 1
        reader = Reader()
        reader.feed(found)
        assert reader.tags <= DRAWN
        assert reader.harm == []
    assert passed > 20
    assert refused > 100


def test_a_drawing_that_would_grow_or_never_end_is_refused(tmp_path: Path) -> None:
    laughs = "<path id='f00000000-a' d='M 0 0'/>" + "".join(
        f"<g id='f00000000-{i}'>" + f"<use href='#f00000000-{i - 1 or 'a'}'/>" * 10 + "</g>"
        for i in range(1, 10)
    )
    entities = "<!DOCTYPE svg [<!ENTITY a 'aaaa'>]><svg><text>&a;</text></svg>"
    for text in (
        f"<svg>{laughs}</svg>", entities, "<svg>" + "<g>" * 100_000, "<svg>" + "<g/>" * 30_000 + "</svg>", "",
        "<svg>" + "<g>" * 5_000 + "</g>" * 5_000 + "</svg>",
    ):  # fmt: skip
        (tmp_path / "picture1.svg").write_text(text)
        with pytest.raises(RunFolderError):
            read_drawing(tmp_path / "picture1.svg")
    (tmp_path / "picture1.svg").write_bytes("<svg/>".encode("utf-16"))
    with pytest.raises(RunFolderError, match="UTF-8"):
        read_drawing(tmp_path / "picture1.svg")
