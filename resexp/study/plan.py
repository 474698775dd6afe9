"""What a comparison runs: arms x axes x depths x seeds, each an ordinary config in its own folder."""

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from resexp.config import Config
from resexp.errors import UsageError
from resexp.loading import load
from resexp.records.folder import child
from resexp.records.run import Run

QUICK_LOOK: dict[str, Any] = {
    "data": {"name": "auto", "augment": False},
    "model": {"depth": 56, "width": 16},
    "optim": {
        "steps": 150,
        "batch_size": 128,
        "lr": 0.02,
        "schedule": {"name": "constant", "warmup_steps": 20, "warmup_factor": 0.05},
    },
    "record": {"every": 10, "eval_every": 150, "checkpoint_every": 50},
}
"""Four nets in minutes: at 0.05 and above some seeds of the residual net without norm get stuck."""

QUICK_LOOK_INIT = {"none": "default", "batch": "he"}
"""The init that goes with each norm of the quick look: PyTorch's own, as most would leave it, and He's."""


class Job(NamedTuple):
    """One training: an ordinary run of a resolved config."""

    arm: str
    config: Config
    folder: Path

    @property
    def label(self) -> str:
        model = self.config.model
        return f"{self.arm} d{model.depth} {model.norm} s{self.config.seed}"


def labels(jobs: Sequence[Job]) -> dict[Path, str]:
    """Return what each job is called while it runs, by folder; its folder's name where that is not unique."""
    counts = Counter(job.label for job in jobs)
    return {job.folder: job.label if counts[job.label] == 1 else job.folder.name for job in jobs}


class Plan(NamedTuple):
    """A comparison: what is trained in its folder, and finished runs that only take part."""

    folder: Path
    jobs: tuple[Job, ...]
    recorded: tuple[tuple[str, Run], ...]


def make_plan(
    arms: Sequence[str],
    *,
    runs_dir: Path,
    config: str | None,
    sets: Sequence[str],
    vary: Mapping[str, Sequence[str]],
    num_seeds: int,
    name: str | None = None,
) -> Plan:
    """Return the plan of `resexp compare ARMS`.

    An arm is `plain`, `residual`, a config (file or shipped name) or a finished run's folder. `vary` maps
    keys such as model.norm to their values, as text. Raises UsageError for what does not fit together.
    """
    if len(set(arms)) != len(arms):
        raise UsageError(f"compare: an arm is named twice: {' '.join(arms)}")
    jobs: list[tuple[str, Config]] = []
    recorded: list[tuple[str, Run]] = []
    for arm in arms:
        if (Path(arm) / "manifest.json").is_file():
            if sets or vary:
                raise UsageError(f"compare {arm}: a finished run cannot be changed by --set or --vary")
            recorded.append((Path(arm).resolve().name, Run(Path(arm))))
        else:
            jobs += [(Path(arm).stem, made) for made in _configs(arm, config, sets, vary, num_seeds)]
    digests = [f"{arm} {made.digest()}" for arm, made in jobs] + [str(run.folder) for _, run in recorded]
    folder = child(runs_dir, name or f"compare-{_hash8(*digests)}")
    return Plan(
        folder,
        tuple(Job(arm, *_placed(arm, made, folder)) for arm, made in jobs),
        tuple(recorded),
    )


def _configs(
    arm: str, config: str | None, sets: Sequence[str], vary: Mapping[str, Sequence[str]], num_seeds: int
) -> Iterator[Config]:
    word = arm in ("plain", "residual")
    own = [f"model.kind={arm}"] if word else []
    source = config if word else arm
    base = QUICK_LOOK if source is None else None
    axes = dict(vary)
    if base is not None:
        axes = {**_quick_look_norms(sets, vary), **axes}
    for values in itertools.product(*axes.values()):
        cell = [f"{key}={value}" for key, value in zip(axes, values, strict=True)]
        if base is not None and not _names(("model.init",), [*sets, *cell]):
            norm = next(
                (
                    text.partition("=")[2]
                    for text in reversed([*sets, *cell])
                    if text.startswith("model.norm=")
                ),
                "batch",
            )
            cell.append(f"model.init={QUICK_LOOK_INIT.get(norm, 'he')}")
        first = load(source, [*sets, *own, *cell], base)
        for seed in range(first.seed, first.seed + num_seeds):
            yield load(source, [*sets, *own, *cell, f"seed={seed}"], base)


def _quick_look_norms(sets: Sequence[str], vary: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Both norms, unless the user has chosen: a norm or an init keeps one pair only."""
    if "model.norm" in vary or _names(("model.norm",), sets):
        return {}
    for text in reversed(sets):
        if text.startswith("model.init="):
            init = text.partition("=")[2]
            return {"model.norm": [next((n for n, i in QUICK_LOOK_INIT.items() if i == init), "batch")]}
    return {"model.norm": list(QUICK_LOOK_INIT)}


def _names(keys: Sequence[str], sets: Sequence[str]) -> bool:
    return any(text.partition("=")[0] in keys for text in sets)


def _placed(arm: str, config: Config, folder: Path) -> tuple[Config, Path]:
    """The config named after its place, `ARM-dDEPTH-sSEED-HASH8`, and that place."""
    name = f"{arm[:40]}-d{config.model.depth}-s{config.seed}-{config.digest()[:8]}"
    return config.model_validate({**config.model_dump(), "name": name}), child(folder, name)


def _hash8(*words: str) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:8]
