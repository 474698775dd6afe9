"""Depth panels: depth against what was reached, Fig. 6 of He et al. 2015, one pair of pictures a setting."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from resexp.analysis.cells import DEPTH, short
from resexp.report.comparison_data import Cell, Entry
from resexp.report.figures.curves import depth_panel
from resexp.report.figures.lines import Line, line
from resexp.report.figures.page_picture import PagePicture, picture_of
from resexp.report.panels import Colours
from resexp.report.sentences import cell_words

MEASURES = {
    "final_loss": ("Training loss.", "final training loss (nats)", lambda value: value),
    "test_accuracy": ("Test error.", "test error (%)", lambda value: 100 * (1 - value)),
}


def depth_figures(cells: Sequence[Cell], data: str, colours: Colours) -> Iterator[PagePicture]:
    """Yield the pictures of each setting that was trained at two depths or more."""
    settings: dict[str, list[Entry]] = {}
    for cell in cells:
        if None in cell.name.values():  # a run that cannot be read, and is not known to belong anywhere
            continue
        rest = {short(key): value for key, value in cell.name.items() if key != DEPTH}
        settings.setdefault(cell_words(rest), []).extend(cell.entries)
    for words, entries in settings.items():
        about = " · ".join(filter(None, (words, data)))
        for key, (title, ylabel, read) in MEASURES.items():
            dots, stuck = (_dots(entries, fate, key, read) for fate in ("finished", "stuck"))
            ended = {arm: dots.get(arm, []) + stuck.get(arm, []) for arm in {**dots, **stuck}}
            lines = [found for arm, own in ended.items() if (found := _through(arm, own)) is not None]
            if any(len(found.x) > 1 for found in lines):
                hollow = " Hollow: still at guessing, in the mean like all others." if stuck else ""
                yield picture_of(
                    depth_panel(lines, dots, stuck, colours, ylabel),
                    f"depth {title} {about}",
                    description=f"{about}. {_course(lines, ylabel)}",
                    title=title,
                    note=f"{about} · {_seeds(ended)}; a dot a seed, lines through the means.{hollow}",
                )


def _dots(
    entries: Sequence[Entry], fate: str, key: str, read: Callable[[float], float]
) -> dict[str, list[tuple[float, float]]]:
    """A dot (depth, value) for each seed of that fate, by arm."""
    dots: dict[str, list[tuple[float, float]]] = {}
    for entry in entries:
        run = entry.run
        if run.fate == fate and (value := getattr(run, key)) is not None:
            dots.setdefault(run.arm, []).append((run.depth, read(value)))
    return dots


def _through(arm: str, dots: Sequence[tuple[float, float]]) -> Line | None:
    """The line through the mean at each depth; each depth has seeds of its own."""
    by_depth: dict[float, list[float]] = {}
    for depth, value in dots:
        by_depth.setdefault(depth, []).append(value)
    means = {depth: sum(values) / len(values) for depth, values in by_depth.items()}
    return line(arm, arm, [means])


def _seeds(dots: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    counts = {sum(1 for d, _ in own if d == depth) for own in dots.values() for depth, _ in own}
    if counts == {1}:
        return "one seed"
    return f"n = {'–'.join(str(n) for n in sorted({min(counts), max(counts)}))} seeds at each depth"


def _course(lines: Sequence[Line], what: str) -> str:
    parts = [
        f"{line.label}: "
        + ", ".join(f"{y:.3g} at depth {x:g}" for x, y in zip(line.x, line.middle, strict=True))
        for line in lines
    ]
    return f"{what} against depth. {'; '.join(parts)}."
