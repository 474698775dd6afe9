"""The plan of a comparison: arms x axes x depths x seeds, each an ordinary config in its own folder."""

import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from resexp.config import Config, DataSection, RunSection
from resexp.config.load import load
from resexp.config.tree import find, from_plain, put
from resexp.errors import UsageError
from resexp.records.files import child
from resexp.records.manifest import BestOfRow
from resexp.records.run import Run

QUICK_LOOK: dict[str, Any] = {
    "data": {"name": "auto", "augment": False},
    "model": {"depth": 20, "width": 8},
    "optim": {
        "steps": 200,
        "batch_size": 64,
        "lr": 0.03,
        "schedule": {"name": "constant", "warmup_steps": 20, "warmup_factor": 0.05},
    },
    "record": {"every": 10, "eval_every": 200, "checkpoint_every": 100},
}
"""Four nets in a minute, on real images as on drawings (docs/quick-look.md has what was tried)."""

FULL_LOOK: dict[str, Any] = {
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
"""The same at depth 56: at 0.05 and above some seeds of the residual net without norm get stuck."""

QUICK_LOOK_INIT = {"none": "default", "batch": "he"}
"""The init that goes with each norm of the quick look: PyTorch's own, as most would leave it, and He's."""


class Job(NamedTuple):
    """One training: an ordinary run of a resolved config."""

    arm: str
    config: Config
    folder: Path
    data: DataSection
    """where its images come from: the config's own, or with `auto` as the comparison's runs began"""

    @property
    def label(self) -> str:
        model = self.config.model
        return f"{self.arm} d{model.depth} {model.norm} s{self.config.seed}"


def labels(jobs: Sequence[Job]) -> dict[Path, str]:
    """Return what each job is called while it runs, by folder; its folder's name where that is not unique."""
    counts = Counter(job.label for job in jobs)
    return {job.folder: job.label if counts[job.label] == 1 else job.folder.name for job in jobs}


class Arm(NamedTuple):
    """What is set against other arms. source: a config; None for what the comparison's own config says."""

    name: str
    source: str | None
    sets: tuple[str, ...] = ()


class Plan(NamedTuple):
    """A comparison: what is trained in its folder, and finished runs that only take part."""

    folder: Path
    jobs: tuple[Job, ...]
    recorded: tuple[tuple[str, Run], ...]
    best_of: BestOfRow | None = None
    """how the value of a key was chosen for each arm, if it was"""


def make_plan(
    arms: Sequence[str],
    *,
    runs_dir: Path,
    config: str | None,
    sets: Sequence[str],
    vary: Mapping[str, Sequence[str]],
    num_seeds: int,
    name: str | None = None,
    full: bool = False,
    by: Mapping[str, Sequence[str]] | None = None,
    first_seed: int = 0,
) -> Plan:
    """Return the plan of `resexp compare ARMS`.

    An arm is `plain`, `residual`, a config (file or shipped name) or a finished run's folder; or, in place of
    all of these, one of the values of the key in `by`, by its word or as `lr=0.1`. `vary` maps keys such as
    model.norm to their values, as text; `first_seed` is added to the config's own. `full`: what no config
    says is taken from the full look instead of the quick one.
    Raises UsageError for what does not fit together.
    """
    specified = _arms_by(arms, by, sets, vary)
    _require_distinct_names(arms)
    if full and (config is not None or all(arm.source for arm in specified)):
        raise UsageError("compare --full: the long form of the quick look; a config says its own length")
    look = FULL_LOOK if full else QUICK_LOOK
    require_said_once(sets, vary)
    if "model.kind" in vary and {"plain", "residual"} & set(arms):
        raise UsageError("compare --vary model.kind: plain and residual say it; give configs as arms, or one")
    jobs: list[tuple[str, Config]] = []
    recorded: list[tuple[str, Run]] = []
    for arm in specified:
        if arm.source is not None and _is_recorded(arm.source):
            if sets or vary:
                raise UsageError(f"compare {arm.source}: a finished run cannot be changed by --set or --vary")
            recorded.append((arm.name, Run(Path(arm.source))))
        else:
            jobs += [
                (arm.name, made) for made in _configs(arm, config, look, sets, vary, num_seeds, first_seed)
            ]
    _require_distinct_runs(jobs)
    _require_one_way_to_run([made for _, made in jobs])
    digests = [f"{arm} {made.digest()}" for arm, made in jobs] + [str(run.folder) for _, run in recorded]
    folder = child(runs_dir, name or f"compare-{_hash8(*digests)}")
    return Plan(
        folder,
        tuple(Job(arm, *_placed(arm, made, folder), made.data) for arm, made in jobs),
        tuple(recorded),
    )


def _arms_by(
    arms: Sequence[str],
    by: Mapping[str, Sequence[str]] | None,
    sets: Sequence[str],
    vary: Mapping[str, Sequence[str]],
) -> list[Arm]:
    """The arms by their words, or by the values of one key."""
    if by is None:
        if not arms:
            raise UsageError("compare: name the arms, e.g. plain residual, or --arms model.order=pre,post")
        words = ("plain", "residual")
        return [
            Arm(_name_of(arm), None if arm in words else arm, (f"model.kind={arm}",) * (arm in words))
            for arm in arms
        ]
    if arms:
        raise UsageError(
            f"compare {arms[0]} --arms: name the arms, or the key in which they differ, not both"
        )
    ((key, values),) = by.items()
    if key in ("seed", "name") or key.startswith("run."):
        raise UsageError(f"compare --arms {key}: all runs are named, seeded and executed alike")
    if key in vary or _names((key,), sets):
        raise UsageError(f"compare --arms {key}: --set or --vary names it, too; use one of them")
    for value, times in Counter(values).items():
        if times > 1 or len(values) < 2:
            raise UsageError(
                f"compare --arms {key}: give two values or more, each once; {value} stands alone"
                if times == 1
                else f"compare --arms {key}: {value} is named {times} times"
            )
    return [Arm(_said(key, value), None, (f"{key}={value}",)) for value in values]


def _said(key: str, value: str) -> str:
    """What an arm of one value is called: a word says enough, a number or a switch needs its key."""
    node = find(put(from_plain({}), f"{key}={value}").tree, key.split("."))
    return value if node is None or isinstance(node.value, str) else f"{key.rpartition('.')[2]}={value}"


def _is_recorded(arm: str) -> bool:
    return (Path(arm) / "manifest.json").is_file()


def _name_of(arm: str) -> str:
    """What an arm is called: its word, its config without the ending, its folder's name."""
    return Path(arm).resolve().name if _is_recorded(arm) else Path(arm).stem


def _require_distinct_names(arms: Sequence[str]) -> None:
    named: dict[str, str] = {}
    for arm in arms:
        name = _name_of(arm)
        if name in named:
            both = "is named twice" if named[name] == arm else f"and {named[name]} are both called {name}"
            raise UsageError(f"compare: {arm} {both}; each arm needs a name of its own")
        named[name] = arm


def require_said_once(sets: Sequence[str], vary: Mapping[str, Sequence[str]]) -> None:
    """Raise UsageError for a key that --set and an axis both name, and for an axis with a value twice."""
    for key, values in vary.items():
        if _names((key,), sets):
            raise UsageError(f"{key}: both --set and an axis (--vary, --depth, ...) name it; use one of them")
        for value, times in Counter(values).items():
            if times > 1:
                raise UsageError(f"{key}: {value} is named {times} times; name each value of an axis once")


def _require_distinct_runs(jobs: Sequence[tuple[str, Config]]) -> None:
    (most, times), *_ = Counter((arm, made.digest()) for arm, made in jobs).most_common(1) or [(None, 0)]
    if times > 1:
        arm, made = next(job for job in jobs if (job[0], job[1].digest()) == most)
        raise UsageError(
            f"compare: {arm}, depth {made.model.depth}, seed {made.seed} is asked for {times} times; "
            "name each value of an axis once, and seeds with --seeds alone"
        )


def _require_one_way_to_run(configs: Sequence[Config]) -> None:
    """All runs of a comparison are executed alike, or what differs might be rounding."""
    for key in RunSection.model_fields:
        values = list(dict.fromkeys(str(getattr(made.run, key)) for made in configs))
        if len(values) > 1:
            raise UsageError(
                f"compare: run.{key} is {' and '.join(values)}: all runs of a comparison are executed alike; "
                "say it once with --set, or make two comparisons"
            )


def _configs(
    arm: Arm,
    config: str | None,
    look: Mapping[str, Any],
    sets: Sequence[str],
    vary: Mapping[str, Sequence[str]],
    num_seeds: int,
    first_seed: int,
) -> Iterator[Config]:
    own, source = arm.sets, arm.source or config
    sets = [*sets, *own]  # the norm or the init that an arm stands for keeps one pair of the quick look
    base = look if source is None else None
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
        first = load(source, [*sets, *cell], base)
        for seed in range(first.seed + first_seed, first.seed + first_seed + num_seeds):
            yield load(source, [*sets, *cell, f"seed={seed}"], base)


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
    """The config named after its place, `ARM-dDEPTH-NORM-sSEED-HASH8`, and that place.

    A run that began when names did not say the norm keeps its place.
    """
    called, model = re.sub(r"[^A-Za-z0-9._-]", "-", arm[:40]), config.model
    ending = f"s{config.seed}-{config.digest()[:8]}"
    before = f"{called}-d{model.depth}-{ending}"
    name = before if (folder / before).exists() else f"{called}-d{model.depth}-{model.norm}-{ending}"
    return config.model_validate({**config.model_dump(), "name": name}), child(folder, name)


def _hash8(*words: str) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:8]
