"""A picture of a page: the figure as HTML with its words, and as files of its own for a slide."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from resexp.records.files import disk_errors, write_atomic
from resexp.report.figures.hover import Hover
from resexp.report.figures.png import to_png
from resexp.report.figures.svg import first_frame_only, standalone, to_svg
from resexp.report.html import figure

PICTURES_FOLDER = "figures"
LONGEST_NAME = 80
"""Letters of a file's name, before its ending."""
SLIDE_DPI = 200


class PagePicture(NamedTuple):
    """name: what its files are called, in words. svg: as in the page. drawn: the same, to be drawn again."""

    name: str
    html: str
    svg: str
    drawn: Figure

    def write(self, folder: Path, name: str) -> None:
        """Write NAME.svg and NAME.png, on white, with their colours and fonts in them."""
        write_atomic(folder / f"{name}.svg", standalone(self.svg).encode())
        first_frame_only(self.drawn)
        write_atomic(folder / f"{name}.png", to_png(self.drawn, SLIDE_DPI))


def picture_of(
    drawn: Figure, name: str, *, description: str, title: str, note: str, hover: Hover | None = None
) -> PagePicture:
    """Return the picture of a figure. description: for those who cannot see it; title, note: below it."""
    svg = to_svg(drawn, description, hover)
    return PagePicture(name, figure(svg, title, note), svg, drawn)


def write_pictures(folder: Path, pictures: Sequence[PagePicture]) -> None:
    """Write each picture's files into figures/ beside the page."""
    with disk_errors(folder / PICTURES_FOLDER):
        (folder / PICTURES_FOLDER).mkdir(exist_ok=True)
    for name, picture in zip(_file_names(pictures), pictures, strict=True):
        picture.write(folder / PICTURES_FOLDER, name)


def _file_names(pictures: Sequence[PagePicture]) -> Iterator[str]:
    """Names that every file system takes, each once."""
    given: set[str] = set()
    for picture in pictures:
        slug = re.sub(r"[^a-z0-9]+", "-", picture.name.lower()).strip("-")[:LONGEST_NAME] or "figure"
        name = next(n for k in range(len(pictures) + 1) if (n := f"{slug}-{k}" if k else slug) not in given)
        given.add(name)
        yield name
