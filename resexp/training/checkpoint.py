"""Checkpoints: whole or not there, checked before they are believed, the last two kept."""

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from resexp.errors import RunFolderError
from resexp.records.folder import disk_errors, ensure, write_atomic

KEPT = 2


def _digest_of(path: Path) -> Path:
    return path.with_suffix(".sha256")


def saved(folder: Path) -> list[Path]:
    """Return the checkpoints in `folder`, oldest first."""
    return sorted(folder.glob("step-*.pt"))


def save(folder: Path, state: Mapping[str, Any]) -> Path:
    """Write `state` (tensors and plain values, with its `step`) and prune to the last two.

    The digest is written first: a checkpoint whose digest is missing or differs is not believed, so a kill
    between the two writes leaves the one before as the newest.
    """
    ensure(folder)
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    content = buffer.getvalue()
    path = folder / f"step-{state['step']:010d}.pt"
    write_atomic(_digest_of(path), f"{hashlib.sha256(content).hexdigest()}\n".encode())
    write_atomic(path, content)
    prune(folder)
    return path


def prune(folder: Path) -> None:
    """Delete all but the newest two checkpoints, and what a kill left of older ones."""
    keep = {file for path in saved(folder)[-KEPT:] for file in (path, _digest_of(path))}
    with disk_errors(folder):
        for file in folder.glob("step-*"):
            if file not in keep:
                file.unlink(missing_ok=True)


def read(path: Path) -> dict[str, Any]:
    """Return a checkpoint. Raises RunFolderError when its bytes are not those that were written."""
    with disk_errors(path):
        content = path.read_bytes()
    digest = _digest_of(path)
    if not digest.exists() or digest.read_text().strip() != hashlib.sha256(content).hexdigest():
        raise RunFolderError(f"{path}: damaged, its SHA-256 is not the one beside it")
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def newest(folder: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """Return the newest sound checkpoint, or None, and a line for each newer one that is damaged."""
    damaged = []
    for path in reversed(saved(folder)):
        try:
            return read(path), damaged
        except RunFolderError as error:
            damaged += error.lines
    return None, damaged
