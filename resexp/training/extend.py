"""Extending a run: it goes on as if it had been asked for more steps from the start, bit for bit."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from resexp.config import Config, MultistepSchedule, OptimSection, write
from resexp.errors import RunFolderError
from resexp.records.files import json_bytes
from resexp.records.jsonl import Row
from resexp.records.run import Run
from resexp.records.together import replace_together
from resexp.training import checkpoint
from resexp.training.spans import probed_steps


def extend(folder: Path, steps: int) -> Config:
    """Make the run in `folder`, whose lock is held, one of so many steps, and return its config.

    What only a last step has (its row, its evaluation, its probe) leaves the record where the longer run
    would not have made it. Raises RunFolderError where the longer run would have been another one.
    """
    run = Run(folder)
    old, num = run.config, run.config.optim.steps
    new = old.model_copy(update={"optim": old.optim.model_copy(update={"steps": steps})})
    if run.manifest.config_digest != old.digest():
        raise RunFolderError(f"{folder}/config.yaml: changed since the run began; restore it")
    if why := _why_not(run, new.optim):
        raise RunFolderError(
            f"{folder}: cannot go on from {num:,} to {steps:,} steps: {why}; choose another --name"
        )
    state, _ = checkpoint.newest(folder / "checkpoints")
    extended = [*(run.manifest.extended or []), {"from": num, "to": steps}]
    manifest = run.manifest.model_copy(update={"config_digest": new.digest(), "extended": extended})
    contents = {
        "config.yaml": write(new).encode(),
        "manifest.json": json_bytes(manifest.to_json()),
    }
    if state is not None and state["step"] == num:
        contents |= _without_an_end(folder, state, new)
    replace_together(folder, contents, removed=["result.json"])
    return new


def _why_not(run: Run, new: OptimSection) -> str | None:
    old = run.config.optim
    if run.status == "diverged":
        return "it diverged"
    schedule = old.schedule
    if isinstance(schedule, MultistepSchedule) or schedule.name == "constant":
        return None
    # Up to the end of a warm-up, and at the first step after it, the rate is that of any length.
    if old.steps <= schedule.warmup_steps + 1:
        return None
    return f"the {schedule.name} schedule ends with the run, so every rate before would have been another"


def _without_an_end(folder: Path, state: dict[str, Any], new: Config) -> dict[str, bytes]:
    """Return the record and the checkpoint as they would be in the middle of a longer run."""
    step, journal = state["step"], dict(state["journal"])
    probed = set(probed_steps(new.optim.steps)) if new.record.probes else set[int]()

    def is_due(row: Row) -> bool:
        if row["kind"] == "evaluation":
            return row["step"] % new.record.eval_every == 0
        return row["step"] % new.record.every == 0 or row["step"] < step - 1

    metrics, dropped = _parted(folder / "metrics.jsonl", journal["marks"]["metrics"]["length"], is_due)
    profile, _ = _parted(
        folder / "profile.jsonl", journal["marks"]["profile"]["length"], lambda row: row["step"] in probed
    )
    for row in dropped:
        if row["kind"] == "step" and "gradient_norm_min" in row:
            journal |= {"low": row["gradient_norm_min"], "high": row["gradient_norm_max"]}
        if row["kind"] == "evaluation" and journal["best"][0] == step:
            raise RunFolderError(
                f"{folder}: cannot go on: its best weights on validation images are those of step {step:,}, "
                f"where a longer run does not look (record.eval_every {new.record.eval_every:,}); choose "
                "another --name"
            )
    journal["marks"] = {**journal["marks"], "metrics": _mark(metrics), "profile": _mark(profile)}
    packed = checkpoint.packed({**state, "journal": journal})
    contents = {"metrics.jsonl": metrics, "profile.jsonl": profile}
    for kind in checkpoint.KEPT:
        if (path := checkpoint.path_of(folder / "checkpoints", step, kind)).exists():
            contents[f"checkpoints/{path.name}"] = packed
            contents[f"checkpoints/{checkpoint.digest_of(path).name}"] = checkpoint.digest(packed)
    return contents


def _parted(path: Path, length: int, is_due: Callable[[Row], bool]) -> tuple[bytes, list[Row]]:
    """Return the lines that stay, and the rows that do not."""
    kept, dropped = [], []
    for line in path.read_bytes()[:length].splitlines(keepends=True):
        row = json.loads(line)
        if is_due(row):
            kept.append(line)
        else:
            dropped.append(row)
    return b"".join(kept), dropped


def _mark(content: bytes) -> dict[str, Any]:
    return {"length": len(content), "sha256": hashlib.sha256(content).hexdigest()}
