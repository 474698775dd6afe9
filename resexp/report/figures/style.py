"""Figure style: colours that colour-blind readers can tell apart, fonts, light axes.

Figures are made with matplotlib's objects alone, without pyplot: nothing global, nothing to close.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text

from resexp.config.yaml_nodes import one_line

Drawn = TypeVar("Drawn")

PLAIN_COLOUR = "#d55e00"
RESIDUAL_COLOUR = "#0072b2"
KIND_COLOURS: dict[str, str] = {"plain": PLAIN_COLOUR, "residual": RESIDUAL_COLOUR}
OTHER_COLOURS = ("#009e73", "#cc79a7", "#56b4e9", "#e69f00")
"""For the third arm and on; all from Okabe and Ito's palette."""
INK = "#1d1c1a"
SOFT = "#5f5b53"
LINE = "#ddd8cc"
PANEL_WIDTH = 3.8
"""Inches: one panel fits a phone at the size of the text around it; pages put panels side by side."""
FONT_SIZE = 9.0


def panel(width: float = PANEL_WIDTH, height: float = 2.9) -> tuple[Figure, Axes]:
    """Return an empty figure of one panel, in inches, with light axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    dress(axes)
    return figure, axes


def dress(axes: Axes) -> None:
    """Give axes the common look: two spines, a faint grid, small text."""
    axes.set_facecolor("none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(SOFT)
    axes.grid(True, color=LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=SOFT, labelsize=FONT_SIZE, width=0.6, length=3)
    for label in (axes.xaxis.label, axes.yaxis.label, axes.title):
        label.set_color(INK)
        label.set_fontsize(FONT_SIZE)


def arm_colours(kinds: Mapping[str, str]) -> dict[str, str]:
    """Return one colour an arm, from its kind. The first of a kind gets that kind's colour."""
    colours: dict[str, str] = {}
    others = list(OTHER_COLOURS)
    for arm, kind in kinds.items():
        colour = KIND_COLOURS.get(kind)
        if colour is None or colour in colours.values():
            colour = others.pop(0) if others else SOFT
        colours[arm] = colour
    return colours


def markers(arms: Sequence[str]) -> dict[str, str]:
    """Return one marker an arm, so that no line is told by its colour alone."""
    return {arm: "os^Dvp"[index % 6] for index, arm in enumerate(arms)}


def colour_of(name: str, names: Sequence[str]) -> str:
    """Return the colour of one of `names`: plain and residual have their own, the others follow in order."""
    others = [other for other in names if other not in KIND_COLOURS]
    return KIND_COLOURS.get(name) or OTHER_COLOURS[others.index(name) % len(OTHER_COLOURS)]


@contextmanager
def as_written(figure: Figure) -> Iterator[None]:
    """Draw in here what names say, letter for letter: a $ begins no formula, and nothing commands anything.

    The numbers of an axis are matplotlib's own, formulas among them, and stay. A letter that no font has
    becomes a box, without a warning.
    """
    for text in _texts(figure):
        text.set_parse_math(False)
        text.set_text("\n".join(one_line(line, limit=1000) for line in text.get_text().split("\n")))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def _texts(artist: Artist) -> Iterator[Text]:
    for child in artist.get_children():
        if isinstance(child, Axis):
            yield child.label
        else:
            yield from [child] if isinstance(child, Text) else _texts(child)


def attempt_drawing(draw: Callable[[], Drawn], what: str, say: Callable[[str], None]) -> Drawn | None:
    """Return what `draw` returns, or None where it cannot: that costs a line and the picture, never a run."""
    try:
        return draw()
    except Exception as error:
        why = str(error).partition("\n")[0]
        say(
            one_line(f"{what} could not be drawn, all else goes on: {type(error).__name__}: {why}", limit=500)
        )
        return None
