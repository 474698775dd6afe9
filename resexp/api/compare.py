"""`resexp.compare`: train arms under the same conditions and say what differs."""

from collections.abc import Sequence
from functools import cached_property, partial
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resexp.analysis.looks import schedule
from resexp.api.arguments import Axes, Sets, axis_words, words_of
from resexp.api.result import Paged, data_frame
from resexp.api.runs import Runs
from resexp.errors import UsageError
from resexp.experiments.best_of import search_of
from resexp.experiments.executors.local import local
from resexp.experiments.plan import make_plan
from resexp.experiments.until import run_comparison
from resexp.records.documents import ComparisonDocument
from resexp.records.lock import locked
from resexp.records.preflight import admit_kind
from resexp.records.run import Run, read_json
from resexp.report.comparison_data import best_of, read_comparison
from resexp.report.comparison_page import ComparisonPage, read_page
from resexp.report.findings import comparison_lines
from resexp.report.progress import display
from resexp.report.search import search_lines
from resexp.report.tables import comparison_table, final_table
from resexp.report.terminal import as_text
from resexp.signals import stop_on_interrupt

if TYPE_CHECKING:
    import pandas


class FinishedComparison(Paged):
    """A comparison that is over, by its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def document(self) -> ComparisonDocument:
        """comparison.json: runs, differences and verdicts."""
        return ComparisonDocument.read(read_json(self.folder / "comparison.json"))

    @property
    def sentences(self) -> list[str]:
        """What was found, as the terminal says it."""
        searched = search_lines(best_of(self.folder))
        return [*searched, *comparison_lines(*read_comparison(self.folder))]

    @property
    def runs(self) -> Runs:
        """The runs that were compared."""
        return Runs([Run(self.folder / row.folder) for row in self.document.runs])

    def to_pandas(self) -> "pandas.DataFrame":
        """Return the table: a row an arm and cell, means with their 95% intervals (_low, _high)."""
        return data_frame(final_table(*read_comparison(self.folder)).rows)

    @cached_property
    def _page(self) -> ComparisonPage:
        return read_page(self.folder)[0]

    def __repr__(self) -> str:
        return "\n".join([as_text(comparison_table(self.folder)), *self.sentences])


def compare(
    *arms: str | PathLike[str],
    by: Axes | None = None,
    config: str | PathLike[str] | None = None,
    sets: Sets | None = None,
    data: str | None = None,
    depth: int | Sequence[int] | None = None,
    vary: Axes | None = None,
    seeds: int = 1,
    full: bool = False,
    max_seeds: int | None = None,
    best_of: Axes | None = None,
    best_of_seeds: int = 3,
    name: str | None = None,
    runs_dir: str | PathLike[str] = "runs",
) -> FinishedComparison:
    """Train the arms, as `resexp compare` does, and return what differs.

    arms: "plain", "residual", configs, or folders of finished runs; in their place `by`, e.g.
    {"model.order": ["pre", "post"]}. depth, vary: what else is varied. seeds: of each. max_seeds: add seeds
    up to so many, until the arms are told apart (`--until resolved`). best_of: as {"optim.lr": [0.01, 0.1]},
    at the best value by validation loss on `best_of_seeds` separate seeds, an arm's own where that is clearly
    better. The same call again goes on where it was stopped. The errors are those of the command line, each a
    ResexpError; runs that fail raise FailedRunsError once the others are compared; Ctrl-C saves and raises
    Interrupted.
    """
    if by is not None and len(by) != 1:
        raise UsageError(f"by: name one key, not {len(by)}")
    counts = [seeds] if max_seeds is None else schedule(seeds, max_seeds)
    arguments: dict[str, Any] = {
        "runs_dir": Path(runs_dir),
        "config": None if config is None else fspath(config),
        "sets": words_of(sets, data),
        "vary": axis_words(vary, depth),
        "full": full,
        "by": None if by is None else axis_words(by),
    }
    words, search = [fspath(arm) for arm in arms], None
    if best_of is not None:
        if len(best_of) != 1:
            raise UsageError(f"best_of: name one key, not {len(best_of)}")
        ((key, values),) = axis_words(best_of).items()
        search = search_of(key, values, best_of_seeds, words, **arguments)
    plan_with = search.grid if search else partial(make_plan, words, **arguments)
    plan = plan_with(num_seeds=counts[0], name=name)
    with locked(plan.folder):
        admit_kind(plan.folder, "comparison")
        with stop_on_interrupt() as stop, display() as show:
            failed = run_comparison(
                plan.folder,
                plan_with,
                counts,
                search,
                until=max_seeds is not None,
                executor=local,
                command=["resexp.compare", *words],
                stop=stop,
                show=show,
            )
    if failed:
        raise failed
    return FinishedComparison(plan.folder)
