"""Whether a folder may be trained in: an existing run is never overwritten."""

from pathlib import Path
from typing import Literal

from resexp.config import Config, differing_keys, write
from resexp.errors import RunFolderError
from resexp.records.run import Run

Admission = Literal["new", "resume", "finished"]


def admit(folder: Path, config: Config, *, resume: bool) -> Admission:
    """Say what is to be done in `folder`, whose lock is held. Raises RunFolderError where nothing may be.

    The manifest is written last of what a start writes, so a folder without one holds nothing yet.
    """
    if not (folder / "manifest.json").exists():
        foreign = sorted(path.name for path in folder.iterdir() if not _left_by_a_start(path, config))
        if foreign:
            raise RunFolderError(f"{folder}: not a run folder (it holds {foreign[0]}); choose another --name")
        return "new"
    run = Run(folder)
    began_with = run.manifest["config_digest"]
    if differences := differing_keys(run.config, config):
        keys = ", ".join(f"{key} ({old!r} there, {new!r} asked)" for key, old, new in differences)
        raise RunFolderError(f"{folder}: holds another experiment: {keys}; choose another --name")
    if began_with != config.digest():
        raise RunFolderError(
            f"{folder}/config.yaml: changed since the run began (digest {config.digest()[:12]}, "
            f"manifest.json says {began_with[:12]}); restore it, or start a new run with another --name"
        )
    if run.result is not None:
        return "finished"
    if not resume:
        raise RunFolderError(f"{folder}: unfinished; add --resume auto to go on, or choose another --name")
    return "resume"


def _left_by_a_start(path: Path, config: Config) -> bool:
    """Whether a start that was killed before its manifest leaves this, or it is none of our business."""
    if path.name == "config.yaml":  # it would be overwritten: somebody's own is not
        return path.is_file() and path.read_bytes() == write(config).encode()
    return path.name == "lock" or path.name.startswith(".")
