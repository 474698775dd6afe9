"""A run as read from its folder, by whoever did not train it."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeVar, overload

from pydantic import TypeAdapter, ValidationError

from resexp.config import Config, DataSection
from resexp.config.load import load
from resexp.errors import RunFolderError, UsageError
from resexp.records.lock import is_locked
from resexp.records.manifest import FolderManifest, Manifest
from resexp.records.record import first_fault
from resexp.records.schema import (
    EvaluationRow,
    FaultRow,
    MetricsRow,
    ProbeRow,
    ProfileRow,
    RunResult,
    StepRow,
    TimingRow,
)

_Rows = TypeVar("_Rows")
Status = Literal["finished", "diverged", "running", "unfinished"]


def read_json(path: Path) -> dict[str, Any]:
    """Return one JSON object. Raises RunFolderError when the file is missing or is something else."""
    try:
        with _opened(path) as file:
            value = json.loads(file.read())
    except OSError as error:
        raise RunFolderError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise RunFolderError(f"{path}: damaged, not JSON ({error})") from error
    if not isinstance(value, dict):
        raise RunFolderError(f"{path}: damaged, not a JSON object")
    return value


def _opened(path: Path) -> BinaryIO:
    """A file, to be read. A pipe or a device is refused: it might never end."""
    if path.exists() and not path.is_file():
        raise RunFolderError(f"{path}: not a regular file")
    return path.open("rb")


def stream_lines(path: Path, *, holding: bytes = b"") -> Iterator[dict[str, Any]]:
    """Yield the rows of a JSON lines file, one at a time; else as `read_lines`."""
    try:
        with _opened(path) as file:
            for line in file:
                if holding in line and line.endswith(b"\n"):
                    yield _row(path, line)
    except FileNotFoundError:
        return
    except OSError as error:
        raise RunFolderError(f"{path}: {error.strerror}") from error


def _row(path: Path, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RunFolderError(f"{path}: damaged, not JSON lines ({error})") from error
    if not isinstance(row, dict):
        raise RunFolderError(f"{path}: damaged, a line is not a JSON object")
    return row


def read_lines(path: Path, *, holding: bytes = b"") -> list[dict[str, Any]]:
    """Return the rows of a JSON lines file; a last line cut by a kill is left out, no file gives none.

    holding: only lines with these bytes are looked at. Raises RunFolderError for what is no JSON object.
    """
    return list(stream_lines(path, holding=holding))


def read_folder_manifest(path: Path) -> FolderManifest:
    """Return the manifest.json of what is no run. Raises RunFolderError."""
    try:
        return FolderManifest.model_validate(read_json(path))
    except ValidationError as error:
        raise RunFolderError(
            f"{path}: damaged, {first_fault(FolderManifest, error)[0]} is of another kind"
        ) from error


_METRICS: TypeAdapter[list[StepRow | EvaluationRow | FaultRow]] = TypeAdapter(list[MetricsRow])
_PROFILE = TypeAdapter(list[ProfileRow])
_PROBED = TypeAdapter(list[ProbeRow])
_TIMING = TypeAdapter(list[TimingRow])


def stream_metrics(path: Path) -> Iterator[StepRow | EvaluationRow | FaultRow]:
    """Yield the rows of a metrics.jsonl, one at a time. Raises RunFolderError as `read_lines` does."""
    return (_typed(path, _METRICS, [row])[0] for row in stream_lines(path))


def read_probed(path: Path) -> list[ProfileRow | ProbeRow]:
    """Return the rows of a profile.jsonl, those of the gradient profile as ProfileRow."""
    return [
        _typed(path, _PROBED, [row])[0] if "probe" in row else _typed(path, _PROFILE, [row])[0]
        for row in read_lines(path)
    ]


def read_profile(path: Path) -> list[ProfileRow]:
    """Return the gradient profile's rows of a profile.jsonl: those that name no other probe."""
    return _typed(path, _PROFILE, [row for row in read_lines(path) if "probe" not in row])


def _typed(path: Path, adapter: TypeAdapter[_Rows], rows: list[dict[str, Any]]) -> _Rows:
    try:
        return adapter.validate_python(rows)
    except ValidationError as error:
        _, *keys = error.errors(include_url=False, include_input=False)[0]["loc"] or (0,)
        where = ".".join(str(key) for key in keys)
        raise RunFolderError(f"{path}: damaged, {where} is missing or of another kind") from error


@dataclass(frozen=True)
class Run:
    """One run folder. Parts are read when they are asked for; each may raise RunFolderError."""

    folder: Path

    @cached_property
    def manifest(self) -> Manifest:
        path = self.folder / "manifest.json"
        document = read_json(path)
        if document.get("kind") != "run":
            raise RunFolderError(f"{self.folder}: not a run (manifest.json says {document.get('kind')!r})")
        try:
            return Manifest.model_validate(document)
        except ValidationError as error:
            key, kind = first_fault(Manifest, error)
            raise RunFolderError(f"{path}: damaged, {key} is missing or no {kind}") from error

    @cached_property
    def config(self) -> Config:
        try:
            return load(self.folder / "config.yaml", [], recorded=True)
        except UsageError as error:
            raise RunFolderError(*error.lines) from error

    @property
    def data_section(self) -> DataSection:
        """The images it began with: the config's, with `auto` as it was resolved then."""
        name = self.manifest.data.name  # first: without a manifest the folder is no run of ours
        return self.config.data.model_copy(update={"name": name})

    @cached_property
    def result(self) -> RunResult | None:
        """The summary, or None while the run has not ended."""
        path = self.folder / "result.json"
        if not path.exists():
            return None
        try:
            return RunResult.model_validate(read_json(path))
        except ValidationError as error:
            key = first_fault(RunResult, error)[0].partition(".")[0]
            raise RunFolderError(f"{path}: damaged, {key} is missing or of another kind") from error

    @cached_property
    def metrics(self) -> list[StepRow | EvaluationRow | FaultRow]:
        """All rows of metrics.jsonl; of a long run they are many, which `stream_metrics` never holds."""
        return list(stream_metrics(self.folder / "metrics.jsonl"))

    @cached_property
    def profile(self) -> list[ProfileRow]:
        """The rows of the gradient profile."""
        return read_profile(self.folder / "profile.jsonl")

    @cached_property
    def probed(self) -> list[ProbeRow]:
        """The rows of all other probes."""
        return [row for row in read_probed(self.folder / "profile.jsonl") if not isinstance(row, ProfileRow)]

    @cached_property
    def timing(self) -> list[TimingRow]:
        path = self.folder / "timing.jsonl"
        return _typed(path, _TIMING, read_lines(path))

    @overload
    def rows(self, kind: Literal["step"]) -> list[StepRow]: ...
    @overload
    def rows(self, kind: Literal["evaluation"]) -> list[EvaluationRow]: ...
    @overload
    def rows(self, kind: Literal["fault"]) -> list[FaultRow]: ...
    def rows(self, kind: str) -> Sequence[StepRow | EvaluationRow | FaultRow]:
        """Return the rows of metrics.jsonl of one kind.

        The others are not parsed: a step's row has three numbers for each layer, and there are many of them.
        """
        path = self.folder / "metrics.jsonl"
        rows = read_lines(path, holding=f'"{kind}"'.encode())
        return _typed(path, _METRICS, [row for row in rows if row.get("kind") == kind])

    @property
    def status(self) -> Status:
        if self.result is not None:
            return "diverged" if self.result.status == "diverged" else "finished"
        return "running" if is_locked(self.folder) else "unfinished"

    @property
    def images_per_second(self) -> float | None:
        """Median over the recorded spans, None before the first."""
        speeds = sorted(row.images_per_second for row in self.timing)
        return speeds[len(speeds) // 2] if speeds else None


def scan(root: Path) -> Iterator[tuple[Run, RunFolderError | None]]:
    """Yield every run below `root`, in order of name, with what is wrong with it or None.

    Folders without a manifest are not ours and are passed over; a damaged one never hides the others.
    """
    for path in sorted(root.glob("**/manifest.json")):
        run = Run(path.parent)
        try:
            kind = read_json(path).get("kind")
            if kind is None:
                raise RunFolderError(f"{path}: damaged, it does not say what the folder holds (kind)")
            if kind != "run":
                continue
            _ = run.config, run.result, run.status
        except RunFolderError as error:
            yield run, error
        else:
            yield run, None
