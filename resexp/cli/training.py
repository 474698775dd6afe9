"""Train one net."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from resexp.cli.looking import show_runs
from resexp.cli.options import (
    ConfigOption,
    DataOption,
    JsonOption,
    NameOption,
    RunsDirOption,
    SetOption,
    sets_of,
)
from resexp.cli.printing import note
from resexp.errors import Exit, RunFolderError, UsageError

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
    runs_dir: RunsDirOption = Path("runs"),
    json_: JsonOption = False,
) -> None:
    """Train one net.

    Example: resexp train --config residual56 --set optim.steps=500
    """
    from resexp.config import load
    from resexp.records.admission import admit
    from resexp.records.folder import child, locked
    from resexp.records.run import Run

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
        admission = admit(folder, made, resume=resume is not None)
        if admission == "finished":
            note(f"{folder}: {Run(folder).status} already; nothing to do")
        else:
            _train(folder, made, Run(folder).data_section if admission == "resume" else made.data)
        show_runs([Run(folder)], json_)
        if Run(folder).status == "diverged":
            raise typer.Exit(Exit.DIVERGED)


def _train(folder: Path, config: "Config", data: "DataSection") -> None:
    from resexp.data.splits import load
    from resexp.training.loop import run
    from resexp.training.signals import stop_on_signals
    from resexp.views.progress import display

    with stop_on_signals() as stop, display() as show:
        splits = load(data)
        show.say(f"data: {splits.described}")
        run(config, folder, splits, stop=stop, report=lambda p: show.update(config.name, p), say=show.say)
