"""Preflight: whether a folder may be trained in; an existing run is never overwritten."""

from pathlib import Path
from typing import Literal

from resexp.config import Config, differing_keys, write
from resexp.config.imports import imported
from resexp.errors import ResourceError, RunFolderError, UsageError
from resexp.records.files import disk_errors
from resexp.records.run import Run, read_folder_manifest
from resexp.records.together import complete

OTHER_NAME = "choose another --name"
Admission = Literal["new", "resume", "finished", "extend"]


def admit(folder: Path, config: Config, *, resume: bool, extend: bool = False) -> Admission:
    """Say what is to be done in `folder`, whose lock is held. Raises RunFolderError where nothing may be.

    extend: whether a run of fewer steps may become this one. The manifest is written last of what a start
    writes, so a folder without one holds nothing yet.
    """
    if not (folder / "manifest.json").exists():
        _refuse_foreign(folder, "run", write(config).encode())
        return "new"
    complete(folder)
    run = Run(folder)
    began_with = run.manifest.config_digest
    if differences := differing_keys(run.config, config):
        longer = [key for key, *_ in differences] == [
            "optim.steps"
        ] and run.config.optim.steps < config.optim.steps
        if longer and extend:
            _require_same_sources(folder, run)
            return "extend"
        keys = ", ".join(f"{key} ({old!r} there, {new!r} asked)" for key, old, new in differences)
        mend = "choose another --name" + (", or go on with `train --resume auto`" if longer else "")
        raise RunFolderError(f"{folder}: holds another experiment: {keys}; {mend}")
    _require_same_sources(folder, run)
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


def _require_same_sources(folder: Path, run: Run) -> None:
    """Raise RunFolderError where the source of a plug-in is not that with which the run began."""
    for plugin in run.manifest.plugins:
        if plugin.sha256 != (now := imported(plugin.path).sha256):
            raise RunFolderError(
                f"{folder}: the source of {plugin.key} {plugin.path} has changed since this run began "
                f"(SHA-256 {plugin.sha256[:12]} there, {now[:12]} now); restore it, or start a new run with "
                "another --name"
            )


def admit_devices(folder: Path, asked: int | None, ranks: int) -> int:
    """Return on how many devices the run is trained: as many as it began with, else as asked, else one.

    `ranks`: the processes that torchrun has started, 1 without it. Raises UsageError where these are not what
    was asked, ResourceError (exit 6) where either is not what the run began with.
    """
    if ranks > 1:
        if asked not in (None, ranks):
            raise UsageError(f"--devices {asked}, but torchrun has started {ranks}; leave --devices out")
        asked = ranks
    if not (folder / "manifest.json").exists():
        return asked or 1
    began_with = Run(folder).manifest.execution.devices
    if asked not in (None, began_with):
        raise ResourceError(
            f"{folder}: began with --devices {began_with}, {asked} asked; bits would differ: "
            "leave --devices out to go on as it began, or choose another --name"
        )
    return began_with


def admit_kind(folder: Path, kind: str, question: str | None = None, *, mend: str = OTHER_NAME) -> None:
    """Raise RunFolderError where `folder`, whose lock is held, holds something else than a `kind`.

    question: what names what was asked; the answer to another one is not overwritten. mend: what to do then.
    """
    manifest = folder / "manifest.json"
    if not manifest.exists():
        _refuse_foreign(folder, kind, mend=mend)
        return
    found = read_folder_manifest(manifest)
    if found.kind is None:
        raise RunFolderError(f"{folder}: its manifest.json is not {named(kind)}'s; {mend}")
    if found.kind != kind:
        raise RunFolderError(f"{folder}: holds {named(found.kind)}, not {named(kind)}; {mend}")
    if question is not None and found.question != question:
        raise RunFolderError(f"{folder}: holds what another command measured ({found.command}); {mend}")


def named(kind: object) -> str:
    """Return what a manifest's kind is called in a sentence."""
    return {"gradients": "a table of gradients", "doctor": "a net's diagnosis"}.get(str(kind), f"a {kind}")


def _refuse_foreign(folder: Path, kind: str, config: bytes | None = None, mend: str = OTHER_NAME) -> None:
    """Raise RunFolderError for what no start leaves that was killed before it wrote its manifest."""
    with disk_errors(folder):
        for path in sorted(folder.iterdir()):
            ours = path.name == "lock" or path.name.startswith(".")
            # It would be overwritten, and somebody's own must not be.
            same = path.name == "config.yaml" and path.is_file() and path.read_bytes() == config
            if not (ours or same):
                raise RunFolderError(f"{folder}: not a {kind} folder (it holds {path.name}); {mend}")
