"""A run as read from its folder, by whoever did not train it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from resexp.config import Config, DataSection
from resexp.config.load import load
from resexp.errors import RunFolderError, UsageError
from resexp.records.lock import is_locked

NEEDED_OF_MANIFEST: dict[tuple[str, ...], type] = {
    ("config_digest",): str,
    ("data", "name"): str,
    ("data", "label"): str,
    ("data", "num_classes"): int,
    ("data", "fingerprint"): str,
    ("execution", "device"): str,
    ("execution", "precision"): str,
    ("execution", "mode"): str,
    ("execution", "threads"): int,
    ("execution", "reason"): str,
    ("versions", "resexp"): str,
    ("versions", "torch"): str,
    ("layers",): list,
    ("parameters",): int,
}
"""What a manifest must hold for the run to go on or be compared."""

NEEDED_OF_RESULT: dict[str, tuple[type, ...]] = {
    "status": (str,),
    "steps": (int,),
    "final_loss": (int, float, type(None)),
    "loss_area": (int, float, type(None)),
    "train_accuracy": (int, float, type(None)),
    "test_accuracy": (int, float, type(None)),
    "gradient": (dict, type(None)),
    "transport": (dict,),
    "curve": (dict,),
}

Status = Literal["finished", "diverged", "running", "unfinished"]


def read_json(path: Path) -> dict[str, Any]:
    """Return one JSON object. Raises RunFolderError when the file is missing or is something else."""
    try:
        value = json.loads(_content(path))
    except OSError as error:
        raise RunFolderError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise RunFolderError(f"{path}: damaged, not JSON ({error})") from error
    if not isinstance(value, dict):
        raise RunFolderError(f"{path}: damaged, not a JSON object")
    return value


def _content(path: Path) -> bytes:
    """What is in a file. A pipe or a device is refused: it might never end."""
    if path.exists() and not path.is_file():
        raise RunFolderError(f"{path}: not a regular file")
    return path.read_bytes()


def read_lines(path: Path, *, holding: bytes = b"") -> list[dict[str, Any]]:
    """Return the rows of a JSON lines file; a last line cut by a kill is left out, no file gives none.

    holding: only lines with these bytes are looked at.
    """
    try:
        content = _content(path)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunFolderError(f"{path}: {error.strerror}") from error
    try:
        rows = [json.loads(line) for line in content.split(b"\n")[:-1] if holding in line]
    except (ValueError, RecursionError) as error:
        raise RunFolderError(f"{path}: damaged, not JSON lines ({error})") from error
    if not all(isinstance(row, dict) for row in rows):
        raise RunFolderError(f"{path}: damaged, a line is not a JSON object")
    return rows


@dataclass(frozen=True)
class Run:
    """One run folder. Parts are read when they are asked for; each may raise RunFolderError."""

    folder: Path

    @cached_property
    def manifest(self) -> dict[str, Any]:
        path = self.folder / "manifest.json"
        manifest = read_json(path)
        if manifest.get("kind") != "run":
            raise RunFolderError(f"{self.folder}: not a run (manifest.json says {manifest.get('kind')!r})")
        for (*sections, key), kind in NEEDED_OF_MANIFEST.items():
            part: Any = manifest
            for section in sections:
                part = part.get(section) if isinstance(part, dict) else None
            if not isinstance(part, dict) or not isinstance(part.get(key), kind):
                raise RunFolderError(
                    f"{path}: damaged, {'.'.join([*sections, key])} is missing or no {kind.__name__}"
                )
        return manifest

    @cached_property
    def config(self) -> Config:
        try:
            return load(self.folder / "config.yaml", [])
        except UsageError as error:
            raise RunFolderError(*error.lines) from error

    @property
    def data_section(self) -> DataSection:
        """The images it began with: the config's, with `auto` as it was resolved then."""
        name = self.manifest["data"]["name"]
        return self.config.data.model_copy(update={"name": name})

    @cached_property
    def result(self) -> dict[str, Any] | None:
        """The summary, or None while the run has not ended."""
        path = self.folder / "result.json"
        if not path.exists():
            return None
        result = read_json(path)
        for key, kinds in NEEDED_OF_RESULT.items():
            if key not in result or not isinstance(result[key], kinds):
                raise RunFolderError(f"{path}: damaged, {key} is missing or of another kind")
        return result

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        return read_lines(self.folder / "metrics.jsonl")

    @cached_property
    def profile(self) -> list[dict[str, Any]]:
        return read_lines(self.folder / "profile.jsonl")

    @cached_property
    def timing(self) -> list[dict[str, Any]]:
        return read_lines(self.folder / "timing.jsonl")

    def rows(self, kind: str) -> list[dict[str, Any]]:
        """Return the rows of metrics.jsonl of one kind: step, evaluation, fault.

        The others are not parsed: a step's row has three numbers for each layer, and there are many of them.
        """
        rows = read_lines(self.folder / "metrics.jsonl", holding=f'"{kind}"'.encode())
        return [row for row in rows if row.get("kind") == kind]

    @property
    def status(self) -> Status:
        if self.result is not None:
            return "diverged" if self.result.get("status") == "diverged" else "finished"
        return "running" if is_locked(self.folder) else "unfinished"

    @property
    def images_per_second(self) -> float | None:
        """Median over the recorded spans, None before the first."""
        speeds = sorted(row["images_per_second"] for row in self.timing)
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
