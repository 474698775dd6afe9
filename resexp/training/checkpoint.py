"""Checkpoints: whole or not there, checked before they are believed, the last two kept, and the best."""

import hashlib
import io
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from resexp.errors import RunFolderError
from resexp.models.resnet import Network, build
from resexp.records.files import disk_errors, sync_folder, write_atomic
from resexp.records.run import Run

KEPT = {"step": 2, "best": 1}
DIGITS = 10
CHECKPOINT_PARTS = {"step", "net", "momentum", "journal"}


class DamagedError(RunFolderError):
    """A checkpoint whose bytes are not those that were written."""


def digest_of(path: Path) -> Path:
    """Return where the digest of a checkpoint stands."""
    return path.with_suffix(".sha256")


def path_of(folder: Path, step: int, kind: str = "step") -> Path:
    """Return where the checkpoint after `step` updates stands."""
    return folder / f"{kind}-{step:0{DIGITS}d}.pt"


def packed(state: Mapping[str, Any]) -> bytes:
    """Return a checkpoint's bytes.

    Not written to a file: when the disk is full torch.save leaves a part of it there, with a RuntimeError.
    """
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getvalue()


def digest(content: bytes) -> bytes:
    """Return what stands beside a checkpoint of these bytes."""
    return f"{hashlib.sha256(content).hexdigest()}\n".encode()


def step_of(path: Path) -> int:
    """Return the updates made before a checkpoint was written."""
    return int(path.stem[-DIGITS:])


def saved(folder: Path, kind: str = "step") -> list[Path]:
    """Return the checkpoints in `folder`, oldest first."""
    return sorted(folder.glob(f"{kind}-{'[0-9]' * DIGITS}.pt"))


def save(folder: Path, state: Mapping[str, Any], kind: str = "step") -> Path:
    """Write `state` (tensors and plain values, its `step` among them) and prune to what is kept of its kind.

    The digest is written first: a checkpoint whose digest is missing or differs is not believed, so a kill
    between the two writes leaves the one before as the newest.
    """
    with disk_errors(folder):
        if folder.is_symlink():
            raise RunFolderError(f"{folder}: a symbolic link; a run is written nowhere but in its own folder")
        if not folder.exists():
            folder.mkdir()  # never its parents: a run folder that vanished must not come back in part
            sync_folder(folder.parent)
    content, path = packed(state), path_of(folder, state["step"], kind)
    write_atomic(digest_of(path), digest(content))
    write_atomic(path, content)
    _prune(folder, path, kind)
    return path


def _prune(folder: Path, newest: Path, kind: str) -> None:
    """Delete what `newest` makes needless: older ones, and later ones, of a future that was given up.

    Later ones are there when they were damaged and the run went back. What a kill left half written goes too.
    """
    kept = [path for path in saved(folder, kind) if path <= newest][-KEPT[kind] :]
    keep = {file for path in kept for file in (path, digest_of(path))}
    with disk_errors(folder):
        for file in sorted([*folder.glob(f"{kind}-*"), *folder.glob(f".{kind}-*.tmp")]):
            if file not in keep:
                file.unlink(missing_ok=True)


def read(path: Path) -> dict[str, Any]:
    """Return a checkpoint, on the CPU. Raises DamagedError when its bytes are not those that were written."""
    with disk_errors(path):
        content = path.read_bytes()
        beside = digest_of(path).read_bytes() if digest_of(path).exists() else b"missing"
    if beside.strip() != digest(content).strip():
        raise DamagedError(f"{path}: damaged, its SHA-256 is not the one beside it")
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        sound = state.keys() >= CHECKPOINT_PARTS and state["step"] == step_of(path)
    except Exception as error:  # torch.load raises whatever pickle, zip and its own checks do
        raise DamagedError(f"{path}: not a checkpoint ({type(error).__name__})") from error
    if not sound:
        raise DamagedError(f"{path}: not the checkpoint of a run at step {step_of(path)}")
    return state


def newest(folder: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """Return the newest sound checkpoint, None if none was saved yet, and a line for each damaged newer one.

    Raises RunFolderError when there are checkpoints and none of them is sound.
    """
    damaged: list[str] = []
    for path in reversed(saved(folder)):
        try:
            return read(path), damaged
        except DamagedError as error:
            damaged += error.lines
    if damaged:
        raise RunFolderError(
            *damaged, f"{folder}: no sound checkpoint is left; delete that folder to train again from step 0"
        )
    return None, []


def load_net(folder: str | PathLike[str]) -> Network:
    """Return the net of a finished run as its last checkpoint holds it, on the CPU, in evaluation mode.

    Where its weights were averaged (`optim.ema`), it has the average, by which it was evaluated.
    """
    run = Run(Path(folder))
    if run.status != "finished":
        raise RunFolderError(f"{folder}: {run.status}; only a finished run has a trained net")
    state, _ = newest(run.folder / "checkpoints")
    if state is None or state["step"] != run.config.optim.steps:
        raise RunFolderError(f"{folder}: the checkpoint of its last step is missing or damaged")
    config = run.config
    num_classes = run.manifest.data.num_classes
    net = build(seed=config.seed, num_classes=num_classes, **config.model.model_dump())
    net.take(state.get("average", state["net"]))
    return net.eval()
