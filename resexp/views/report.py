"""The page of a comparison, and its tables: built from the record alone, as often as one likes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from resexp import __version__
from resexp.errors import RunFolderError
from resexp.findings.cells import short
from resexp.records.folder import write_atomic
from resexp.records.run import read_json
from resexp.views import page
from resexp.views.cell import CellPictures, Colours, cell_pictures
from resexp.views.depths import depth_figures
from resexp.views.figures.style import arm_colours
from resexp.views.headlines import cell_words, headlines
from resexp.views.provenance import differed, how_it_was_run, joined, lead
from resexp.views.recorded import Cell, Entry, cells, read_comparison
from resexp.views.table_files import to_csv, to_latex, to_markdown
from resexp.views.tables import FinalTable, final_table

MAX_SIZE = 1_200_000
"""Characters that pictures may take, so that the page stays under 2 MB; the cells beyond are named."""

SCRIPT = """
document.documentElement.classList.add("js");
for (const slider of document.querySelectorAll(".slider")) {
  const input = slider.querySelector("input"), section = slider.closest("section");
  const steps = slider.dataset.steps.split(" ").map(Number);
  const show = () => {
    const now = steps[input.value], words = "step " + now.toLocaleString("en");
    for (const chart of section.querySelectorAll("svg")) {
      const frames = [...chart.querySelectorAll("[data-step]")];
      const shown = Math.max(...frames.map(frame => +frame.dataset.step).filter(step => step <= now));
      for (const frame of frames)
        frame.setAttribute("display", +frame.dataset.step === shown ? "inline" : "none");
    }
    for (const place of section.querySelectorAll("[data-now]")) place.textContent = words;
    input.setAttribute("aria-valuetext", words);
  };
  input.addEventListener("input", show);
  show();
}
"""

TRANSPORT = (
    "T compares the size of the gradient dE/dx at the stem with that at the last block: 1 means that all of "
    "it arrives at the beginning of the net, 0.001 that a thousandth does."
)
GRADIENT = (
    "How large the gradient dE/dx still is at each layer, measured in units of what leaves the last block. "
    "1 means that nothing was lost on the way; the left end of a line is T."
)
HEAT = (
    "The same over the whole training, one column a probed step. White is 1, purple is smaller, green is "
    "larger, black is underflow; the colours mean the same in all arms of a setting."
)
RESPONSES = (
    "The standard deviation of what each block adds or computes, R(x), at the last probe (Fig. 7 of He et "
    "al. 2015)."
)


def write_report(folder: Path) -> list[str]:
    """Write report.html, table.csv, table.md and table.tex beside comparison.json.

    Return a line for everything that could not be read, as the page has it. Raises RunFolderError where there
    is no comparison.
    """
    entries, verdicts = read_comparison(folder)
    table = final_table(entries)
    html, unread = report(entries, verdicts, table, command=_command(folder))
    contents = {
        "report.html": html,
        "table.csv": to_csv(table),
        "table.md": to_markdown(table),
        "table.tex": to_latex(table),
    }
    for name, content in contents.items():
        write_atomic(folder / name, content.encode())
    return unread


def report(
    entries: Sequence[Entry], verdicts: Sequence[Mapping[str, Any]], table: FinalTable, *, command: str
) -> tuple[str, list[str]]:
    """Return the page, and a line for everything that could not be read."""
    arms = {entry.row["arm"]: entry.row["kind"] for entry in entries}
    data = joined(
        dict.fromkeys(entry.manifest["data"]["label"] for entry in entries if entry.manifest),
        "data not recorded",
    )
    found = cells(entries)
    pictures, undrawn = _pictures(found, data, arm_colours(arms))
    faults = [entry.fault for entry in entries if entry.fault]
    unread = dict.fromkeys([*faults, *(why for cell in pictures for why in cell.unread)])
    title = " against ".join(arms)
    parts = [
        page.header(f"resexp · {data}", _first_upper(title), lead(entries)),
        page.section("What was found", *_findings(found, verdicts)),
        page.section("In numbers", _table(table)),
        *_drawn(pictures, found, data, arm_colours(arms), undrawn),
        page.section("What differed between the arms", differed(entries)),
        page.section("How it was run", page.definitions(how_it_was_run(entries))),
        page.section("Run it again", page.code(command)),
    ]
    if unread:
        parts.append(page.section("What could not be read", *map(page.paragraph, unread)))
    parts.append(page.footer(f"Written by resexp {__version__} from comparison.json and the runs' folders."))
    return page.page(f"{title} on {data}", parts, script=SCRIPT), list(unread)


def _findings(found: Sequence[Cell], verdicts: Sequence[Mapping[str, Any]]) -> list[str]:
    """The verdicts cell by cell, then those that no one cell holds: they span depths."""
    parts: list[str] = []
    rest = list(verdicts)
    for cell in found:
        own = [verdict for verdict in rest if cell.holds(verdict)]
        taken = set(map(id, own))
        rest = [verdict for verdict in rest if id(verdict) not in taken]
        parts += _under(_words(cell) if cell.name else "", own, cell.entries)
    across = dict.fromkeys(cell_words(verdict.get("cell") or {}) for verdict in rest)
    for words in across:
        own = [verdict for verdict in rest if cell_words(verdict.get("cell") or {}) == words]
        span = "" if "depth" in (own[0].get("cell") or {}) else "across depths"
        parts += _under(", ".join(filter(None, (span, words))), own, [])
    if not parts:
        return [page.paragraph("Nothing yet: no run has ended.")]
    return [*parts, page.paragraph(TRANSPORT, kind="note")]


def _under(heading: str, verdicts: Sequence[Mapping[str, Any]], entries: Sequence[Entry]) -> list[str]:
    parts = [
        page.finding(found.sentence, *found.evidence)
        for found in headlines(verdicts, [entry.row for entry in entries])
    ]
    return [page.subheading(_first_upper(heading)), *parts] if parts and heading else parts


def _table(table: FinalTable) -> str:
    caption = "Mean with its 95% interval where there are seeds for one. Gradients and T at step 0."
    return page.table(table.names, table.texts, caption=caption, numbers=table.numbers, wide=True)


def _pictures(found: Sequence[Cell], data: str, colours: Colours) -> tuple[list[CellPictures], list[str]]:
    """The pictures of as many cells as the page may hold, and the names of the others."""
    drawn: list[CellPictures] = []
    for index, cell in enumerate(found):
        if sum(pictures.size for pictures in drawn) > MAX_SIZE * index / (index + 1):
            return drawn, [_words(other) for other in found[index:]]
        drawn.append(cell_pictures(cell, _words(cell), data, colours))
    return drawn, []


def _drawn(
    pictures: Sequence[CellPictures],
    found: Sequence[Cell],
    data: str,
    colours: Colours,
    undrawn: Sequence[str],
) -> Iterator[str]:
    def all_of(part: str) -> list[str]:
        return [figure for cell in pictures for figure in getattr(cell, part)]

    if training := all_of("training"):
        yield page.section("How they learned", page.gallery(training))
    if depths := _fitting(depth_figures(found, data, colours), MAX_SIZE / 4):
        yield page.section("Deeper, and then?", page.gallery(depths))
    if frames := all_of("frames"):
        steps = sorted({step for cell in pictures for step in cell.steps})
        heat = [page.paragraph(HEAT), page.gallery(all_of("heat"))]
        slider = page.slider(steps, "Probed step")
        yield page.section(
            "The gradient on its way back", page.paragraph(GRADIENT), slider, page.gallery(frames)
        )
        yield page.section("The gradient over the training", *heat)
    if responses := all_of("responses"):
        yield page.section("How much each block does", page.paragraph(RESPONSES), page.gallery(responses))
    if undrawn:
        names = "; ".join(undrawn)
        yield page.section(
            "Not drawn", page.paragraph(f"To keep this page small, without pictures: {names}.")
        )


def _fitting(figures: Iterable[str], size: float) -> list[str]:
    """The first of the figures, until they have taken so many characters."""
    kept: list[str] = []
    for figure in figures:
        kept.append(figure)
        if sum(map(len, kept)) > size:
            break
    return kept


def _words(cell: Cell) -> str:
    name = {short(key): value for key, value in cell.name.items()}
    return cell_words(name)


def _command(folder: Path) -> str:
    try:
        return str(read_json(folder / "manifest.json")["command"])
    except (RunFolderError, LookupError):
        return "The command was not recorded."


def _first_upper(text: str) -> str:
    return text[:1].upper() + text[1:]
