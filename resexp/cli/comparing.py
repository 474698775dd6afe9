"""Compare arms, and show a comparison again."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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
from resexp.cli.printing import print_json

if TYPE_CHECKING:
    from resexp.study.plan import Plan


def compare(
    arms: Annotated[
        list[str], typer.Argument(help="plain, residual, a config, or a finished run's folder, in any mix.")
    ],
    config: ConfigOption = None,
    set_: SetOption = None,
    data: DataOption = None,
    depth: DepthOption = None,
    seeds: SeedsOption = 1,
    vary: Annotated[
        list[str] | None, typer.Option("--vary", help="An axis, e.g. model.norm=none,batch. Repeatable.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the runs, the steps and the time they take; train none.")
    ] = False,
    name: NameOption = None,
    runs_dir: RunsDirOption = Path("runs"),
    json_: JsonOption = False,
) -> None:
    """Train arms under the same conditions and say what differs.

    Without --config this is the quick look: four nets of depth 56, {no norm, batch norm} x arms, 150 steps.

    Example: resexp compare plain residual

    Example: resexp compare plain residual --config he2015 --depth 20,56 --seeds 5 --dry-run
    """
    from resexp.study.plan import make_plan

    plan = make_plan(
        arms,
        runs_dir=runs_dir,
        config=config,
        sets=sets_of(set_, data),
        vary=axes_of(vary, depth),
        num_seeds=seeds,
        name=name,
    )
    if dry_run:
        _show_forecast(plan, json_)
        return
    from resexp.records.admission import admit_kind
    from resexp.records.folder import locked

    with locked(plan.folder):
        admit_kind(plan.folder, "comparison")
        from resexp.study.comparison import run_plan
        from resexp.training.signals import stop_on_signals
        from resexp.views.progress import display

        with stop_on_signals() as stop, display() as show:
            run_plan(plan, command=["resexp", *sys.argv[1:]], stop=stop, show=show)
    _show_comparison(plan.folder, json_)


def _show_forecast(plan: "Plan", as_json: bool) -> None:
    from resexp.study.forecast import forecast
    from resexp.views.forecast_table import forecast_notes, forecast_table
    from resexp.views.terminal import show

    document = forecast(plan)
    if as_json:
        print_json(document)
    else:
        show(forecast_table(document), *forecast_notes(document))


def report(
    folder: Annotated[Path, typer.Argument(help="A comparison's folder.")],
    json_: JsonOption = False,
) -> None:
    """Build a comparison's page and tables again, from what is recorded.

    Example: resexp report runs/compare-1a2b3c4d
    """
    from resexp.views.report import write_report

    write_report(folder)
    _show_comparison(folder, json_)


def _show_comparison(folder: Path, as_json: bool) -> None:
    from resexp.records.run import read_json
    from resexp.views.tables import comparison_table
    from resexp.views.terminal import show

    document = read_json(folder / "comparison.json")
    if as_json:
        print_json(document)
        return
    sentences = [verdict["sentence"] for verdict in document["verdicts"]]
    show(comparison_table(folder), *sentences, f"Report: {folder / 'report.html'}")
