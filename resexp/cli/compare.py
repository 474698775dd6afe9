"""`resexp compare` and `report`: compare arms, and show a comparison again."""

import importlib.util
import os
import sys
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from resexp.cli.completion import arm_names, run_folders
from resexp.cli.options import (
    ConfigOption,
    DataOption,
    DepthOption,
    JsonOption,
    NameOption,
    RunsDirOption,
    SeedsOption,
    SetOption,
    axes_of,
    sets_of,
)
from resexp.cli.output import note, print_json
from resexp.errors import RunFolderError, UsageError

if TYPE_CHECKING:
    from resexp.experiments.executors import Executor
    from resexp.experiments.plan import Plan


def compare(
    arms: Annotated[
        list[str] | None,
        typer.Argument(
            help="plain, residual, a config, or a finished run's folder, in any mix.",
            autocompletion=arm_names,
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            "--arms", help="In place of arms: the key in which they differ, e.g. model.order=pre,post."
        ),
    ] = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    data: DataOption = None,
    depth: DepthOption = None,
    seeds: SeedsOption = 1,
    vary: Annotated[
        list[str] | None, typer.Option("--vary", help="An axis, e.g. model.norm=none,batch. Repeatable.")
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="The quick look's long form: depth 56, minutes in place of one.")
    ] = False,
    best_of: Annotated[
        str | None,
        typer.Option(
            "--best-of",
            help="A key, e.g. optim.lr=0.01,0.03,0.1: compare at the best value, by validation loss on "
            "separate seeds; an arm's own where that is clearly better.",
        ),
    ] = None,
    best_of_seeds: Annotated[
        int, typer.Option("--best-of-seeds", min=2, max=1000, help="With --best-of: seeds of the search.")
    ] = 3,
    until: Annotated[
        Literal["resolved"] | None,
        typer.Option(help="resolved: add seeds until the arms are told apart, by looks planned beforehand."),
    ] = None,
    max_seeds: Annotated[
        int, typer.Option("--max-seeds", min=5, max=1000, help="With --until: the last look's seeds.")
    ] = 20,
    shard: Annotated[
        str | None,
        typer.Option(help="K/N, e.g. 3/8: train this part of the runs and compare nothing, for job arrays."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the runs, the steps and the time they take; train none.")
    ] = False,
    executor: Annotated[
        Literal["local", "ray"],
        typer.Option(help="Where runs are trained: this machine, or a Ray cluster."),
    ] = "local",
    ray_address: Annotated[
        str | None,
        typer.Option(
            help="HOST:PORT of a running cluster, or auto. Default: Ray is started here for the time."
        ),
    ] = None,
    gpus_per_run: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="With Ray, e.g. 0.25: four runs share a GPU. Default: 1, if any."),
    ] = None,
    name: NameOption = None,
    runs_dir: RunsDirOption = Path("runs"),
    json_: JsonOption = False,
) -> None:
    """Train arms under the same conditions and say what differs.

    Without --config this is the quick look: four nets of depth 20, {no norm, batch norm} x arms, a minute of
    training; with --full at depth 56.

    Example: resexp compare plain residual

    Example: resexp compare plain residual --full

    Example: resexp compare plain residual --config plain20 --until resolved --max-seeds 20

    Example: resexp compare --arms model.order=pre,post --set model.depth=56

    Example: resexp compare plain residual --best-of optim.lr=0.01,0.03,0.1 --set model.norm=batch --seeds 10

    Example: resexp compare plain residual --config he2015 --depth 20,56 --seeds 5 --dry-run

    Example: resexp compare plain residual --config he2015 --seeds 10 --shard 3/8

    Example: resexp compare plain residual --config he2015 --seeds 10 --executor ray --ray-address auto
    """
    _check_place(executor, ray_address, gpus_per_run)
    if shard and (until or best_of or dry_run or executor != "local"):
        raise UsageError("--shard goes without --until, --best-of, --dry-run and --executor ray")
    from resexp.analysis.looks import schedule
    from resexp.experiments.plan import make_plan

    counts = schedule(seeds, max_seeds) if until else [seeds]
    arguments: dict[str, Any] = {
        "runs_dir": runs_dir,
        "config": config,
        "sets": sets_of(set_, data),
        "vary": axes_of(vary, depth),
        "full": full,
        "by": axes_of([by], None, "--arms") if by else None,
    }
    search = None
    if best_of:
        from resexp.experiments.best_of import search_of

        ((key, values),) = axes_of([best_of], None, "--best-of").items()
        search = search_of(key, values, best_of_seeds, arms or [], **arguments)
    plan_with = search.grid if search else partial(make_plan, arms or [], **arguments)
    plan = plan_with(num_seeds=counts[-1] if dry_run else counts[0], name=name)
    if dry_run:
        _show_forecast(search.forecast(plan) if search else plan, counts if until else [], json_)
        return
    if shard:
        _train_shard(plan, shard, json_)
        return
    from resexp.records.lock import locked
    from resexp.records.preflight import admit_kind

    with locked(plan.folder):
        admit_kind(plan.folder, "comparison")
        from resexp.experiments.until import run_comparison
        from resexp.report.progress import display
        from resexp.signals import stop_on_signals

        with stop_on_signals() as stop, display() as show:
            failed = run_comparison(
                plan.folder,
                plan_with,
                counts,
                search,
                until=until is not None,
                executor=partial(_place, executor, ray_address, gpus_per_run),
                command=["resexp", *sys.argv[1:]],
                stop=stop,
                show=show,
            )
    _show_comparison(plan.folder, json_)
    if failed:
        raise failed


def _train_shard(plan: "Plan", text: str, as_json: bool) -> None:
    from resexp.experiments.compare import run_plan
    from resexp.experiments.executors.local import local
    from resexp.experiments.shard import parse_shard
    from resexp.report.progress import display
    from resexp.signals import stop_on_signals

    shard = parse_shard(text)
    with stop_on_signals() as stop, display() as show:
        command = ["resexp", *sys.argv[1:]]
        failed = run_plan(plan, executor=local(), command=command, stop=stop, show=show, shard=shard)
    if as_json:
        print_json({"folder": str(plan.folder), "shard": str(shard)})
    else:
        whole = f"once all {shard.of} have, the same command without --shard compares"
        print(f"{plan.folder}: shard {shard} has ended; {whole}")
    if failed:
        raise failed


def _check_place(executor: str, ray_address: str | None, gpus_per_run: float | None) -> None:
    if executor == "ray" and importlib.util.find_spec("ray") is None:
        raise UsageError("--executor ray needs Ray, which is not installed: pip install 'resexp[ray]'")
    if executor == "local" and (ray_address is not None or gpus_per_run is not None):
        raise UsageError("--ray-address and --gpus-per-run go with --executor ray")


def _place(
    executor: str, ray_address: str | None, gpus_per_run: float | None
) -> "AbstractContextManager[Executor]":
    if executor == "ray":
        from resexp.experiments.executors.ray import HERE, on_ray

        return on_ray(ray_address or os.environ.get("RAY_ADDRESS") or HERE, gpus_per_run)
    from resexp.experiments.executors.local import local

    return local()


def _show_forecast(plan: "Plan", looks: list[int], as_json: bool) -> None:
    from resexp.experiments.dry_run import forecast
    from resexp.report.terminal import forecast_notes, forecast_table, show

    note("measuring a step of each kind of net")
    document = {**forecast(plan), **({"looks": looks} if looks else {})}
    if as_json:
        print_json(document)
    else:
        show(forecast_table(document), *forecast_notes(document))


def report(
    folder: Annotated[Path, typer.Argument(help="A comparison's folder.", autocompletion=run_folders)],
    json_: JsonOption = False,
) -> None:
    """Build a comparison's page again. Its tables, too, from what is recorded.

    Example: resexp report runs/compare-1a2b3c4d
    """
    from resexp.records.preflight import named
    from resexp.records.run import read_folder_manifest
    from resexp.report.comparison_page import write_report

    manifest = folder / "manifest.json"
    kind = read_folder_manifest(manifest).kind if manifest.exists() else "comparison"
    if kind != "comparison":
        raise RunFolderError(f"{folder}: holds {named(kind)}, not a comparison")
    note(*write_report(folder))
    _show_comparison(folder, json_)


def _show_comparison(folder: Path, as_json: bool) -> None:
    from resexp.records.run import read_json
    from resexp.report.comparison_data import best_of, read_comparison
    from resexp.report.findings import comparison_lines
    from resexp.report.search import search_lines
    from resexp.report.tables import comparison_table
    from resexp.report.terminal import show

    if as_json:
        print_json(read_json(folder / "comparison.json"))
        return
    lines = [*search_lines(best_of(folder)), *comparison_lines(*read_comparison(folder))]
    show(
        comparison_table(folder),
        *lines,
        "",
        f"The page, with the numbers behind each: {folder / 'report.html'}",
    )
