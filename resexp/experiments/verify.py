"""Verification of a run: every digest again, and a stretch of its training again."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from resexp.config import Config
from resexp.data.splits import Splits
from resexp.records.jsonl import sha256_of_first
from resexp.records.losses import LOSSES, losses_beside
from resexp.records.run import Run, stream_metrics
from resexp.records.summary import summarize
from resexp.training import checkpoint
from resexp.training.engine import prepared_engine
from resexp.training.resume import execution_of

State = dict[str, Any]


class Check(NamedTuple):
    """One thing that was looked at."""

    what: str
    holds: bool
    seen: str
    """what was found, for the reader"""


def verify(folder: Path, load: Callable[[], Splits]) -> Iterator[Check]:
    """Yield the checks of a run that nobody is writing, cheap ones first; the last one trains again.

    Raises RunFolderError for what cannot even be read, ResourceError where the run cannot be repeated here:
    other versions, no CUDA device.
    """
    run = Run(folder)
    manifest, config = run.manifest, run.config
    yield _same("config.yaml", "config_digest of manifest.json", config.digest(), manifest.config_digest)
    states = []
    for kind in checkpoint.KEPT:
        for path in checkpoint.saved(folder / "checkpoints", kind):
            try:
                state = checkpoint.read(path)
            except checkpoint.DamagedError as error:
                yield Check(f"checkpoints/{path.name}", False, "; ".join(error.lines))
                continue
            yield Check(f"checkpoints/{path.name}", True, "its SHA-256 is the one beside it")
            yield from _record(folder, path.name, state)
            if kind == "step":
                states.append(state)
    if run.result is not None:
        yield _result(run, losses_beside(folder, states[-1]["journal"] if states else {}))
    splits = load()
    yield _same("images", "fingerprint of manifest.json", splits.fingerprint, manifest.data.fingerprint)
    if states:
        yield replay(config, folder, splits, states[-2] if len(states) > 1 else None, states[-1])


def run_digests(folder: Path) -> dict[str, str]:
    """Return SHA-256 of what a run is and came to, 64 hex digits each.

    record: of the digests of losses.bin, metrics.jsonl and profile.jsonl, in this order. weights: of the
    tensors in its newest checkpoint; left out where there is none.
    """
    run = Run(folder)
    files = [folder / name for name in (LOSSES, "metrics.jsonl", "profile.jsonl")]
    parts = [sha256_of_first(path, path.stat().st_size) for path in files if path.exists()]
    found = {
        "config": run.manifest.config_digest,
        "images": run.manifest.data.fingerprint,
        "record": hashlib.sha256("\n".join(parts).encode()).hexdigest(),
    }
    state, _ = checkpoint.newest(folder / "checkpoints")
    if state is not None:
        lines = [f"{name} {digest}" for name, digest in sorted(tensor_digests(state).items())]
        found["weights"] = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return found


def replay(config: Config, folder: Path, splits: Splits, start: State | None, goal: State) -> Check:
    """Train from one checkpoint (None: from nothing) to the next and compare all tensors and losses."""
    engine = prepared_engine(config, splits.train, execution_of(config, folder, None))
    if start is not None:
        engine.restore(start)
    begin = engine.step
    losses = engine.advance(goal["step"] - begin).loss.tolist() if goal["step"] > begin else []
    made, saved = tensor_digests(engine.state()), tensor_digests(goal)
    different = [name for name in sorted(made.keys() | saved.keys()) if made.get(name) != saved.get(name)]
    if losses != losses_beside(folder, goal["journal"])[begin : goal["step"]].tolist():
        different.append("losses")
    seen = f"{len(made)} digests of tensors and {len(losses)} losses come out the same"
    if different:
        seen = f"{len(different)} differ: {', '.join(different[:5])}"
    return Check(f"steps {begin} to {goal['step']}, trained again", not different, seen)


def tensor_digests(state: State) -> dict[str, str]:
    """Return the SHA-256 of each tensor's type, shape and bits in a checkpoint, by name."""
    return {
        name: hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)} ".encode() + _bits(tensor)).hexdigest()
        for part in ("net", "momentum", "average", "optimizer")
        for name, tensor in _tensors_in(state.get(part, {}), part)
    }


def _tensors_in(value: Any, name: str) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield every tensor in what a checkpoint holds, by its dotted name."""
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, dict | list | tuple):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _tensors_in(part, f"{name}.{key}")


def _bits(tensor: torch.Tensor) -> bytes:
    """Its memory: torch.equal would take 0.0 for -0.0, and no NaN for itself."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _record(folder: Path, name: str, state: State) -> Iterator[Check]:
    for file, mark in state["journal"]["marks"].items():
        path = folder / (LOSSES if file == "losses" else f"{file}.jsonl")
        where = f"first {mark['length']:,} bytes of {path.name}"
        yield _same(where, f"digest in {name}", sha256_of_first(path, mark["length"]), mark["sha256"])


def _result(run: Run, losses: np.ndarray) -> Check:
    """The summary against the record it was made from."""
    assert run.result is not None
    again = summarize(
        layers=run.manifest.layers,
        losses=losses,
        metrics=stream_metrics(run.folder / "metrics.jsonl"),
        profile=run.profile,
        steps=run.config.optim.steps,
        every_block=run.config.model.survival == 1,
    )
    # Before there was losses.bin, what a run made after its last checkpoint, before it diverged, lay nowhere.
    lost = not (run.folder / LOSSES).exists() and len(losses) != run.result.steps
    skipped = {"steps", "curve", "final_loss", "loss_area"} if lost else set()
    recorded = run.result.to_json()
    wrong = sorted(
        key for key, value in again.to_json().items() if key not in skipped and recorded.get(key) != value
    )
    seen = f"differs from the record in {', '.join(wrong)}" if wrong else "computed again from the record"
    return Check("result.json", not wrong, seen)


def _same(what: str, against: str, found: str, wanted: str) -> Check:
    holds = found == wanted
    return Check(what, holds, f"{found[:16]}, {against}" + ("" if holds else f" says {wanted[:16]}"))
