"""A comparison from plan to report: train what is missing, compare, write."""

import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

from resexp._version import __version__
from resexp.analysis.cells import RunSummary, summary_of
from resexp.analysis.looks import Look, level_of
from resexp.analysis.verdicts import Comparison, compare_runs
from resexp.config import DataSection
from resexp.data.dataset import Dataset
from resexp.data.splits import splits_of
from resexp.errors import ResexpError, RunFolderError
from resexp.experiments.consistency import as_begun, require_alike
from resexp.experiments.executors import Executor, Failure
from resexp.experiments.first_look import cells_of, first_looks, places_of
from resexp.experiments.plan import Job, Plan
from resexp.experiments.shard import Shard
from resexp.records.files import write_json
from resexp.records.lock import locked
from resexp.records.manifest import FolderManifest, LookRow
from resexp.records.preflight import admit, admit_kind
from resexp.records.run import Run, read_folder_manifest
from resexp.report.comparison_page import write_report
from resexp.report.progress import Dashboard, Fraction
from resexp.signals import Stop
from resexp.training.execution import Execution
from resexp.training.lr_schedule import falls_short
from resexp.training.optimizers import require_optimizer
from resexp.training.resume import versions

SHARD_PATIENCE = 60.0
"""Seconds for which a shard waits for others that are writing the manifest."""


class FailedRunsError(ResexpError):
    """Some runs of a comparison did not come to their end; exit code: the first one's."""

    def __init__(self, folder: Path, failures: Sequence[Failure], num_runs: int) -> None:
        super().__init__(
            f"{folder}: {len(failures)} of {num_runs} runs failed, as said above, and the others went on: "
            f"{', '.join(failure.folder.name for failure in failures[:5])}; the same command tries them again"
        )
        self.code = failures[0].code


def execution_for(
    jobs: Sequence[Job],
    where: Executor,
    images: Callable[[Job], Dataset] = lambda job: splits_of(job.data).train,
) -> Execution:
    """Return how all jobs are executed: one answer for all arms.

    Each shape of net is compiled once, so what counts is how many images the least trained shape sees.
    `images`: a job's training images, asked for where steps are recorded; what cannot be, is found before the
    first run begins.
    """
    kinds, seen = dict[str, Job](), Counter[str]()
    for job in jobs:
        model, optim = job.config.model, job.config.optim
        shape = f"{model.model_dump_json(exclude={'init'})} {optim.batch_size}"
        seen[shape] += optim.steps * optim.batch_size
        told = f"{optim.name} {optim.momentum > 0} {optim.nesterov} {optim.ema > 0}"
        kinds.setdefault(f"{shape} {told}", job)
    execution = where.resolve(jobs[0].config.run, num_images=min(seen.values()))
    if not execution.graphed:
        return execution
    return where.rehearsed(
        execution,
        [(job.config, images(job).first(job.config.optim.batch_size)) for job in kinds.values()],
    )


def run_plan(
    plan: Plan,
    *,
    executor: AbstractContextManager[Executor],
    command: Sequence[str],
    stop: Stop,
    show: Dashboard,
    planned_looks: int | None = None,
    shard: Shard | None = None,
) -> FailedRunsError | None:
    """Train what is not trained yet, compare, and write comparison.json and the report.

    The caller holds the folder's lock. planned_looks: at how many numbers of seeds it is judged, if that was
    decided before the first. With a shard only its runs are trained and nothing is compared; its caller does
    not hold the lock, so that shards train at the same time.

    A finished run elsewhere under the runs folder that is the same (digest, data, versions, device type,
    precision, kernels, threads) takes its job's place. Runs that fail are left out of the comparison as far
    as they have no record, and returned; raises FailedRunsError where nothing is left to compare,
    Interrupted or Terminated when `stop` is set.
    """
    with locked(plan.folder, patience=SHARD_PATIENCE) if shard else nullcontext():
        if shard:
            admit_kind(plan.folder, "comparison")
        manifest = _begun(plan, command, planned_looks)
    runs, failures = list(plan.recorded), list[Failure]()
    if plan.jobs:
        with executor as where:
            jobs, execution = as_begun(plan.jobs)
            execution = execution or execution_for(jobs, where)
            taken = taken_from_elsewhere(jobs, plan.folder.parent, execution)
            for job in jobs:
                if same := taken.get(job.folder):
                    show.say(f"{job.label}: {same.folder} is the same run, finished; taken from there")
            runs += [(job.arm, taken.get(job.folder) or Run(job.folder)) for job in jobs]
            # Twins after each other: they are looked at side by side while they train.
            in_turn = [job for members in cells_of(jobs).values() for job in members]
            own = in_turn if shard is None else shard.jobs(in_turn)
            open_jobs = [job for job in own if job.folder not in taken and not _ended(job)]
            if open_jobs:
                require_alike(jobs, open_jobs)
                for optim in dict.fromkeys(job.config.optim for job in open_jobs):
                    require_optimizer(optim)
                for short in dict.fromkeys(falls_short(job.config.optim) for job in open_jobs):
                    if short:
                        show.say(short)
                for data in dict.fromkeys(job.data for job in open_jobs):
                    splits = splits_of(data, lambda done: show.update("images, % read", Fraction(done)))
                    show.say(f"data: {splits.described}")
                show.say(f"execution: {execution.reason}")
                show.first_looks(list(first_looks(open_jobs, splits_of(open_jobs[0].data))))
                show.expect(places_of(open_jobs))
                failures = where.carry_out(open_jobs, execution, stop=stop, show=show)
    if stop():
        over = sum(run.result is not None for _, run in runs)
        raise stop.error(
            f"{plan.folder}: stopped, {over} of {len(runs)} runs are over and what else had begun is saved; "
            "the same command goes on"
        )
    failed = FailedRunsError(plan.folder, failures, len(runs)) if failures else None
    if shard:
        return failed
    summaries = list(_summaries(plan, runs, failed=[failure.folder for failure in failures]))
    if failed and not summaries:
        raise failed
    write_json(plan.folder / "comparison.json", _judged(plan.folder, manifest, summaries).to_json())
    write_report(plan.folder)
    return failed


def _begun(plan: Plan, command: Sequence[str], planned_looks: int | None) -> FolderManifest:
    """Write and return the comparison's manifest: all its runs, and the looks that were made."""
    names = _names(plan)
    _require_no_less(plan.folder, names)
    before = _manifest_of(plan.folder)
    manifest = FolderManifest(
        kind="comparison",
        command=shlex.join(command),
        versions={"resexp": __version__},
        runs=names,
        planned_looks=planned_looks if before is None else before.planned_looks,
        looks=[] if before is None else before.looks,
    )
    if plan.best_of:
        manifest = manifest.model_copy(update={"best_of": plan.best_of})
    write_json(plan.folder / "manifest.json", manifest.to_json())
    return manifest


def _manifest_of(folder: Path) -> FolderManifest | None:
    path = folder / "manifest.json"
    return read_folder_manifest(path) if path.exists() else None


def _judged(folder: Path, manifest: FolderManifest, summaries: Sequence[RunSummary]) -> Comparison:
    """Judge the runs at the level that is left for this look, which is recorded as spent before it is used.

    A look that could give no word, with too few seeds, spends nothing; the same runs again are the same look.
    """
    ended = sum(run.status in ("finished", "diverged") for run in summaries)
    arms = {run.arm for run in summaries}
    seeds = max((len({run.seed for run in summaries if run.arm == arm}) for arm in arms), default=0)
    last = manifest.looks[-1] if manifest.looks else None
    if last is not None and last.ended == ended:
        return compare_runs(summaries, Look(last.number, last.seeds, last.level))
    number = len(manifest.looks) + 1
    look = Look(number, seeds, level_of(number, manifest.planned_looks))
    found = compare_runs(summaries, look)
    if any(difference.adjusted_p is not None for difference in found.differences):
        row = LookRow(number=number, seeds=seeds, level=look.level, ended=ended)
        spent = manifest.model_copy(update={"looks": [*manifest.looks, row]})
        write_json(folder / "manifest.json", spent.to_json())
    return found


def _summaries(
    plan: Plan, runs: Sequence[tuple[str, Run]], *, failed: Sequence[Path]
) -> Iterator[RunSummary]:
    """What the records say, read anew; a run that failed may have none."""
    searched = plan.best_of.key if plan.best_of else None
    for arm, run in runs:
        try:
            yield summary_of(Run(run.folder), arm=arm, beside=plan.folder, without=searched)
        except RunFolderError:
            if run.folder not in failed:
                raise


def _ended(job: Job) -> bool:
    """Whether the job needs no executor. Raises RunFolderError for another experiment in its folder."""
    return Run(job.folder).result is not None and admit(job.folder, job.config, resume=True) == "finished"


def taken_from_elsewhere(jobs: Sequence[Job], root: Path, execution: Execution) -> dict[Path, Run]:
    """Return the finished runs under `root` that take the place of jobs not begun, by the job's folder."""
    taken = {}
    finished = finished_runs(root)
    for job in jobs:
        candidates = [] if job.folder.exists() else finished.get(job.config.digest(), [])
        if same := same_run(candidates, job.data, execution):
            taken[job.folder] = same
    return taken


def finished_runs(root: Path) -> dict[str, list[Run]]:
    """Return the finished runs under `root` by the digest of the config they began with."""
    found: dict[str, list[Run]] = {}
    for path in sorted(root.glob("**/result.json")):
        run = Run(path.parent)
        with suppress(RunFolderError):  # damaged or no run: nothing to take over
            if run.result is not None:
                found.setdefault(run.manifest.config_digest, []).append(run)
    return found


def same_run(candidates: Sequence[Run], data: DataSection, execution: Execution) -> Run | None:
    """Return the first of these runs of one digest that would come out the same here, bit for bit."""
    for run in candidates:
        there = run.manifest.execution
        if (
            run.manifest.versions.to_json() == versions()
            and all(
                getattr(there, key) == getattr(execution, key)
                for key in ("device", "precision", "mode", "threads")
            )
            and there.devices == execution.devices
            and there.kernels == execution.kernels
            and run.manifest.data.fingerprint == splits_of(data).fingerprint
        ):
            return run
    return None


def _names(plan: Plan) -> list[str]:
    return [job.folder.name for job in plan.jobs] + [run.folder.name for _, run in plan.recorded]


def _require_no_less(folder: Path, names: Sequence[str]) -> None:
    """A comparison may grow; one that lacks runs of the comparison that is there would lose it."""
    before = _manifest_of(folder)
    there = before.runs if before else []
    if lost := [name for name in there if name not in names]:
        raise RunFolderError(
            f"{folder}: holds another comparison; not asked for now: {', '.join(lost[:3])}"
            f"{f' and {len(lost) - 3} more' if len(lost) > 3 else ''}; choose another --name"
        )
