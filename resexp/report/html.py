"""HTML of one page that needs nothing else: no network, no fonts, no framework. Text is escaped.

What stands in the page is in templates/; here is what each part takes. The frame is one column of prose;
what is wide (galleries, tables) may leave it. It follows the reader's light or dark setting, folds for a
phone, and prints.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from resexp.config.yaml_nodes import without_commands

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
"""What the browser may load: nothing that is not in the page."""


class TableCell(NamedTuple):
    """A cell of a table: its text, and what stands below it, set in a class of the style sheet."""

    text: str
    below: str = ""
    kind: str = ""


def plus(text: str) -> Markup:
    """Return a title in which "+ x" has the residual net's colour."""
    return escape(text).replace("+ x", Markup('<span class="plus">+ x</span>'))


@cache
def templates() -> Environment:
    """Return the templates; text is escaped unless it is Markup."""
    found = Environment(
        loader=PackageLoader("resexp.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.filters["plus"] = plus
    return found


@cache
def _parts() -> Any:
    return templates().get_template("parts.html").module


def source_of(name: str) -> Markup:
    """Return a file of templates/ as it is: a style sheet or a script."""
    loader = templates().loader
    assert loader is not None
    return Markup(loader.get_source(templates(), name)[0])


def page(title: str, parts: Iterable[str], *, script: str = "") -> str:
    """Return a whole page. parts: HTML, each a header, section or footer. script: JavaScript, run last.

    Control characters, which HTML has no place for, are spelled out.
    """
    made = (
        templates()
        .get_template("page.html")
        .render(
            title=title,
            body=Markup("\n").join(map(Markup, parts)),
            script=Markup(script),
            policy=Markup(POLICY),
        )
    )
    return without_commands(made, lines=True)


def header(kicker: str, title: str, lead: str) -> Markup:
    """Return the top of the page, from plain text."""
    return _parts().header(kicker, title, lead)


def first(screen: object) -> Markup:
    """Return the first screen of a comparison, from a FirstScreen."""
    return Markup(templates().get_template("first_screen.html").render(screen=screen))


def section(heading: str, *parts: str, place: str = "") -> Markup:
    """Return a section with a heading (plain text) over parts (HTML). place: what links call it."""
    return _parts().section(heading, [Markup(part) for part in parts if part], place)


def footer(text: str) -> Markup:
    """Return the foot of the page, from plain text."""
    return _parts().footer(text)


def paragraph(text: str, *, kind: str = "") -> Markup:
    """Return a paragraph of plain text. kind: a class of the style sheet, e.g. note."""
    return _parts().paragraph(text, kind)


def subheading(text: str) -> Markup:
    return _parts().subheading(text)


def finding(sentence: str, *details: str) -> Markup:
    """Return a sentence that is an answer; its exact words and numbers, a line each, are folded below it."""
    return _parts().finding(sentence, [detail for detail in details if detail])


def figure(picture: str, title: str, caption: str = "") -> Markup:
    """Return a figure. picture: HTML (an inline SVG that carries its own text alternative)."""
    return _parts().figure(Markup(picture), title, caption)


def gallery(figures: Iterable[str]) -> Markup:
    """Return figures side by side where there is room, below each other where there is none."""
    return _parts().gallery(list(map(Markup, figures)))


def slider(steps: Sequence[int], label: str) -> Markup:
    """Return a slider over steps, for a script; without one it is not shown."""
    return _parts().slider(steps, label)


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    caption: str = "",
    numbers: Sequence[str] = (),
    wide: bool = False,
    hints: Mapping[str, str] | None = None,
) -> Markup:
    """Return a table whose first column heads the rows; on a phone each row becomes a small list.

    numbers: the columns that are set to the right. hints: what a column's heading says under the pointer.
    """
    lines = [(first, [_number_first(str(value)) for value in others]) for first, *others in rows]
    return _parts().table(columns, lines, caption, numbers, wide, hints or {})


def _number_first(text: str) -> TableCell:
    """Part a cell's text: the interval or the words behind a number go below it."""
    if interval := re.fullmatch(r"(.*) (\[[^\]]*\])", text):
        return TableCell(interval[1], interval[2])
    if words := re.fullmatch(r"(\S*\d\S*) ([a-z][a-z ]*)", text):
        return TableCell(words[1], words[2], "words")
    return TableCell(text)


def definitions(pairs: Iterable[tuple[str, object]]) -> Markup:
    """Return a list of terms and what each is, from plain text."""
    return _parts().definitions(list(pairs))


def code(text: str) -> Markup:
    """Return text as it would be typed."""
    return _parts().code(text)
