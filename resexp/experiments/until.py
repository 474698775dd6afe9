"""Until resolved: seeds are added to a comparison, look by planned look, until its arms are told apart."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from resexp.experiments.best_of import Search, run_search
from resexp.experiments.compare import FailedRunsError, run_plan
from resexp.experiments.executors import Executor
from resexp.experiments.plan import Plan
from resexp.records.run import read_folder_manifest
from resexp.report.comparison_data import read_comparison
from resexp.report.progress import Dashboard
from resexp.signals import Stop

APART = ("lower", "higher")


def run_until_resolved(
    plan_of: Callable[[int], Plan],
    counts: Sequence[int],
    *,
    executor: Callable[[], AbstractContextManager[Executor]],
    command: Sequence[str],
    stop: Stop,
    show: Dashboard,
) -> FailedRunsError | None:
    """Carry out the plan at each number of seeds, until every cell's arms are told apart, or the last.

    counts: all numbers of seeds at which is looked, planned before the first look; each spends its share of
    the 5%. A comparison that is there already goes on at its own number. Returns and raises as `run_plan`.
    """
    failed = None
    for count in counts:
        plan = plan_of(count)
        if _has_more(plan):
            continue
        failed = run_plan(
            plan, executor=executor(), command=command, stop=stop, show=show, planned_looks=len(counts)
        )
        if failed or resolved(plan.folder):
            break
        if count < counts[-1]:
            show.say(f"{count} seeds: not every cell's arms are told apart yet, so more are trained")
    return failed


def run_comparison(
    folder: Path,
    plan_with: Callable[..., Plan],
    counts: Sequence[int],
    search: Search | None,
    *,
    until: bool,
    executor: Callable[[], AbstractContextManager[Executor]],
    command: Sequence[str],
    stop: Stop,
    show: Dashboard,
) -> FailedRunsError | None:
    """Search, if that is asked, then carry the comparison in `folder` out: at the first of `counts`, or until
    resolved. The caller holds the folder's lock. plan_with: make_plan, but for seeds and name.
    """
    how = {"command": command, "stop": stop, "show": show}
    grown = partial(plan_with, name=folder.name)
    if search:
        grown = search.at_best(run_search(search, folder, executor=executor(), **how), grown)
    if until:
        return run_until_resolved(lambda count: grown(num_seeds=count), counts, executor=executor, **how)
    return run_plan(grown(num_seeds=counts[0]), executor=executor(), **how)


def resolved(folder: Path) -> bool:
    """Whether in every cell the primary test has told the arms apart."""
    _, verdicts = read_comparison(folder)
    words = [verdict.word for verdict in verdicts if verdict.about == "arms"]
    return bool(words) and all(word in APART for word in words)


def _has_more(plan: Plan) -> bool:
    """Whether the comparison that is there has runs beyond this plan: its look is over."""
    path = plan.folder / "manifest.json"
    there = read_folder_manifest(path).runs if path.exists() else []
    named = {job.folder.name for job in plan.jobs} | {run.folder.name for _, run in plan.recorded}
    return not set(there) <= named
