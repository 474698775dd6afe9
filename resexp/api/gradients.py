"""`resexp.gradients`: the gradient at initialisation, over a grid of nets."""

from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING

from resexp.api.arguments import Axes, Sets, axis_words, words_of
from resexp.api.result import data_frame, framed
from resexp.experiments.init_gradients import grid, run_gradients
from resexp.records.documents import GradientsDocument
from resexp.records.run import read_json
from resexp.report import html
from resexp.report.figures.gradient_grid import grid_figure
from resexp.report.figures.notebook import Figure, shown
from resexp.report.figures.svg import to_svg
from resexp.report.progress import display
from resexp.report.terminal import as_text, gradients_notes, gradients_text

if TYPE_CHECKING:
    import pandas


class Gradients:
    """A table of gradients at initialisation, by its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def document(self) -> GradientsDocument:
        """gradients.json."""
        return GradientsDocument.read(read_json(self.folder / "gradients.json"))

    def to_pandas(self) -> "pandas.DataFrame":
        """Return a row a kind of net: settings, T (`ratio`), `factor` a layer with intervals, `verdict`."""
        rows = [row.to_json() for row in self.document.rows]
        return data_frame([{key: row[key] for key in row if key != "profile"} for row in rows])

    def figure(self) -> Figure:
        """Return the size of dE/dx by layer, a column a depth."""
        return shown(grid_figure(self.document.to_json()))

    def _repr_html_(self) -> str:
        document = self.document.to_json()
        table = gradients_text(document)
        picture = to_svg(grid_figure(document), "The size of dE/dx by layer, a column for each depth.")
        found = html.section(
            "The gradient at initialisation",
            html.figure(picture, "Size of dE/dx at every output, the last block's as 1"),
            html.table(table.names, table.texts, numbers=table.numbers),
            *(html.paragraph(note, kind="note") for note in gradients_notes(document)),
        )
        return framed(html.page("Gradients at initialisation", [found]))

    def __repr__(self) -> str:
        document = self.document.to_json()
        return "\n".join([as_text(gradients_text(document)), *gradients_notes(document)])


def gradients(
    *,
    config: str | PathLike[str] | None = None,
    sets: Sets | None = None,
    data: str | None = None,
    depth: int | Sequence[int] | None = None,
    vary: Axes | None = None,
    seeds: int = 5,
    name: str | None = None,
    runs_dir: str | PathLike[str] = "runs",
) -> Gradients:
    """Measure the gradient at initialisation, layer by layer, as `resexp gradients` does. Trains nothing.

    vary: e.g. {"model.norm": ["none", "batch"]}; both kinds of net, depths 8, 20 and 56, with and without
    batch norm, where nothing else is said. The errors are those of the command line, each a ResexpError.
    """
    cells = grid(None if config is None else fspath(config), words_of(sets, data), axis_words(vary, depth))
    with display() as show:
        folder = run_gradients(
            cells, seeds, runs_dir=Path(runs_dir), name=name, command=["resexp.gradients"], show=show
        )
    return Gradients(folder)
