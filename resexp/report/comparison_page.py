"""The comparison's page, report.html, and its tables: built from the record alone, as often as one likes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from resexp._version import __version__
from resexp.analysis.cells import short
from resexp.errors import RunFolderError
from resexp.records.files import write_atomic
from resexp.records.run import read_json
from resexp.records.schema import FolderManifest, VerdictRow
from resexp.report import html
from resexp.report.comparison_data import Cell, Entry, cells, read_comparison, varied
from resexp.report.depth_panels import depth_figures
from resexp.report.figures.style import arm_colours
from resexp.report.findings import findings
from resexp.report.first_screen import first_screen
from resexp.report.formatting import enumerated, first_upper
from resexp.report.panels import CellPictures, Colours, cell_pictures
from resexp.report.tables import FinalTable, final_table, to_csv, to_latex, to_markdown

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
    "block": "A few layers in a row. A plain block computes F(x), a residual one R(x) + x: the same layers.",
    "gradient reaching layer 1 (T)": "The size of dE/dx, by how much the error changes with what a layer "
    "gives out, at layer 1 over that at the last block.",
    "factor a layer": "By how much the gradient's size changes from one layer to the one before, on average.",
    "vanishing, exploding, healthy": "What T is called: by its 95% interval over the seeds, below 0.001 or "
    "above 1,000 (0.1 and 10 where the factor a layer is clear), or within. One seed shows no spread: it "
    "gets a word only below 0.0001 or above 10,000.",
    "probe": "A measurement of the gradient at every layer, between two steps, that changes nothing.",
    "guessing": "What a net does that gives every class the same probability. A net is still at guessing "
    "while no recorded loss lies 0.05 below that of guessing.",
    "final loss": "The mean training loss over the last tenth of the steps, in nats.",
    "response": "What a block computes before x is added, R(x).",
    "underflow": "A number too small for the computer's arithmetic; it is shown as zero.",
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


def write_report(folder: Path) -> list[str]:
    """Write report.html, table.csv, table.md and table.tex beside comparison.json.

    Return a line for everything that could not be read, as the page has it. Raises RunFolderError where there
    is no comparison.
    """
    entries, verdicts = read_comparison(folder)
    table = final_table(entries, verdicts)
    page, unread = comparison_page(entries, verdicts, table, command=_command(folder))
    contents = {
        "report.html": page,
        "table.csv": to_csv(table),
        "table.md": to_markdown(table),
        "table.tex": to_latex(table),
    }
    for name, content in contents.items():
        write_atomic(folder / name, content.encode())
    return unread


def comparison_page(
    entries: Sequence[Entry], verdicts: Sequence[VerdictRow], table: FinalTable, *, command: str
) -> tuple[str, list[str]]:
    """Return the page, and a line for everything that could not be read."""
    arms = {entry.run.arm: entry.run.kind for entry in entries}
    data = enumerated(
        dict.fromkeys(entry.began.data.label for entry in entries if entry.began),
        "data not recorded",
    )
    found = cells(entries)
    pictures, undrawn = _pictures(found, data, arm_colours(arms))
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
        *_drawn(pictures, found, data, arm_colours(arms), undrawn),
        html.section("What differed between the arms", differed(entries)),
        html.section("How it was run", html.definitions(how_it_was_run(entries))),
        html.section("Words explained", html.definitions(GLOSSARY.items()), place="words"),
        html.section("Run it again", html.code(command), place="again"),
    ]
    if unread:
        parts.append(html.section("What could not be read", *map(html.paragraph, unread)))
    parts.append(html.footer(f"Written by resexp {__version__} from comparison.json and the runs' folders."))
    return html.page(
        f"{screen.title if screen else title} · {data}", parts, script=html.source_of("charts.js")
    ), list(unread)


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
    return html.table(table.names, table.texts, caption=caption, numbers=table.numbers, wide=True)


def _pictures(found: Sequence[Cell], data: str, colours: Colours) -> tuple[list[CellPictures], list[str]]:
    """The pictures of as many cells as the page may hold, and the names of the others."""
    drawn: list[CellPictures] = []
    for index, cell in enumerate(found):
        if sum(pictures.size for pictures in drawn) > MAX_SIZE * index / (index + 1):
            return drawn, [other.words for other in found[index:]]
        drawn.append(cell_pictures(cell, cell.words, data, colours))
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
        yield html.section(
            "How they learned", html.paragraph(TRAINING_TEXT + _scales(found)), html.gallery(training)
        )
    if depths := _fitting(depth_figures(found, data, colours), MAX_SIZE / 4):
        yield html.section("Deeper, and then?", html.gallery(depths))
    if frames := all_of("frames"):
        steps = sorted({step for cell in pictures for step in cell.steps})
        yield html.section(
            "The gradient on its way back",
            html.paragraph(GRADIENT_TEXT + _scales(found)),
            html.slider(steps, "Probed step"),
            html.gallery(frames),
            html.paragraph(HEAT_TEXT),
            html.gallery(all_of("heat")),
        )
    if responses := all_of("responses"):
        yield html.section(
            "How much each block does", html.paragraph(RESPONSES_TEXT), html.gallery(responses)
        )
    if undrawn:
        names = "; ".join(undrawn)
        yield html.section(
            "Not drawn", html.paragraph(f"To keep this page small, without pictures: {names}.")
        )


def _scales(found: Sequence[Cell]) -> str:
    return " Each picture has a scale of its own." if len(found) > 1 else ""


def _fitting(figures: Iterable[str], size: float) -> list[str]:
    """The first of the figures, until they have taken so many characters."""
    kept: list[str] = []
    for figure in figures:
        kept.append(figure)
        if sum(map(len, kept)) > size:
            break
    return kept


def _command(folder: Path) -> str:
    try:
        command = FolderManifest.read(read_json(folder / "manifest.json")).command
    except (RunFolderError, ValueError):
        command = None
    return command or "The command was not recorded."


def lead(entries: Sequence[Entry]) -> str:
    """Return what was done, in one sentence: runs, seeds, nets, steps, data."""
    rows = [entry.run for entry in entries]
    count = f"{len(rows)} {'run' if len(rows) == 1 else 'runs'}"
    configs = [entry.config for entry in entries if entry.config]
    manifests = [entry.began for entry in entries if entry.began]
    arms = {row.arm for row in rows}
    seeds = sorted({len({row.seed for row in rows if row.arm == arm}) for arm in arms})
    depths = sorted({row.depth for row in rows})
    parts = [f"depth {enumerated(depths)}"]
    if configs:
        steps = enumerated(f"{config.optim.steps:,}" for config in configs)
        batch = enumerated(config.optim.batch_size for config in configs)
        parts.append(f"{steps} steps of {batch} images")
    images = enumerated(
        f"{manifest.data.num_train:,}" for manifest in manifests if manifest.data.num_train is not None
    )
    data = enumerated(manifest.data.label for manifest in manifests)
    tail = f", trained on {images} images of {data}" if manifests else ""
    each = "one seed each" if seeds == [1] else f"{enumerated(seeds)} seeds each"
    return f"{count}, {each}: {', '.join(parts)}{tail}."


def differed(entries: Sequence[Entry]) -> str:
    """Return, as HTML, the keys in which the arms' configs differ, and nothing else.

    What was varied in every arm alike is no difference between arms.
    """
    arms: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.config is not None:
            arms.setdefault(entry.run.arm, []).append(entry)
    keys = dict.fromkeys(key for own in arms.values() for entry in own for key in entry.facts)
    rows = []
    for key in keys:
        values = [enumerated(dict.fromkeys(_text(entry.fact(key)) for entry in own)) for own in arms.values()]
        if len(set(values)) > 1:
            rows.append((key, *values))
    if not rows:
        return html.paragraph("Nothing: their configs are the same.")
    axes = [short(key) for key in varied(entries)]
    alike = f" Varied in all arms: {enumerated(axes)}." if axes else ""
    note = html.paragraph(f"All other keys of the configs are the same.{alike}", kind="note")
    return html.table(("key", *arms), rows) + note


def how_it_was_run(entries: Sequence[Entry]) -> list[tuple[str, str]]:
    """Return what the manifests say of the machine and the data, values that differ side by side."""
    manifests = [entry.began for entry in entries if entry.began]

    def of(section: Literal["data", "execution"], key: str) -> str:
        return enumerated(_known(manifest.section(section), key) for manifest in manifests)

    created = sorted(manifest.created[:16] for manifest in manifests if manifest.created)
    pairs = [
        ("data", of("data", "label")),
        ("training images", of("data", "num_train")),
        ("test images", of("data", "num_test")),
        ("classes", of("data", "num_classes")),
        ("their fingerprint", enumerated(manifest.data.fingerprint[:16] for manifest in manifests)),
        ("device", of("execution", "device")),
        ("devices a run", of("execution", "devices")),
        ("precision", of("execution", "precision")),
        ("kernels", of("execution", "kernels")),
        ("execution", of("execution", "mode")),
        ("why", of("execution", "reason")),
        ("CPU threads", of("execution", "threads")),
        ("machine", enumerated(_text(manifest.machine or "") for manifest in manifests)),
        ("versions", enumerated(_text(manifest.section("versions")) for manifest in manifests)),
        ("commit", enumerated(manifest.commit or "not recorded" for manifest in manifests)),
        ("begun", " to ".join(dict.fromkeys([*created[:1], *created[-1:]])).replace("T", " ")),
    ]
    return [(term, text) for term, text in pairs if text]


def _known(section: Any, key: str) -> str:
    return _text(section[key]) if isinstance(section, Mapping) and key in section else ""


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "none"}[value]
    return f"{value:,}" if isinstance(value, int) and value >= 10_000 else str(value)
