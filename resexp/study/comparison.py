"""A comparison from plan to page."""

import shlex
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from resexp import __version__
from resexp.config import Config, DataSection
from resexp.data.splits import Splits, load
from resexp.findings.comparison import Comparison, compare
from resexp.findings.reading import summary_of
from resexp.records.folder import write_json
from resexp.records.run import Run, scan
from resexp.study.executors import local
from resexp.study.plan import Job, Plan
from resexp.training.beginning import versions
from resexp.training.execution import Execution, resolve
from resexp.training.signals import Stop
from resexp.views.progress import Display
from resexp.views.report import write_report


def splits_of(section: DataSection) -> Splits:
    """Return the images of a config's data section; loaded once for all runs of a comparison."""
    return _splits(section.model_dump_json())


@lru_cache(maxsize=2)
def _splits(section: str) -> Splits:
    return load(DataSection.model_validate_json(section))


def execution_for(jobs: Sequence[Job]) -> Execution:
    """Return how all jobs are executed: one answer for all arms.

    Each shape of net is compiled once, so what counts is how many images the least trained shape sees.
    """
    images: dict[tuple[str, int], int] = {}
    for job in jobs:
        shape = (job.config.model.kind, job.config.model.depth)
        images[shape] = images.get(shape, 0) + job.config.optim.steps * job.config.optim.batch_size
    return resolve(jobs[0].config.run, num_images=min(images.values()))


def run_plan(plan: Plan, *, command: Sequence[str], stop: Stop, show: Display) -> Comparison:
    """Train what is not trained yet, compare, and write comparison.json and the report.

    The caller holds the folder's lock.

    A finished run elsewhere under the runs folder that is the same (digest, data, versions, device type,
    precision, threads) takes its job's place.
    """
    write_json(plan.folder / "manifest.json", _manifest(command))
    execution = execution_for(plan.jobs) if plan.jobs else None
    runs, open_jobs = list(plan.recorded), []
    finished = finished_runs(plan.folder.parent)
    for job in plan.jobs:
        assert execution is not None
        candidates = [] if job.folder.exists() else finished.get(job.config.digest(), [])
        same = same_run(candidates, job.config, execution)
        runs.append((job.arm, same or Run(job.folder)))
        if same is None:
            open_jobs.append(job)
        else:
            show.say(f"{job.label}: {same.folder} is the same run, finished; taken from there")
    if open_jobs and execution:
        show.say(f"data: {splits_of(open_jobs[0].config.data).described}")
        show.say(f"execution: {execution.reason}")
        local(open_jobs, lambda config: splits_of(config.data), execution, stop=stop, show=show)
    comparison = compare([summary_of(Run(run.folder), arm=arm, beside=plan.folder) for arm, run in runs])
    write_json(plan.folder / "comparison.json", comparison.to_json())
    write_report(plan.folder)
    return comparison


def finished_runs(root: Path) -> dict[str, list[Run]]:
    """Return the finished runs under `root` by the digest of their config."""
    found: dict[str, list[Run]] = {}
    for run, fault in scan(root):
        if fault is None and run.result is not None:
            found.setdefault(run.config.digest(), []).append(run)
    return found


def same_run(candidates: Sequence[Run], config: Config, execution: Execution) -> Run | None:
    """Return the first of these runs of `config`'s digest that would come out the same here, bit for bit."""
    for run in candidates:
        there = run.manifest["execution"]
        if (
            run.manifest["versions"] == versions()
            and all(
                there[key] == getattr(execution, key) for key in ("device", "precision", "mode", "threads")
            )
            and run.manifest["data"]["fingerprint"] == splits_of(config.data).fingerprint
        ):
            return run
    return None


def _manifest(command: Sequence[str]) -> dict[str, Any]:
    return {"kind": "comparison", "command": shlex.join(command), "versions": {"resexp": __version__}}
