"""The search before a comparison, on its page and in the terminal: what was tried and what was chosen."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from resexp.records.manifest import BestOfRow, ChoiceRow
from resexp.report.figures.page_picture import PagePicture, picture_of
from resexp.report.figures.search import search_panel
from resexp.report.formatting import enumerated
from resexp.report.sentences import cell_words


def search_lines(found: BestOfRow | None) -> list[str]:
    """Return how the values were chosen, in sentences; none where nothing was searched."""
    if found is None:
        return []
    values = list(found.choices[0].losses)
    lines = [
        f"{found.key} was chosen before, of {enumerated(values)}, by the loss of {found.validation:,} images "
        f"held back, on {len(found.seeds)} seeds of the search's own: what is best for all arms together, or "
        "an arm's own where that is better by more than chance."
    ]
    for words, choices in _cells(found).items():
        said = ", ".join(f"{choice.arm} {choice.value}" for choice in choices)
        lines.append(f"{words or 'Chosen'}: {said}.")
    edges = [row for row in found.choices if row.value in _edges(values)]
    if edges:
        named = enumerated(f"{row.value} ({row.arm})" for row in edges)
        lines.append(f"At the edge of what was tried, so that a value beyond may be better: {named}.")
    return lines


def search_pictures(found: BestOfRow, data: str, colours: Mapping[str, str]) -> Iterator[PagePicture]:
    """Yield a picture a cell: loss against value, all arms."""
    for words, choices in _cells(found).items():
        about = " · ".join(filter(None, (words, data)))
        course = "; ".join(f"{row.arm}: {', '.join(_means(row))}; chosen {row.value}" for row in choices)
        yield picture_of(
            search_panel(choices, colours, found.key),
            f"search {found.key} {about}",
            description=f"Validation loss against {found.key}. {course}.",
            title="Validation loss against what was tried.",
            note=f"{about} · {len(found.seeds)} seeds of the search, a dot each; lines through the means.",
        )


def _means(row: ChoiceRow) -> Iterator[str]:
    for value, losses in row.losses.items():
        known = [loss for loss in losses if loss is not None]
        diverged = len(losses) - len(known)
        yield f"{diverged} diverged at {value}" if diverged else f"{fmean(known):.3g} at {value}"


def _cells(found: BestOfRow) -> dict[str, Sequence[ChoiceRow]]:
    cells: dict[str, list[ChoiceRow]] = {}
    for row in found.choices:
        cells.setdefault(cell_words(row.cell), []).append(row)
    return dict(cells)


def _edges(values: Sequence[str]) -> set[str]:
    """The smallest and the largest of numbers; other values have no edge."""
    try:
        numbers = sorted(values, key=float)
    except ValueError:
        return set()
    return {numbers[0], numbers[-1]}
