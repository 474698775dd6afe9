"""The promise: a run broken anywhere and taken up again ends with the bits it would have had."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Sound, make_splits, tiny_config
from harness.breaking import SHORT, break_at_points, kill_at_random, reference, signal_at_random
from harness.comparing import differences
from harness.interrupting import train
from harness.points import How
from harness.server import Server

from resexp.config import Config
from resexp.data.splits import Splits
from resexp.errors import Diverged, ResourceError, RunFolderError
from resexp.experiments.verify import State, tensor_digests, verify
from resexp.records.files import write_json
from resexp.records.jsonl import EMPTY
from resexp.records.lock import locked
from resexp.records.losses import read_losses
from resexp.records.run import Run
from resexp.training import checkpoint, engine
from resexp.training.engine import prepared_engine
from resexp.training.execution import Execution
from resexp.training.loop import run
from resexp.training.resume import execution_of


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


def test_fifty_kills_at_random_moments_change_no_bit(server: Server, tmp_path: Path, sound: Sound) -> None:
    tally = kill_at_random(server, tmp_path, 50, seed=1)
    sound("kill -9 at a random moment", tally)
    assert tally.broken >= 50


@pytest.mark.parametrize("how", ["kill", "kill halfway", "disk full"])
def test_a_save_broken_at_any_call_changes_no_bit(
    how: How, server: Server, tmp_path: Path, sound: Sound
) -> None:
    _, end = reference(server, tmp_path)
    checkpoints = [k for k, call in enumerate(end.trace) if "/checkpoints/" in call]
    first = range(checkpoints[0] - 5, checkpoints[0] + 16)
    last = range(checkpoints[-1] - 18, len(end.trace))
    points = [*first, *last] if how == "kill" else [k for k in [*first, *last] if calls_room(end.trace[k])]
    tally = break_at_points(server, tmp_path / "broken", points, how)
    sound(f"{how} at a call of the first or last save that touches the disk", tally)
    assert tally.broken == len(points)


def calls_room(call: str) -> bool:
    """Whether a call needs room on the disk and can be half done."""
    return call.split()[0] in ("write", "replace", "mkdir", "fsync")


def test_thirty_interruptions_leave_at_once_or_after_the_step_and_change_no_bit(
    server: Server, tmp_path: Path, sound: Sound
) -> None:
    tally = signal_at_random(server, tmp_path, 30, seed=2)
    sound("a signal at a random moment, once or twice", tally)
    assert tally.broken >= 30


def test_runs_that_differ_are_told_apart(server: Server, tmp_path: Path) -> None:
    one, _ = reference(server, tmp_path / "a")
    other, _ = reference(server, tmp_path / "b", {**SHORT, "seed": 1})
    assert differences(one, one) == []
    assert len(differences(one, other)) > 25


CONFIG = tiny_config(**SHORT)


def stopped(folder: Path, splits: Splits, config: Config = CONFIG) -> Path:
    """A run that was interrupted after step 6; it kept steps 4 and 6."""
    assert train(folder, config, splits, until=6) is None
    assert [path.stem[-2:] for path in checkpoint.saved(folder / "checkpoints")] == ["04", "06"]
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(folder, CONFIG, make_splits())
    return folder


def test_an_interruption_at_every_step_changes_no_bit(whole: Path, splits: Splits, tmp_path: Path) -> None:
    assert train(tmp_path, CONFIG, splits, questions=2) is None  # asked before the first step too
    for _ in range(CONFIG.optim.steps - 2):
        assert train(tmp_path, CONFIG, splits, questions=1) is None
    assert train(tmp_path, CONFIG, splits, questions=1) is not None
    assert differences(whole, tmp_path) == []


def test_a_damaged_newest_checkpoint_costs_steps_and_no_bit(
    whole: Path, splits: Splits, tmp_path: Path
) -> None:
    newest = checkpoint.saved(stopped(tmp_path, splits) / "checkpoints")[-1]
    newest.write_bytes(newest.read_bytes()[:-1])
    said: list[str] = []
    train(tmp_path, CONFIG, splits, say=said.append)
    assert any(f"{newest}: damaged" in line and "the one before is used" in line for line in said)
    assert any("goes on from step 4" in line for line in said)
    assert differences(whole, tmp_path) == []


def fresh(part: str, name: str) -> Callable[[State, State], None]:
    def leave_out(state: State, at_start: State) -> None:
        state[part][name] = at_start[part][name]

    return leave_out


def emptied(*path: str, value: Any) -> Callable[[State, State], None]:
    def leave_out(state: State, _: State) -> None:
        for key in path[:-1]:
            state = state[key]
        assert state[path[-1]] != value
        state[path[-1]] = value

    return leave_out


def no_momentum(state: State, _: State) -> None:
    state["momentum"] = {}


def one_momentum_less(state: State, _: State) -> None:
    del state["momentum"]["head.weight"]


LEFT_OUT: dict[str, Callable[[State, State], None]] = {
    "momentum": no_momentum,
    "momentum of one layer": one_momentum_less,
    "weights of one layer": fresh("net", "stage2.0.conv1.weight"),
    "running mean": fresh("net", "stem.norm.running_mean"),
    "running variance": fresh("net", "stage3.0.norm1.running_var"),
    "step": emptied("step", value=4),
    "smallest norms since the last row": emptied("journal", "low", value=[]),
    "largest norms since the last row": emptied("journal", "high", value=[]),
    "best": emptied("journal", "best", value=[-1, -1.0]),
    "length of metrics": emptied("journal", "marks", "metrics", value=EMPTY),
    "length of profile": emptied("journal", "marks", "profile", value=EMPTY),
    "length of losses": emptied("journal", "marks", "losses", value=EMPTY),
}


# The best accuracy and the smallest norms come before step 6 here, so that losing them shows.
CONTROLLED = tiny_config(
    **SHORT
    | {"model__depth": 8, "model__convs_per_block": 2, "optim__lr": 1e-3}
    | {"record__every": 100, "record__probes": ("gradient_profile",)}
)


@pytest.fixture(scope="module")
def controlled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Splits]:
    """A whole run and one interrupted after step 6, both with all that a checkpoint can hold."""
    splits = make_splits()._replace(validation=make_splits(seed=1).test)
    root = tmp_path_factory.mktemp("controlled")
    train(root / "whole", CONTROLLED, splits)
    return root / "whole", stopped(root / "broken", splits, CONTROLLED), splits


@pytest.mark.parametrize("item", [None, *LEFT_OUT])
def test_the_comparison_sees_whatever_is_left_out_of_a_checkpoint(
    item: str | None, controlled: tuple[Path, Path, Splits], tmp_path: Path
) -> None:
    whole, interrupted, splits = controlled
    broken = tmp_path / "broken"
    shutil.copytree(interrupted, broken)
    path = checkpoint.saved(broken / "checkpoints")[-1]
    state = checkpoint.read(path)
    if item is not None:
        LEFT_OUT[item](
            state, prepared_engine(CONTROLLED, splits.train, execution_of(CONTROLLED, broken, None)).state()
        )
    for saved in checkpoint.saved(broken / "checkpoints"):
        saved.unlink()
    checkpoint.save(broken / "checkpoints", state)
    try:
        train(broken, CONTROLLED, splits)
    except RunFolderError:
        assert item is not None
    else:
        assert bool(differences(whole, broken)) == (item is not None)


def test_settings_that_only_look_change_no_bit_of_the_weights(
    whole: Path, splits: Splits, tmp_path: Path
) -> None:
    tensors = tensor_digests(checkpoint.read(checkpoint.saved(whole / "checkpoints")[-1]))
    for k, changes in enumerate(
        [
            {"record__every": 1},
            {"record__eval_every": 1},
            {"record__checkpoint_every": 3},
            {"record__checkpoint_every": 100},
            {"record__checkpoint_minutes": 1e-9},
            {"record__probes": ("gradient_profile",)},
            {"record__gradient_norm": False},
        ]
    ):
        for questions in (10**9, 5):
            folder, config = tmp_path / f"{k}-{questions}", tiny_config(**{**SHORT, **changes})
            while train(folder, config, splits, questions=questions) is None:
                pass
            newest = checkpoint.read(checkpoint.saved(folder / "checkpoints")[-1])
            assert tensor_digests(newest) == tensors, changes


def test_checkpoints_between_steps_leave_every_record_as_it_was(
    whole: Path, splits: Splits, tmp_path: Path
) -> None:
    config = tiny_config(**SHORT, record__checkpoint_minutes=1e-9)
    assert train(tmp_path, config, splits) is not None
    for name in ("metrics.jsonl", "profile.jsonl", "result.json"):
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()


def test_a_run_is_never_more_than_its_minutes_and_a_step_from_a_checkpoint(
    splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step takes four minutes here, and one alone is due by its number: at the end."""
    steps, now = [0], [0.0]
    step, save = engine.train_step, checkpoint.save

    def slow(*args: Any) -> Any:
        now[0] += 4 * 60
        return step(*args)

    def saved(folder: Path, state: State, kind: str = "step") -> Path:
        steps.append(state["step"])
        return save(folder, state, kind)

    monkeypatch.setattr(engine, "train_step", slow)
    monkeypatch.setattr(checkpoint, "save", saved)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    config = tiny_config(**{**SHORT, "optim__steps": 20, "record__checkpoint_every": 1000})
    assert train(tmp_path, config, splits) is not None
    assert steps == [0, 3, 6, 9, 12, 15, 18, 20]


def test_tensorboard_shows_every_step_once_after_a_resume(splits: Splits, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = tiny_config(**{**SHORT, "record__every": 1, "record__eval_every": 2})
    assert train(tmp_path, config, splits, until=6) is None
    checkpoint.saved(tmp_path / "checkpoints")[-1].unlink()  # as if killed: the next one goes back a step
    assert train(tmp_path, config, splits) is not None
    shown = EventAccumulator(str(tmp_path)).Reload()
    steps = {tag: [event.step for event in shown.Scalars(tag)] for tag in shown.Tags()["scalars"]}
    assert steps["Loss/train"] == list(range(8))
    assert steps["Loss/test"] == [2, 4, 6, 8]
    losses = [row.loss for row in Run(tmp_path).rows("step")]
    assert [event.value for event in shown.Scalars("Loss/train")] == pytest.approx(losses, rel=1e-6)


def test_tensorboard_has_nothing_twice_after_a_kill_before_the_first_checkpoint(
    splits: Splits, tmp_path: Path
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config, folder = tiny_config(**SHORT), tmp_path / "run"
    folder.mkdir()  # no run beside it, so that it holds the text
    assert train(folder, config, splits, until=1) is None
    shutil.rmtree(folder / "checkpoints")  # as if killed before it was saved
    assert train(folder, config, splits) is not None
    shown = EventAccumulator(str(folder)).Reload()
    tags = shown.Tags()["tensors"]
    assert len(tags) == 2  # the text and the custom scalars
    for tag in tags:
        steps = [event.step for event in shown.Tensors(tag)]
        assert len(steps) == len(set(steps)), tag
    paths = sorted(folder.glob("events.out.tfevents.*"))
    written = [EventAccumulator(str(path)).Reload() for path in paths]
    for tag in tags:
        assert sum(tag in each.Tags()["tensors"] for each in written) == 1, tag


def test_changed_images_are_refused(splits: Splits, tmp_path: Path) -> None:
    stopped(tmp_path, splits)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(RunFolderError, match="the images have changed"):
        train(tmp_path, CONFIG, make_splits(seed=1))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("section", "change", "says"),
    [
        ("versions", {"torch": "1.0"}, "began with .*torch 1.0.*bits would differ"),
        ("execution", {"device": "cuda"}, "no.*cuda|CUDA"),
    ],
)
def test_a_manifest_that_cannot_be_obeyed_here_is_said(
    section: str, change: dict, says: str, splits: Splits, tmp_path: Path
) -> None:
    if torch.cuda.is_available():
        pytest.skip("a CUDA device is here")
    manifest = Run(stopped(tmp_path, splits)).manifest.to_json()
    write_json(tmp_path / "manifest.json", {**manifest, section: {**manifest[section], **change}})
    with pytest.raises(ResourceError, match=says):
        train(tmp_path, CONFIG, splits)


def test_a_run_obeys_its_manifest_and_not_the_plan(splits: Splits, tmp_path: Path) -> None:
    stopped(tmp_path, splits)
    planned = Execution("cpu", "bfloat16", "eager", 2, "planned otherwise")
    with locked(tmp_path):
        run(CONFIG, tmp_path, splits, execution=planned)
    assert torch.get_num_threads() == 1


def test_a_checkpoint_of_another_net_is_refused(splits: Splits, tmp_path: Path) -> None:
    path = checkpoint.saved(stopped(tmp_path, splits) / "checkpoints")[-1]
    state = checkpoint.read(path)
    del state["net"]["head.weight"]
    checkpoint.save(path.parent, state)
    with pytest.raises(RunFolderError, match="of another net"):
        train(tmp_path, CONFIG, splits)


def test_an_altered_record_is_refused(splits: Splits, tmp_path: Path) -> None:
    stopped(tmp_path, splits)
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text().replace("0.", "1.", 1))
    with pytest.raises(RunFolderError, match="altered"):
        train(tmp_path, CONFIG, splits)


@pytest.mark.parametrize("what", ["all of it", "metrics.jsonl", "checkpoints"])
def test_a_folder_that_vanishes_or_changes_hands_while_training_ends_the_run(
    what: str, splits: Splits, tmp_path: Path
) -> None:
    folder = tmp_path / "run"

    def vanish(_: object) -> None:
        if (folder / ("" if what == "all of it" else what)).exists():
            shutil.move(folder / ("" if what == "all of it" else what), tmp_path / "moved")
        if what == "checkpoints":
            (folder / what).write_text("")

    with pytest.raises(RunFolderError) as caught, locked(folder):
        run(CONFIG, folder, splits, report=vanish)
    assert len(caught.value.lines) == 1
    assert what != "all of it" or not folder.exists()


def test_a_diverged_run_keeps_its_record_and_its_last_good_checkpoint(splits: Splits, tmp_path: Path) -> None:
    # Weight decay this large multiplies the weights by -9 at each step: they overflow after some 40 steps.
    config = tiny_config(
        **{**SHORT, "optim__steps": 100, "optim__lr": 10.0, "optim__weight_decay": 1.0, "model__norm": "none"}
    )
    with pytest.raises(Diverged, match=r"diverged at step \d+, learning rate 10: .* not finite"):
        train(tmp_path, config, splits)
    found = Run(tmp_path)
    assert found.status == "diverged"
    fault = found.metrics[-1]
    assert fault.kind == "fault"
    assert all(row.kind != "step" or row.step < fault.step for row in found.metrics[:-1])
    for path in checkpoint.saved(tmp_path / "checkpoints"):
        assert int(path.stem[-10:]) <= fault.step
    losses = read_losses(tmp_path)
    assert len(losses) == fault.step
    assert np.isfinite(losses).all()
    assert [check.what for check in verify(tmp_path, lambda: splits) if not check.holds] == []


def test_weights_that_overflow_in_the_very_last_step_are_a_fault_too(splits: Splits, tmp_path: Path) -> None:
    config = tiny_config(**{**SHORT, "optim__steps": 1, "optim__lr": 1e38, "model__norm": "none"})
    with pytest.raises(Diverged, match=r"diverged at step 1, .* evaluation not finite"):
        train(tmp_path, config, splits)
    assert not checkpoint.saved(tmp_path / "checkpoints")


def test_the_best_by_validation_is_kept_whatever_happens(splits: Splits, tmp_path: Path) -> None:
    with_validation = splits._replace(validation=make_splits(seed=1).test)
    config = tiny_config(
        **{**SHORT, "optim__steps": 30, "record__eval_every": 3, "record__checkpoint_every": 7}
    )
    folder = tmp_path / "run"
    while train(folder, config, with_validation, questions=13) is None:
        pass
    train(tmp_path / "whole", config, with_validation)
    assert differences(tmp_path / "whole", folder) == []
    rows = Run(folder).rows("evaluation")
    best = max(rows, key=lambda row: row.validation_accuracy or 0.0)  # the first of several
    assert [checkpoint.read(path)["step"] for path in checkpoint.saved(folder / "checkpoints", "best")] == [
        best.step
    ]
    assert not list((tmp_path / "none").glob("best*"))


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (None, None),
        ("metrics.jsonl", "metrics.jsonl"),
        ("result.json", "result.json"),
        ("config.yaml", "config.yaml"),
        ("checkpoints/step-0000000008.pt", "step-0000000008.pt"),
        ("images", "images"),
        ("weights", "trained again"),
    ],
)
def test_verify_finds_what_is_not_as_it_was(
    damage: str | None, what: str | None, whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    splits = make_splits(seed=1 if damage == "images" else 0)
    if damage == "weights":  # with a digest that fits: only training again can tell
        state = checkpoint.read(checkpoint.saved(folder / "checkpoints")[-1])
        state["net"]["head.bias"][0] += 1e-6
        checkpoint.save(folder / "checkpoints", state)
    elif damage not in (None, "images"):
        content = (folder / damage).read_bytes()
        old, new = (b"seed: 0", b"seed: 3") if damage == "config.yaml" else (b"4", b"5")
        (folder / damage).write_bytes(content.replace(old, new, 1))
    checks = list(verify(folder, lambda: splits))
    failed = [check.what for check in checks if not check.holds]
    assert (failed == []) if what is None else any(what in name for name in failed)
