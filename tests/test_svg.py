"""SVG in a page: shorter than matplotlib's, and every word and number in it as it was written."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from PIL import Image

from resexp.report.comparison_page import write_report
from resexp.report.figures import svg
from resexp.report.figures.page_picture import picture_of, write_pictures
from resexp.report.figures.style import INK

TEXT = "{http://www.w3.org/2000/svg}text"
DIGITS = re.compile(r"\.\d{3,}")
HOSTILE = ["2.29876", f"{INK} is ink", 'an id="axes_1" here', "font-family: mine; bold", "url(#me) <!-- -->"]


class Texts(HTMLParser):
    """The texts of all <text> elements of a page, as a browser reads them."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.found = False, list[str]()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag == "text":
            self.inside = True
            self.found.append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag != "text"

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.found[-1] += data


def shown(page: str) -> list[str]:
    texts = Texts()
    texts.feed(page)
    return [" ".join(text.split()) for text in texts.found]


@contextmanager
def texts_drawn() -> Iterator[list[str]]:
    """The texts of every figure that matplotlib draws meanwhile, by an XML parser."""
    found, draw = list[str](), FigureCanvasSVG.print_svg

    def print_svg(self: FigureCanvasSVG, file: Any, **options: Any) -> None:
        draw(self, file, **options)
        root = ElementTree.fromstring(file.getvalue())
        found.extend(" ".join("".join(text.itertext()).split()) for text in root.iter(TEXT))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FigureCanvasSVG, "print_svg", print_svg)
        yield found


@pytest.fixture
def drawn() -> Iterator[list[str]]:
    with texts_drawn() as found:
        yield found


@pytest.fixture(scope="module")
def reported(comparison: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A comparison with its page, and the texts of its figures."""
    folder = shutil.copytree(comparison, tmp_path_factory.mktemp("svg") / "comparison")
    with texts_drawn() as found:
        write_report(folder)
    return folder, found


def test_every_text_of_every_figure_of_a_report_is_as_it_was_drawn(reported: tuple[Path, list[str]]) -> None:
    folder, drawn = reported
    assert len(drawn) > 50
    _, below = (folder / "report.html").read_text().split("</header>")  # the first screen is a template's
    assert sorted(shown(below)) == sorted(drawn)


def test_numbers_and_markup_in_a_text_stay_while_attributes_lose_their_needless_digits(
    drawn: list[str],
) -> None:
    figure = Figure()
    axes = figure.subplots()
    axes.plot([0.12345, 0.98765], [2.2881, 2.2999])
    axes.set_yticks([2.2881, 2.2935, 2.2999], ["2.2881", "2.2935", "2.2999"])
    for k, text in enumerate(HOSTILE):
        axes.text(0.5, 2.29 + k / 1000, text, parse_math=False)
    made = svg.to_svg(figure, 'a "description" of 1.23456')
    assert shown(made) == drawn
    assert {*HOSTILE, "2.2881", "2.2935", "2.2999"} <= set(drawn)
    root = ElementTree.fromstring(made)
    assert root.attrib.pop("aria-label") == 'a "description" of 1.23456'
    assert not [value for each in root.iter() for value in each.attrib.values() if DIGITS.search(value)]
    assert not [value for each in root.iter() for value in each.attrib.values() if INK in value]
    assert "font-family" not in "".join(value for each in root.iter() for value in each.attrib.values())


def test_what_an_attribute_refers_to_is_there_and_two_figures_share_no_id() -> None:
    made = []
    for name in ("one", "two"):
        figure = Figure()
        figure.subplots().plot([0, 1], [0, 1], marker="o")
        made.append(ElementTree.fromstring(svg.to_svg(figure, name)))
    ids = [{each.attrib["id"] for each in root.iter() if "id" in each.attrib} for root in made]
    for root, own in zip(made, ids, strict=True):
        values = " ".join(f"{key}={value}" for each in root.iter() for key, value in each.attrib.items())
        used = set(re.findall(r"(?:href=|url\()#([^ )]+)", values))
        assert used == own
        assert used
    assert not ids[0] & ids[1]


def test_the_files_of_a_report_are_its_pictures(reported: tuple[Path, list[str]]) -> None:
    """Beside the page, as SVG and PNG: the same words, nothing hidden, nothing that a page would know."""
    folder, drawn = reported
    page = (folder / "report.html").read_text().split("</header>")[1]
    vectors, pixels = (sorted((folder / "figures").glob(f"*.{kind}")) for kind in ("svg", "png"))
    assert len(vectors) == page.count("<figure>") == len(pixels) > 10
    assert [path.stem for path in vectors] == [path.stem for path in pixels]
    for vector, pixel in zip(vectors, pixels, strict=True):
        text = vector.read_text()
        root = ElementTree.fromstring(text)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert not re.search(r"var\(|currentColor|data-hover|display=.none", text)
        assert {" ".join("".join(each.itertext()).split()) for each in root.iter(TEXT)} <= set(drawn)
        width, height = (float(root.attrib[side]) for side in ("width", "height"))
        with Image.open(pixel) as image:
            assert image.width / image.height == pytest.approx(width / height, rel=0.02)
            assert image.width > 700
            assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_two_pictures_of_one_name_have_files_of_their_own(tmp_path: Path) -> None:
    pictures = []
    for k in range(2):
        figure = Figure()
        figure.subplots().plot([0, k])
        pictures.append(picture_of(figure, "Gradient / layer", description="", title="", note=""))
    write_pictures(tmp_path, pictures)
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert names == {f"gradient-layer{end}.{kind}" for end in ("", "-1") for kind in ("svg", "png")}
