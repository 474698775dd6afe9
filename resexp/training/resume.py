"""Starting and resuming: a new folder gets its manifest, an old one is taken up where it was saved."""

import math
import platform
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from resexp._version import __version__
from resexp.config import Config, write
from resexp.config.imports import imported
from resexp.data.dataset import Dataset
from resexp.data.splits import Splits
from resexp.errors import ResourceError, RunFolderError
from resexp.records.files import ensure, write_atomic, write_json
from resexp.records.losses import LOSSES
from resexp.records.manifest import Images, Manifest, PluginRow, RecordedExecution, Versions, label_entropy
from resexp.records.run import Run
from resexp.training import checkpoint
from resexp.training.distributed.rank import ONE_RANK, Rank
from resexp.training.engine import Engine
from resexp.training.execution import Execution, gpu_fault, kernels_for, resolve, spread, usable_cores
from resexp.training.trace import TRACE


def execution_of(config: Config, folder: Path, planned: Execution | None, here: Rank = ONE_RANK) -> Execution:
    """Return how this run is executed: as its manifest says, else as planned, else resolved for it alone.

    Raises ResourceError (exit 6) when the manifest cannot be obeyed here.
    """
    if not (folder / "manifest.json").exists():
        num_images = config.optim.steps * config.optim.batch_size
        return spread(planned or resolve(config.run, num_images=num_images), config, here)
    run = Run(folder)
    execution = recorded_execution(run)
    if execution.devices != here.size:
        raise ResourceError(
            f"{folder}: began with --devices {execution.devices}, and {here.size} would train it here; "
            "bits would differ: use as many, or start a new run"
        )
    require_same_versions(run)
    if execution.device == "cuda" and (fault := gpu_fault()):
        raise ResourceError(f"{folder}: began on a CUDA device, and {fault}; go on where there is one")
    if execution.compiled and execution.device == "cpu" and shutil.which("g++") is None:
        raise ResourceError(f"{folder}: began compiled, and no C++ compiler is here; install g++")
    try:
        kernels_for(execution)
    except ResourceError as error:
        raise ResourceError(f"{folder}: {error}; go on where it began, or start a new run") from error
    return execution


def recorded_execution(run: Run) -> Execution:
    """Return how a run is executed, by its manifest."""
    return Execution(**run.manifest.execution.model_dump(include=set(Execution._fields)))


def require_same_versions(run: Run) -> None:
    """Raise ResourceError (exit 6) where other versions began the run: bits would differ."""
    began_with = run.manifest.versions.to_json()
    if began_with != versions():
        raise ResourceError(
            f"{run.folder}: began with {_named(began_with)}, here is {_named(versions())}; "
            "bits would differ: install those, or start a new run"
        )


def begin(
    config: Config,
    folder: Path,
    splits: Splits,
    engine: Engine,
    layers: Sequence[str],
    say: Callable[[str], None],
) -> Mapping[str, Any] | None:
    """Start or restore the run in `folder`; return the metrics' state from the checkpoint, None at step 0.

    Raises RunFolderError (exit 4) when the images are not those the run began with.
    """
    if not (folder / "manifest.json").exists():
        ensure(folder)
        write_atomic(folder / "config.yaml", write(config).encode())
        write_json(folder / "manifest.json", _manifest(config, splits, engine, layers).to_json())
        return None
    run = Run(folder)
    began_with = run.manifest.data.fingerprint
    if began_with != splits.fingerprint:
        raise RunFolderError(
            f"{folder}: the images have changed since this run began (fingerprint {began_with[:12]}, "
            f"now {splits.fingerprint[:12]}); restore them, or start a new run with another --name"
        )
    began_on = run.manifest.machine
    if began_on != machine(engine.execution):
        say(f"{folder}: began on another machine ({began_on}); bits may differ from here on")
    state, damaged = checkpoint.newest(folder / "checkpoints")
    for line in damaged:
        say(f"{line}; the one before is used")
    if state is None:
        return None
    try:
        engine.restore(state)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise RunFolderError(f"{folder}/checkpoints: of another net ({error})") from error
    say(f"{folder}: goes on from step {engine.step}")
    return state["journal"]


def take_back(folder: Path) -> None:
    """Remove what `begin` wrote of a run that could not make a step, so that a mended one may begin there.

    Where a step was recorded or a checkpoint saved, nothing is removed.
    """
    metrics = folder / "metrics.jsonl"
    with suppress(OSError):
        if checkpoint.saved(folder / "checkpoints") or (metrics.exists() and metrics.stat().st_size):
            return
        for path in [*folder.glob("*.jsonl"), *folder.glob("events.out.tfevents.*")]:
            path.unlink()
        for name in (LOSSES, TRACE, "config.yaml", "manifest.json"):
            (folder / name).unlink(missing_ok=True)


def versions() -> dict[str, str]:
    """Return the versions that decide a run's bits."""
    return {"resexp": __version__, "torch": torch.__version__}


def machine(execution: Execution) -> dict[str, Any]:
    """Return the type of machine: on another one the last bits may differ."""
    return {
        "system": platform.system(),
        "cpu": torch.cpu.get_capabilities().get("cpu_name", platform.machine()),
        "cores": usable_cores(),
        "gpu": torch.cuda.get_device_name() if execution.device == "cuda" else None,
    }


def _named(found: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in found.items())


EVEN_WITHIN = 0.001
"""Nats. What guessing by the shares of the classes gains over guessing at random, where it is nothing."""


def _class_counts(train: Dataset) -> dict[str, list[int]]:
    """The images of each class, where guessing by them is better than guessing at random by 0.001 nats."""
    counts = torch.bincount(train.labels.cpu(), minlength=train.num_classes).tolist()
    even = math.log(train.num_classes) - label_entropy(counts) < EVEN_WITHIN
    return {} if even else {"class_counts": counts}


def _manifest(config: Config, splits: Splits, engine: Engine, layers: Sequence[str]) -> Manifest:
    plugins = [PluginRow(key=key, path=text, sha256=imported(text).sha256) for key, text in config.plugins()]
    own: dict[str, Any] = {"plugins": plugins} if plugins else {}
    return Manifest(
        kind="run",
        config_digest=config.digest(),
        **own,
        data=Images(
            name=splits.name,
            label=splits.label,
            fingerprint=splits.fingerprint,
            num_train=len(splits.train.labels),
            num_validation=0 if splits.validation is None else len(splits.validation.labels),
            num_test=len(splits.test.labels),
            num_classes=splits.train.num_classes,
            classes=list(splits.train.classes),
            num_test_in_train=splits.num_test_in_train,
            notes=list(splits.notes),
            **_class_counts(splits.train),
        ),
        execution=RecordedExecution(**engine.execution._asdict()),
        versions=Versions(**versions()),
        python=platform.python_version(),
        commit=_commit(),
        machine=machine(engine.execution),
        layers=list(layers),
        parameters=sum(parameter.numel() for parameter in engine.net.parameters()),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _commit() -> str | None:
    """The commit of the source that runs, None for an installed package."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(root), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
