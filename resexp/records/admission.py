"""Whether a folder may be trained in: an existing run is never overwritten."""

from pathlib import Path
from typing import Literal

from resexp.config import Config, differing_keys
from resexp.errors import RunFolderError
from resexp.records.run import Run

Admission = Literal["new", "resume", "finished"]
OURS = {"lock", "config.yaml", "checkpoints"}


def admit(folder: Path, config: Config, *, resume: bool) -> Admission:
    """Say what is to be done in `folder`, whose lock is held. Raises RunFolderError (exit 4) where nothing may.

    The manifest is written last of what a start writes, so a folder without one holds nothing yet.
    """
    if not (folder / "manifest.json").exists():
        foreign = [path.name for path in folder.iterdir() if path.name not in OURS and path.name[0] != "."]
        if foreign:
            raise RunFolderError(f"{folder}: not a run folder (it holds {foreign[0]}); choose another --name")
        return "new"
    run = Run(folder)
    if differences := differing_keys(run.config, config):
        keys = ", ".join(f"{key} ({old!r} there, {new!r} asked)" for key, old, new in differences)
        raise RunFolderError(f"{folder}: holds another experiment: {keys}; choose another --name")
    if run.result is not None:
        return "finished"
    if not resume:
        raise RunFolderError(f"{folder}: unfinished; add --resume auto to go on, or choose another --name")
    return "resume"
