"""Best of: a search before a comparison, on seeds of its own, for the value at which each arm is compared."""

import json
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from resexp._version import __version__
from resexp.analysis.best_of import choose
from resexp.analysis.cells import cell_axes, grouped, settings_of, short
from resexp.config import Config, flat
from resexp.data.splits import splits_of
from resexp.errors import UsageError
from resexp.experiments.compare import run_plan
from resexp.experiments.executors import Executor
from resexp.experiments.plan import Plan, make_plan
from resexp.records.documents import ComparisonDocument
from resexp.records.files import write_json
from resexp.records.lock import locked
from resexp.records.manifest import BestOfRow, ChoiceRow, FolderManifest
from resexp.records.preflight import admit_kind
from resexp.records.run import Run, read_json
from resexp.report.progress import Dashboard
from resexp.signals import Stop

SEARCH_FOLDER = "search"
FAR = 1_000_000
"""Added to the comparison's first seed: more seeds than a comparison may have lie between."""
HELD_BACK = 10
"""One of so many training images is held back to choose by, where the config holds none."""


class Search(NamedTuple):
    """What is searched: make_plan with the key among the axes, the key, and on how many seeds."""

    plan_with: Callable[..., Plan]
    key: str
    num_seeds: int

    def grid(self, num_seeds: int, name: str | None = None) -> Plan:
        """The comparison at every value."""
        return self.plan_with(num_seeds=num_seeds, name=name)

    def plan(self, folder: Path) -> Plan:
        """The search of the comparison in that folder."""
        return self.plan_with(num_seeds=self.num_seeds, name=SEARCH_FOLDER, runs_dir=folder, first_seed=FAR)

    def narrowed(self, plan: Plan, found: BestOfRow) -> Plan:
        """The comparison at the chosen values."""
        chosen = {(row.arm, *row.cell.items()): row.value for row in found.choices}
        places = self._places([(job.arm, job.config) for job in plan.jobs])
        jobs = tuple(
            job
            for job, place in zip(plan.jobs, places, strict=True)
            if self._value(job.config) == chosen[place]
        )
        return plan._replace(jobs=jobs, best_of=found)

    def at_best(self, found: BestOfRow, grid: Callable[..., Plan]) -> Callable[..., Plan]:
        """Return what makes the comparison at the chosen values, of any number of seeds."""
        return lambda num_seeds: self.narrowed(grid(num_seeds=num_seeds), found)

    def forecast(self, plan: Plan) -> Plan:
        """Return all runs there will be, the comparison's at the first value, since none is chosen yet."""
        first = self._value(plan.jobs[0].config)
        jobs = [job for job in plan.jobs if self._value(job.config) == first]
        return plan._replace(jobs=(*self.plan(plan.folder).jobs, *jobs))

    def found(self, folder: Path) -> BestOfRow:
        """Read what the search in that folder came to, and choose."""
        rows = ComparisonDocument.read(read_json(folder / "comparison.json")).runs
        runs = [(row.arm, Run(folder / row.folder)) for row in rows]
        places = self._places([(arm, run.config) for arm, run in runs])
        losses: dict[tuple[Any, ...], dict[str, dict[str, list[float]]]] = {}
        for (arm, run), (_, *cell) in sorted(
            zip(runs, places, strict=True), key=lambda pair: pair[0][1].config.seed
        ):
            own = losses.setdefault(tuple(cell), {}).setdefault(arm, {})
            own.setdefault(self._value(run.config), []).append(_loss(run))
        return BestOfRow(
            key=self.key,
            seeds=sorted({run.config.seed for _, run in runs}),
            validation=runs[0][1].config.data.validation,
            choices=[
                ChoiceRow(
                    arm=arm,
                    cell=dict(cell),
                    value=value,
                    losses={name: list(map(_finite, seeds)) for name, seeds in own[arm].items()},
                )
                for cell, own in losses.items()
                for arm, value in choose(own).items()
            ],
        )

    def _value(self, config: Config) -> str:
        return json.dumps(flat(config.tree())[self.key])

    def _places(self, runs: Sequence[tuple[str, Config]]) -> list[tuple[Any, ...]]:
        """Each run's arm and cell, the searched key apart."""
        facts = [
            {key: value for key, value in settings_of(config.tree()) if key != self.key} for _, config in runs
        ]
        axes = cell_axes([(arm, fact) for (arm, _), fact in zip(runs, facts, strict=True)])
        groups = grouped(range(len(runs)), axes, lambda k: facts[k])
        cell_of = {k: cell for cell, members in groups.items() for k in members}
        return [
            (arm, *((short(axis), value) for axis, value in cell_of[k])) for k, (arm, _) in enumerate(runs)
        ]


def search_of(
    key: str,
    values: Sequence[str],
    num_seeds: int,
    arms: Sequence[str],
    *,
    sets: Sequence[str],
    vary: Mapping[str, Sequence[str]],
    by: Mapping[str, Sequence[str]] | None,
    **others: Any,
) -> Search:
    """Return the search. The arguments are make_plan's, but seeds and name.

    Where a config holds no images back to choose by, a tenth of the training images are, for all arms alike.
    Raises UsageError for what does not fit.
    """
    if key in ("seed", "name", "data.validation") or key.startswith(("run.", "record.")):
        raise UsageError(f"compare --best-of {key}: choose a key of the net, its images or its optimizer")
    if key in vary or key in (by or {}):
        raise UsageError(f"compare --best-of {key}: --vary or --arms names it, too; use one of them")
    if len(values) < 2:
        raise UsageError(f"compare --best-of {key}: give two values or more, {values[0]} stands alone")
    plan_with = partial(make_plan, arms, sets=sets, vary={**vary, key: values}, by=by, **others)
    tried = plan_with(num_seeds=1)
    if tried.recorded or not tried.jobs:
        raise UsageError("compare --best-of: a finished run cannot be searched; give configs as arms")
    if any(job.config.data.validation == 0 for job in tried.jobs):
        if "data.validation" in {**vary, **(by or {})}:
            raise UsageError(
                "compare --best-of chooses by images that are held back: give data.validation values above 0"
            )
        num = len(splits_of(tried.jobs[0].config.data).train.labels) // HELD_BACK
        plan_with = partial(plan_with, sets=[*sets, f"data.validation={num}"])
    return Search(plan_with, key, num_seeds)


def run_search(
    search: Search,
    folder: Path,
    *,
    executor: AbstractContextManager[Executor],
    command: Sequence[str],
    stop: Stop,
    show: Dashboard,
) -> BestOfRow:
    """Train what is missing of the search, a comparison of its own in `folder`, and return the choice.

    Raises FailedRunsError where a run failed, and what `run_plan` raises.
    """
    if not (folder / "manifest.json").exists():  # so that a killed search is known for what it is
        begun = FolderManifest(
            kind="comparison", command=shlex.join(command), versions={"resexp": __version__}
        )
        write_json(folder / "manifest.json", begun.to_json())
    plan = search.plan(folder)
    show.say(f"searching {search.key}: {len(plan.jobs)} runs in {plan.folder}")
    with locked(plan.folder):
        admit_kind(plan.folder, "comparison")
        if failed := run_plan(plan, executor=executor, command=command, stop=stop, show=show):
            raise failed
        return search.found(plan.folder)


def _loss(run: Run) -> float:
    result = run.result
    loss = None if result is None or run.status != "finished" else result.validation_loss
    return math.inf if loss is None else loss


def _finite(loss: float) -> float | None:
    return loss if math.isfinite(loss) else None
