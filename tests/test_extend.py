"""A run that goes on to more steps is the run that was asked for them from the start."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import make_splits, tiny_config
from harness.comparing import differences

from resexp.config import Config
from resexp.data.splits import Splits
from resexp.errors import RunFolderError
from resexp.experiments.verify import verify
from resexp.records import together
from resexp.records.lock import locked
from resexp.records.preflight import admit
from resexp.records.run import Run
from resexp.training.extend import extend
from resexp.training.loop import run

SMOOTH = {"name": "cosine", "warmup_steps": 0, "warmup_factor": 0.1}
CASES: dict[str, dict[str, Any]] = {
    "nothing due at the old end": {
        "record__every": 10,
        "record__eval_every": 9,
        "record__checkpoint_every": 9,
    },
    "all due at the old end": {"record__every": 1, "record__eval_every": 1, "record__checkpoint_every": 1},
    "the evaluation is due, the row is not": {"record__every": 10, "record__eval_every": 2},
    "the row is due, the evaluation is not": {"record__every": 3, "record__eval_every": 9},
    "milestones": {"optim__schedule": {"name": "multistep", "milestones": (3, 6), "factor": 0.5}},
    "within a warm-up": {"optim__schedule": {**SMOOTH, "warmup_steps": 6}},
    "an average": {"optim__ema": 0.9},
    "no norms": {"record__gradient_norm": False, "record__every": 10},
    "no probes": {"record__probes": ()},
}


def config(steps: int, **changes: object) -> Config:
    return tiny_config(name="run", optim__steps=steps, **changes)


def finished(folder: Path, config: Config, splits: Splits) -> Path:
    run(config, folder, splits)
    return folder


def extended(folder: Path, config: Config, splits: Splits) -> Path:
    """Go on as the command does."""
    with locked(folder):
        assert admit(folder, config, resume=True, extend=True) == "extend"
        made = extend(folder, config.optim.steps)
        assert made == config
        assert admit(folder, config, resume=True, extend=True) == "resume"
        run(made, folder, splits)
    return folder


@pytest.mark.parametrize(
    ("case", "steps"), [*((case, (4,)) for case in CASES), ("nothing due at the old end", (4, 5))]
)
def test_more_steps_end_in_the_same_bits_as_if_asked_from_the_start(
    case: str, steps: tuple[int, ...], tmp_path: Path, splits: Splits
) -> None:
    changes = CASES[case]
    whole = finished(tmp_path / "whole", config(8, **changes), splits)
    parts = finished(tmp_path / "parts", config(steps[0], **changes), splits)
    for more in (*steps[1:], 8):
        extended(parts, config(more, **changes), splits)
    assert differences(whole, parts) == []
    assert [check for check in verify(parts, lambda: splits) if not check.holds] == []
    assert [one["to"] for one in Run(parts).manifest.extended or []] == [*steps[1:], 8]


def test_with_validation_the_best_is_that_of_the_longer_run(tmp_path: Path) -> None:
    splits = make_splits()._replace(validation=make_splits(seed=1).test)
    for old in (4, 6):
        changes = {"record__eval_every": 2, "record__every": 10}
        whole = finished(tmp_path / f"whole{old}", config(8, **changes), splits)
        parts = extended(
            finished(tmp_path / f"parts{old}", config(old, **changes), splits), config(8, **changes), splits
        )
        assert differences(whole, parts) == []
        assert [check for check in verify(parts, lambda splits=splits: splits) if not check.holds] == []


def test_a_best_that_the_longer_run_would_not_have_is_refused(tmp_path: Path) -> None:
    splits = make_splits()._replace(validation=make_splits(seed=1).test)
    folder = finished(tmp_path / "run", config(4, record__eval_every=9), splits)  # the only one it has
    before = contents(folder)
    with pytest.raises(RunFolderError, match="best weights on validation images are those of step 4"):
        extend(folder, 8)
    assert contents(folder) == before


def contents(folder: Path) -> Mapping[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_a_schedule_that_ends_with_the_run_is_refused_in_a_line_and_nothing_changes(
    name: str, tmp_path: Path, splits: Splits
) -> None:
    folder = finished(tmp_path / "run", config(4, optim__schedule={**SMOOTH, "name": name}), splits)
    before = contents(folder)
    with pytest.raises(
        RunFolderError, match=f"cannot go on from 4 to 8 steps: the {name} schedule ends with"
    ) as caught:
        extend(folder, 8)
    assert len(caught.value.lines) == 1
    assert contents(folder) == before


def test_a_run_that_diverged_and_a_config_that_was_edited_are_refused(tmp_path: Path, splits: Splits) -> None:
    with pytest.raises(Exception, match="diverged"):
        finished(tmp_path / "run", config(4, optim__lr=1e30, model__norm="none"), splits)
    with pytest.raises(RunFolderError, match="it diverged"):
        extend(tmp_path / "run", 8)
    folder = finished(tmp_path / "edited", config(4), splits)
    path = folder / "config.yaml"
    path.write_text(path.read_text().replace("seed: 0", "seed: 1"))
    with pytest.raises(RunFolderError, match="changed since the run began"):
        extend(folder, 8)


@pytest.mark.parametrize(
    ("changes", "extend", "says"),
    [
        ({"optim__steps": 8}, False, "or go on with `train --resume auto`"),
        ({"optim__steps": 3}, True, "optim.steps (4 there, 3 asked)"),
        ({"optim__steps": 8, "seed": 1}, True, "seed (0 there, 1 asked)"),
        ({"optim__steps": 4, "seed": 1}, True, "seed (0 there, 1 asked)"),
    ],
)
def test_only_more_steps_and_nothing_else_extend_a_run(
    changes: dict[str, Any], extend: bool, says: str, tmp_path: Path, splits: Splits
) -> None:
    folder = finished(tmp_path / "run", config(4), splits)
    with pytest.raises(RunFolderError) as caught:
        admit(folder, tiny_config(name="run", **changes), resume=True, extend=extend)
    assert says in str(caught.value)


class Killed(BaseException):
    """In place of a kill."""


CALLS = ("replace", "rename", "unlink", "fsync", "mkdir")


def test_a_kill_at_any_call_of_the_extension_leaves_the_old_run_or_the_new_one(
    tmp_path: Path, splits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = finished(tmp_path / "old", config(4, record__every=10), splits)
    shutil.copytree(old, tmp_path / "new")
    extend(tmp_path / "new", 8)
    goal = contents(tmp_path / "new")
    start = contents(old)
    seen, k = set[str](), 0
    while True:
        folder = tmp_path / f"kill{k}"
        shutil.copytree(old, folder)
        left = [k]

        def killing(name: str, left: list[int] = left) -> Any:
            do = getattr(os, name)

            def call(*arguments: Any, **named: Any) -> Any:
                left[0] -= 1
                if left[0] < 0:
                    raise Killed
                return do(*arguments, **named)

            return call

        with monkeypatch.context() as patched:
            for name in CALLS:
                patched.setattr(os, name, killing(name))
            try:
                extend(folder, 8)
                over = True
            except Killed:
                over = False
        together.complete(folder)
        found = {name: content for name, content in contents(folder).items() if not name.startswith(".")}
        # Checkpoints and manifests of equal runs are equal bytes: nothing in them tells the time.
        assert found in (start, goal), k
        seen.add("old" if found == start else "new")
        if over:
            break
        k += 1
    assert seen == {"old", "new"}
    assert k > 20
