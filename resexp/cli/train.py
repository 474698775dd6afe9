"""`resexp train`: train one net."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from resexp.cli.options import (
    ConfigOption,
    DataOption,
    JsonOption,
    NameOption,
    RunsDirOption,
    SetOption,
    sets_of,
)
from resexp.cli.output import note
from resexp.cli.runs import show_runs
from resexp.errors import Diverged, Exit, RunFolderError, UsageError

if TYPE_CHECKING:
    from resexp.config import Config, DataSection


def train(
    config: ConfigOption = None,
    set_: SetOption = None,
    data: DataOption = None,
    name: NameOption = None,
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume",
            help="A run folder to go on with; or `auto`: the one this config belongs to, if it is there.",
        ),
    ] = None,
    devices: Annotated[
        int | None,
        typer.Option(
            "--devices",
            min=1,
            max=1024,
            help="How many devices of this machine train together, each in a process with a slice of every "
            "batch. Default: as the run began, else 1.",
        ),
    ] = None,
    trace: Annotated[
        int,
        typer.Option("--trace", min=0, max=50, help="First trace so many steps, for Perfetto: trace.json."),
    ] = 0,
    runs_dir: RunsDirOption = Path("runs"),
    json_: JsonOption = False,
) -> None:
    """Train one net.

    Example: resexp train --config residual56 --set optim.steps=500

    Example: resexp train --config residual20 --trace 10

    On 4 GPUs: resexp train --config residual56 --devices 4. On several machines, on each of them: torchrun
    --nnodes 2 --nproc-per-node 4 --rdzv-backend c10d --rdzv-endpoint HOST:29400 -m resexp train --config ...
    """
    from resexp.config.load import load
    from resexp.records.files import child
    from resexp.records.lock import locked
    from resexp.records.preflight import admit, admit_devices
    from resexp.records.run import Run
    from resexp.training.distributed.rank import this_rank

    here = this_rank()
    if here.rank:
        from resexp.training.worker import follow

        raise typer.Exit(follow(here))
    sets = sets_of(set_, data)
    if resume not in (None, "auto"):
        if config or sets or name:
            raise UsageError(
                "train --resume RUN goes on with that run as it is: no --config, --set, --data or --name"
            )
        folder = Path(resume)
        if not os.path.isfile(folder / "config.yaml"):  # False, too, where one may not look
            raise RunFolderError(
                f"{folder}: no run to go on with, it holds no config.yaml; see `resexp runs`"
            )
        made = Run(folder).config
    else:
        if config is None:
            raise UsageError(
                "train needs --config FILE (or a shipped name, see `resexp configs`), or --resume RUN"
            )
        made = load(config, [*sets, *([f"name={name}"] if name else [])])
        folder = child(runs_dir, made.name)
    with locked(folder):
        admission = admit(folder, made, resume=resume is not None, extend=resume == "auto")
        num = admit_devices(folder, devices, here.size)
        if trace and num > 1:
            raise UsageError("--trace traces one process: leave --devices out")
        launching = admission != "finished" and num > here.size
        if admission == "finished":
            note(f"{folder}: {Run(folder).status} already; nothing to do{', or to trace' * bool(trace)}")
        elif launching:
            _check(folder, made, num)
        else:
            if admission == "extend":
                made = _extended(folder, made.optim.steps)
            try:
                _train(folder, made, made.data if admission == "new" else Run(folder).data_section, trace)
            except Diverged:
                show_runs([Run(folder)], json_)
                raise
        if not launching:
            show_runs([Run(folder)], json_)
            if Run(folder).status == "diverged":
                raise typer.Exit(Exit.DIVERGED)
    if launching:  # now that rank 0 can have the lock
        from resexp.training.distributed.launch import launch

        raise typer.Exit(launch(num, sys.argv[1:]))


def _check(folder: Path, config: "Config", devices: int) -> None:
    """Raise what every rank would."""
    from resexp.training.distributed.rank import Rank
    from resexp.training.resume import execution_of

    execution_of(config, folder, None, Rank(size=devices, local_size=devices))


def _extended(folder: Path, steps: int) -> "Config":
    from resexp.records.run import Run
    from resexp.training.extend import extend

    before = Run(folder).config.optim.steps
    extended = extend(folder, steps)
    note(f"{folder}: of {before:,} steps, goes on to {steps:,}")
    return extended


def _train(folder: Path, config: "Config", data: "DataSection", trace: int) -> None:
    from resexp.experiments.single import train_one
    from resexp.report.progress import display
    from resexp.signals import stop_on_signals
    from resexp.training.distributed.process_group import joined
    from resexp.training.distributed.rank import this_rank

    with joined(this_rank(), str(folder)) as group, stop_on_signals() as stop, display() as show:
        train_one(config, folder, data, stop=stop, show=show, group=group, trace=trace)
