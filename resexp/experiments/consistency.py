"""Consistency of a comparison that goes on: the same images, the same execution, one version."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Literal

from resexp.config import DataSection
from resexp.data.splits import splits_of
from resexp.errors import RunFolderError
from resexp.experiments.plan import Job
from resexp.records.run import Run
from resexp.training.execution import Execution
from resexp.training.resume import recorded_execution, require_same_versions


def as_begun(jobs: Sequence[Job]) -> tuple[list[Job], Execution | None]:
    """Return the jobs with `auto` images as those that began have them, and how these are executed.

    None where none has begun. Raises RunFolderError where two of them began differently.
    """
    begun = _begun(jobs)
    firsts: dict[DataSection, Run] = {}
    for job, run in begun:
        _require_equal("execution", begun[0][1], run)
        _require_equal("versions", begun[0][1], run)
        _require_equal("data", firsts.setdefault(job.config.data, run), run)
    resolved = {
        data: data.model_copy(update={"name": run.manifest.data.name}) for data, run in firsts.items()
    }
    went_on = [job._replace(data=resolved.get(job.config.data, job.data)) for job in jobs]
    return went_on, recorded_execution(begun[0][1]) if begun else None


def require_alike(jobs: Sequence[Job], still_open: Sequence[Job]) -> None:
    """Raise where what is still to be trained would be of other versions or images than what has begun.

    ResourceError (exit 6) for versions, RunFolderError (exit 4) for images.
    """
    began_with = {job.data: run for job, run in _begun(jobs)}
    for run in list(began_with.values())[:1]:
        require_same_versions(run)
    for data in dict.fromkeys(job.data for job in still_open):
        run, now = began_with.get(data), splits_of(data).fingerprint
        if run and run.manifest.data.fingerprint != now:
            raise RunFolderError(
                f"{run.folder}: the images have changed since this run began (fingerprint "
                f"{run.manifest.data.fingerprint[:12]}, now {now[:12]}), so the others could not be "
                "compared with it; restore them, or choose another --name"
            )


def _begun(jobs: Sequence[Job]) -> list[tuple[Job, Run]]:
    """The jobs whose folders have a manifest that can be read; who trains the others says what is wrong."""
    found = []
    for job in jobs:
        if (job.folder / "manifest.json").exists():
            run = Run(job.folder)
            with suppress(RunFolderError):
                _ = run.manifest
                found.append((job, run))
    return found


def _require_equal(what: Literal["data", "execution", "versions"], one: Run, other: Run) -> None:
    first, second = one.manifest.section(what), other.manifest.section(what)
    differing = {
        key: (value, second.get(key))
        for key, value in first.items()
        if key not in ("reason", "label", "classes") and value != second.get(key)
    }
    for key, (there, here) in differing.items():
        raise RunFolderError(
            f"{other.folder}: cannot be compared with {one.folder.name}: {what}.{key} is {_short(here)} here "
            f"and {_short(there)} there; choose another --name"
        )


def _short(value: Any) -> str:
    return str(value)[:12]
