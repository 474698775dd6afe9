"""`resexp.train`: train one net."""

from os import PathLike, fspath
from pathlib import Path

from resexp.api.arguments import Sets, words_of
from resexp.api.runs import TrainedRun
from resexp.config.load import load
from resexp.errors import Diverged
from resexp.experiments.single import train_one
from resexp.records.files import child
from resexp.records.lock import locked
from resexp.records.preflight import admit, admit_devices
from resexp.records.run import Run
from resexp.report.progress import display
from resexp.signals import stop_on_interrupt
from resexp.training.extend import extend


def train(
    config: str | PathLike[str],
    *,
    sets: Sets | None = None,
    data: str | None = None,
    name: str | None = None,
    resume: bool = False,
    runs_dir: str | PathLike[str] = "runs",
) -> TrainedRun:
    """Train the net of a config (a file, or a shipped one's name) and return its run.

    sets: keys over the config, e.g. {"optim.steps": 500}. data: short for data.name. resume: go on with the
    run that is there, as `resexp train --resume auto`; a finished one is returned as it is. A run that
    diverges is returned, too: its status says so. The errors are those of the command line, each a
    ResexpError; Ctrl-C saves and raises Interrupted.
    """
    made = load(fspath(config), [*words_of(sets, data), *([f"name={name}"] if name else [])])
    folder = child(Path(runs_dir), made.name)
    with locked(folder):
        admission = admit(folder, made, resume=resume, extend=resume)
        if admission == "finished":
            return TrainedRun(folder)
        admit_devices(folder, None if admission == "new" else 1, 1)
        if admission == "extend":
            made = extend(folder, made.optim.steps)
        section = made.data if admission == "new" else Run(folder).data_section
        with stop_on_interrupt() as stop, display() as show:
            try:
                train_one(made, folder, section, stop=stop, show=show)
            except Diverged as error:
                for line in error.lines:
                    show.say(line)
    return TrainedRun(folder)
