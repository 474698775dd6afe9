"""`resexp export`: a run's or a comparison's record for other tools."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from resexp.cli.completion import run_folders
from resexp.cli.options import JsonOption
from resexp.cli.output import print_json
from resexp.config.yaml_nodes import without_commands


def export(
    folder: Annotated[
        Path, typer.Argument(help="A run's or a comparison's folder.", autocompletion=run_folders)
    ],
    to: Annotated[
        Literal["csv", "parquet", "wandb", "mlflow", "trackio"],
        typer.Option(help="csv and parquet are files; the others are trackers, written locally."),
    ] = "csv",
    out: Annotated[
        Path | None, typer.Option(help="A new folder. Default: export/csv (parquet, ...) in that folder.")
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Write a record for other tools. Settings, results, and every number of every step.

    Nothing leaves this machine: what a tracker could upload, it uploads when you tell it to.

    Example: resexp export runs/residual56 --to csv

    Example: resexp export runs/compare-1a2b3c4d --to parquet --out for-pandas
    """
    from resexp.report.export import export_runs, require
    from resexp.report.export.course import exported

    require(to)
    place = out or folder / "export" / to
    runs = exported(folder)
    how = export_runs(runs, to, place, project=folder.resolve().name)
    if json_:
        print_json({"folder": str(place), "runs": [run.name for run in runs], "look": how})
    else:
        print(without_commands(f"{place}: {len(runs)} run{'s' * (len(runs) != 1)}. To look at it: {how}"))
