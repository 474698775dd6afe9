"""The losses lie in a file of their own: neither a checkpoint nor memory grows with the steps made."""

import json
import os
import shutil
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import tiny_config
from harness.breaking import SHORT
from harness.comparing import differences
from harness.interrupting import train

from resexp.data.splits import Splits
from resexp.errors import RunFolderError
from resexp.experiments.verify import verify
from resexp.records.files import ensure
from resexp.records.jsonl import EMPTY
from resexp.records.lock import locked
from resexp.records.losses import LOSSES, LossFile, losses_beside, read_losses
from resexp.records.run import stream_metrics
from resexp.records.summary import summarize
from resexp.training import checkpoint
from resexp.training.extend import extend
from resexp.training.loop import run
from resexp.training.metrics import MetricsLogger

FEW, MANY = 1_000, 1_000_000
LAYERS = [f"layer{k}" for k in range(20)]
NORMS = list(np.linspace(0.1, 2.0, len(LAYERS)))
CONFIG = tiny_config(**SHORT)


def journal_after(folder: Path, steps: int) -> dict[str, Any]:
    """Write the losses of so many steps in `folder`, and return what a checkpoint after them says."""
    ensure(folder)
    with LossFile(folder / LOSSES, EMPTY) as losses:
        losses.take(np.random.default_rng(0).random(steps))
        marks = {"metrics": EMPTY, "profile": EMPTY, "losses": losses.sync()}
    return {"low": NORMS, "high": NORMS, "best": [steps, 0.5], "marks": marks}


def saved_after(folder: Path, steps: int) -> Callable[[], Path]:
    """A run that was resumed after so many steps; the function returned saves it, and says where."""
    logger = MetricsLogger(folder, CONFIG, LAYERS, journal_after(folder, steps), data="images")
    net = {"weight": torch.zeros(14_000)}

    def save() -> Path:
        state = {"step": steps, "net": net, "momentum": {}, "journal": logger.state()}
        return checkpoint.save(folder / "checkpoints", state)

    return save


def fastest(*calls: Callable[[], object], rounds: int = 9) -> list[float]:
    """The shortest time of each in seconds; they take turns, so that what else runs slows all of them."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for k, call in enumerate(calls):
            began = time.perf_counter()
            call()
            times[k].append(time.perf_counter() - began)
    return [min(each) for each in times]


def test_a_checkpoint_after_a_million_steps_costs_what_one_after_a_thousand_does(tmp_path: Path) -> None:
    saves = [saved_after(tmp_path / str(steps), steps) for steps in (FEW, MANY)]
    few, many = (save() for save in saves)
    assert many.stat().st_size == pytest.approx(few.stat().st_size, rel=0.05)
    # Held to twice the time: 60 times as long were the losses within.
    for short, long in (
        fastest(*saves),
        fastest(lambda: checkpoint.read(few), lambda: checkpoint.read(many)),
    ):
        assert long < 2 * short + 0.005


def test_a_run_of_a_million_steps_is_taken_up_and_saved_in_a_few_megabytes(tmp_path: Path) -> None:
    journal = journal_after(tmp_path, MANY)
    tracemalloc.start()
    MetricsLogger(tmp_path, CONFIG, LAYERS, journal, data="images").state()
    assert peak() < 4 * 2**20  # the losses alone are 8 MB, as Python's numbers 32


def peak() -> int:
    _, found = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return found


@pytest.mark.parametrize("num", [100, 5_000])
def test_a_summary_holds_neither_the_rows_nor_the_losses(num: int, tmp_path: Path) -> None:
    row = {"kind": "step", "loss": 1.0, "lr": 0.1, "gradient_norm": NORMS}
    with (tmp_path / "metrics.jsonl").open("w") as file:
        for step in range(num):
            file.write(json.dumps({**row, "step": step}) + "\n")
    journal_after(tmp_path, num * 100)
    tracemalloc.start()
    found = summarize(
        layers=LAYERS,
        losses=read_losses(tmp_path),
        metrics=stream_metrics(tmp_path / "metrics.jsonl"),
        profile=[],
        steps=num,
    )
    assert peak() < 2**19  # 5,000 rows are 7 MB as Python's objects, and 500,000 losses are 4
    assert found.steps == num * 100
    assert found.gradient is not None


def test_a_summary_of_the_map_has_the_bits_of_one_of_a_list(tmp_path: Path) -> None:
    for steps in (1, 7, 199, 201, 12_345):
        journal_after(tmp_path, steps)
        listed = read_losses(tmp_path).tolist()
        found = summarize(layers=[], losses=read_losses(tmp_path), metrics=[], profile=[], steps=steps)
        assert found.final_loss == float(np.mean(listed[-max(1, steps // 10) :]))
        assert found.loss_area == float(np.mean(listed))
        parts = np.array_split(np.asarray(listed), min(200, steps))
        assert found.curve.loss == [float(part.mean()) for part in parts]


def as_written_before(folder: Path) -> None:
    """Make of a run's checkpoints what they were when they held a list of all losses."""
    losses = read_losses(folder).tolist()
    for kind in checkpoint.KEPT:
        for state in [checkpoint.read(path) for path in checkpoint.saved(folder / "checkpoints", kind)]:
            del state["journal"]["marks"]["losses"]
            state["journal"]["losses"] = losses[: state["step"]]
            checkpoint.save(folder / "checkpoints", state, kind)
    (folder / LOSSES).unlink()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, splits: Splits) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(folder, CONFIG, splits)
    return folder


@pytest.fixture
def stopped(splits: Splits, tmp_path: Path) -> Path:
    """A run that was interrupted after step 6."""
    assert train(tmp_path / "run", CONFIG, splits, until=6) is None
    return tmp_path / "run"


def failed(folder: Path, splits: Splits) -> list[str]:
    return [check.what for check in verify(folder, lambda: splits) if not check.holds]


def test_a_run_whose_checkpoints_hold_a_list_goes_on_to_the_same_bits(
    stopped: Path, whole: Path, splits: Splits
) -> None:
    as_written_before(stopped)
    assert failed(stopped, splits) == []
    (stopped / LOSSES).write_bytes(b"left by a kill before the first checkpoint that marks it")
    assert train(stopped, CONFIG, splits) is not None
    assert differences(whole, stopped) == []
    assert failed(stopped, splits) == []


def test_a_finished_run_whose_checkpoints_hold_a_list_is_verified_and_extended(
    whole: Path, splits: Splits, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    run(tiny_config(**{**SHORT, "optim__steps": 4}), folder, splits)
    as_written_before(folder)
    assert failed(folder, splits) == []
    with locked(folder):
        run(extend(folder, 8), folder, splits)
    assert differences(whole, folder) == []


def test_what_came_after_the_checkpoint_is_cut_off(stopped: Path, whole: Path, splits: Splits) -> None:
    with (stopped / LOSSES).open("ab") as file:
        file.write(np.full(3, 7.0).tobytes() + b"cut")
    assert train(stopped, CONFIG, splits) is not None
    assert differences(whole, stopped) == []


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[11] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink])
def test_damaged_losses_are_never_gone_on_from(
    damage: Callable[[Path], object], stopped: Path, splits: Splits
) -> None:
    damage(stopped / LOSSES)
    with pytest.raises(RunFolderError, match=r"losses.bin: altered, its first 48 bytes"):
        train(stopped, CONFIG, splits)


@pytest.mark.parametrize("damage", [cut, flip])
def test_verify_sees_damaged_losses(
    damage: Callable[[Path], object], whole: Path, splits: Splits, tmp_path: Path
) -> None:
    shutil.copytree(whole, tmp_path / "run")
    damage(tmp_path / "run" / LOSSES)
    found = failed(tmp_path / "run", splits)
    assert "first 64 bytes of losses.bin" in found
    assert "result.json" in found


def test_a_loss_cut_by_a_kill_is_no_loss_and_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    assert len(read_losses(tmp_path)) == 0
    (tmp_path / LOSSES).write_bytes(np.array([0.1, 0.2], "<f8").tobytes()[:-1])
    assert read_losses(tmp_path).tolist() == [0.1]
    (tmp_path / LOSSES).unlink()
    os.mkfifo(tmp_path / LOSSES)
    for look in (lambda: losses_beside(tmp_path, {}), lambda: LossFile(tmp_path / LOSSES, EMPTY)):
        with pytest.raises(RunFolderError):
            look()
