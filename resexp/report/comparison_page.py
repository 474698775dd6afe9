"""The comparison's page, report.html, and its tables: built from the record alone, as often as one likes."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from resexp._version import __version__
from resexp.errors import RunFolderError
from resexp.records.documents import VerdictRow
from resexp.records.files import write_atomic
from resexp.records.manifest import BestOfRow, FolderManifest
from resexp.records.run import read_json
from resexp.report import html
from resexp.report.comparison_data import Cell, Entry, best_of, cells, read_comparison
from resexp.report.depth_panels import depth_figures
from resexp.report.figures.page_picture import PagePicture, write_pictures
from resexp.report.figures.style import arm_colours
from resexp.report.findings import findings
from resexp.report.first_screen import first_screen
from resexp.report.formatting import enumerated, first_upper
from resexp.report.panels import CellPictures, Colours, cell_pictures
from resexp.report.provenance import differed, how_it_was_run, lead
from resexp.report.search import search_lines, search_pictures
from resexp.report.table_files import to_csv, to_latex, to_markdown
from resexp.report.tables import FinalTable, final_table

MAX_SIZE = 1_200_000
"""Characters that pictures may take, so that the page stays under 2 MB; the cells beyond are named."""
RATIO_TEXT = (
    "T is the size of the gradient dE/dx at layer 1 in units of that at the last block: at 0.001 a "
    "thousandth of it arrives, at 1 it has the size that it began with, above 1 it grew on its way."
)
GLOSSARY = {
    "arm": "One of the kinds of net that are compared, with all its seeds.",
    "seed": "The number that all chance of a run comes from: initial weights, batches, augmentation. Runs of "
    "the same seed in two arms begin with the same weights and see the same images.",
    "layer": "A convolution or the last, fully connected one, counted from the input. Layer 1 is the stem, "
    "the convolution before the first block.",
    "block": "A few layers in a row. A plain block computes F(x), a residual one R(x) + x: the same layers. "
    "With highway gates T it is R(x) T(x) + x (1 - T(x)).",
    "gradient reaching layer 1 (T)": "The size of dE/dx, by how much the error changes with what a layer "
    "gives out, at layer 1 over that at the last block.",
    "factor a layer": "By how much the gradient's size changes from one layer to the one before, on average.",
    "vanishing, exploding, healthy": "What T is called: by its 95% interval over the seeds, below 0.001 or "
    "above 1,000 (0.1 and 10 where the factor a layer is clear), or within. One seed shows no spread: it "
    "gets a word only below 0.0001 or above 10,000.",
    "probe": "A measurement of the gradient at every layer, between two steps, that changes nothing.",
    "guessing": "What a net does that gives every image the shares of the classes. It is still at guessing "
    "while no recorded loss lies 0.05 below that of guessing.",
    "final loss": "The mean training loss over the last tenth of the steps, in nats.",
    "response": "What a block computes before the shortcut joins it, R(x).",
    "underflow": "An exact zero: too small for a computer's numbers, or cut off where all units are dead.",
}
GRADIENT_TEXT = (
    "How large the gradient dE/dx still is at each layer, measured in units of what leaves the last block. "
    "1 means that nothing was lost on the way; the left end of a line is T."
)
TRAINING_TEXT = "Loss and error over the steps, on the images trained on and on test images."
HEAT_TEXT = (
    "The same over the whole training, one column a probed step; the colours mean the same in all arms of a "
    "setting. Where the pointer is, the lines above show that step."
)
RESPONSES_TEXT = (
    "The standard deviation of what each block adds or computes, R(x), at the last probe (Fig. 7 of He et "
    "al. 2015)."
)


class ComparisonPage(NamedTuple):
    """The page, its pictures, and a line for everything that could not be read."""

    html: str
    pictures: Sequence[PagePicture]
    unread: list[str]


def write_report(folder: Path) -> list[str]:
    """Write report.html, figures/ and table.csv, .md and .tex beside comparison.json.

    Return a line for everything that could not be read, as the page has it. Raises RunFolderError where there
    is no comparison.
    """
    page, table = read_page(folder)
    contents = {
        "report.html": page.html,
        "table.csv": to_csv(table),
        "table.md": to_markdown(table),
        "table.tex": to_latex(table),
    }
    for name, content in contents.items():
        write_atomic(folder / name, content.encode())
    write_pictures(folder, page.pictures)
    return page.unread


def read_page(folder: Path) -> tuple[ComparisonPage, FinalTable]:
    """Return the page and the table of the comparison in a folder. Raises as `write_report`."""
    entries, verdicts = read_comparison(folder)
    table = final_table(entries, verdicts)
    searched = best_of(folder)
    return comparison_page(entries, verdicts, table, command=_command(folder), searched=searched), table


def comparison_page(
    entries: Sequence[Entry],
    verdicts: Sequence[VerdictRow],
    table: FinalTable,
    *,
    command: str,
    searched: BestOfRow | None = None,
) -> ComparisonPage:
    """Return the page of a comparison. command: what makes it again. searched: what was chosen before it."""
    arms = {entry.run.arm: entry.run.kind for entry in entries}
    data = enumerated(
        dict.fromkeys(entry.began.data.label for entry in entries if entry.began),
        "data not recorded",
    )
    found = cells(entries)
    pictures, undrawn = _pictures(found, data, arm_colours(arms))
    depths = _fitting(depth_figures(found, data, arm_colours(arms)), MAX_SIZE / 4)
    searches = list(search_pictures(searched, data, arm_colours(arms))) if searched else []
    faults = [entry.fault for entry in entries if entry.fault]
    unread = dict.fromkeys([*faults, *(why for cell in pictures for why in cell.unread)])
    title = " against ".join(arms)
    screen = first_screen(found, verdicts, data)
    said = lead(entries)
    parts = [
        html.first(screen) if screen else html.header(f"resexp · {data}", first_upper(title), said),
        html.section(
            "What was found",
            html.paragraph(said) if screen else "",
            *_findings(found, verdicts),
            place="found",
        ),
        html.section("In numbers", _table(table)),
        html.section(
            "What was tried before",
            *map(html.paragraph, search_lines(searched)),
            html.gallery(picture.html for picture in searches),
        )
        if searched
        else "",
        *_drawn(pictures, depths, undrawn),
        html.section("What differed between the arms", differed(entries)),
        html.section("How it was run", html.definitions(how_it_was_run(entries))),
        html.section("Words explained", html.definitions(GLOSSARY.items()), place="words"),
        html.section("Run it again", html.code(command), place="again"),
    ]
    if unread:
        parts.append(html.section("What could not be read", *map(html.paragraph, unread)))
    parts.append(html.footer(f"Written by resexp {__version__} from comparison.json and the runs' folders."))
    page = html.page(
        f"{screen.title if screen else title} · {data}", parts, script=html.source_of("charts.js")
    )
    return ComparisonPage(
        page, [*(one for cell in pictures for one in cell.all), *depths, *searches], list(unread)
    )


def _findings(found: Sequence[Cell], verdicts: Sequence[VerdictRow]) -> Sequence[str]:
    parts: list[str] = []
    for heading, headlines in findings(found, verdicts):
        parts += [html.subheading(heading)] if heading else []
        parts += [html.finding(one.sentence, *one.evidence) for one in headlines]
    if not parts:
        return [html.paragraph("Nothing yet: no run has ended.")]
    return [*parts, html.paragraph(RATIO_TEXT, kind="note")]


def _table(table: FinalTable) -> str:
    caption = "Mean with its 95% interval where there are seeds for one. Gradients and T at step 0."
    hints = {name: text for name in table.names if (text := _explained(name))}
    return html.table(
        table.names, table.texts, caption=caption, numbers=table.numbers, wide=True, hints=hints
    )


def _explained(column: str) -> str | None:
    """What the glossary says of a column's word, in the singular."""
    words = {term.partition(" (")[0]: text for term, text in GLOSSARY.items()}
    return words.get(column) or words.get(column.removesuffix("s"))


def _pictures(found: Sequence[Cell], data: str, colours: Colours) -> tuple[list[CellPictures], list[str]]:
    """The pictures of as many cells as the page may hold, and the names of the others."""
    drawn: list[CellPictures] = []
    for index, cell in enumerate(found):
        if sum(pictures.size for pictures in drawn) > MAX_SIZE * index / (index + 1):
            return drawn, [other.words for other in found[index:]]
        drawn.append(cell_pictures(cell, cell.words, data, colours))
    return drawn, []


def _drawn(
    pictures: Sequence[CellPictures], depths: Sequence[PagePicture], undrawn: Sequence[str]
) -> Iterator[str]:
    def gallery(part: str) -> str:
        return html.gallery(picture.html for cell in pictures for picture in getattr(cell, part))

    scales = " Each picture has a scale of its own." if len(pictures) > 1 else ""
    if any(cell.training for cell in pictures):
        yield html.section("How they learned", html.paragraph(TRAINING_TEXT + scales), gallery("training"))
    if depths:
        yield html.section("Deeper, and then?", html.gallery(picture.html for picture in depths))
    if steps := sorted({step for cell in pictures for step in cell.steps}):
        yield html.section(
            "The gradient on its way back",
            html.paragraph(GRADIENT_TEXT + scales),
            html.slider(steps, "Probed step"),
            gallery("frames"),
            html.paragraph(HEAT_TEXT),
            gallery("heat"),
        )
    if any(cell.responses for cell in pictures):
        yield html.section("How much each block does", html.paragraph(RESPONSES_TEXT), gallery("responses"))
    if undrawn:
        names = "; ".join(undrawn)
        yield html.section(
            "Not drawn", html.paragraph(f"To keep this page small, without pictures: {names}.")
        )


def _fitting(pictures: Iterable[PagePicture], size: float) -> list[PagePicture]:
    """The first of the pictures, until they have taken so many characters."""
    kept: list[PagePicture] = []
    for picture in pictures:
        kept.append(picture)
        if sum(len(one.html) for one in kept) > size:
            break
    return kept


def _command(folder: Path) -> str:
    try:
        command = FolderManifest.read(read_json(folder / "manifest.json")).command
    except (RunFolderError, ValueError):
        command = None
    return command or "The command was not recorded."
