"""The trace: so many steps as torch.profiler saw them, and training as if nobody had looked."""

import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from conftest import tiny_config

from resexp.data.splits import Splits
from resexp.training import checkpoint, loop
from resexp.training.engine import prepared_engine
from resexp.training.execution import Execution
from resexp.training.loop import run
from resexp.training.trace import trace_steps

RECORD = ("metrics.jsonl", "profile.jsonl", "losses.bin", "result.json", "config.yaml")


def events(folder: Path) -> Counter[str]:
    document = json.loads((folder / "trace.json").read_text())
    return Counter(event["name"] for event in document["traceEvents"] if event.get("ph") == "X")


@pytest.mark.parametrize(
    "changes", [{}, {"optim__ema": 0.9}, {"model__norm": "none"}, {"optim__name": "adam"}], ids=str
)
def test_a_traced_run_is_the_same_run_to_the_last_bit(changes: dict, tmp_path: Path, splits: Splits) -> None:
    config = tiny_config(name="run", **changes)
    said: list[str] = []
    run(config, tmp_path / "quiet" / "run", splits)
    run(config, tmp_path / "traced" / "run", splits, trace=3, say=said.append)
    for name in RECORD:
        assert (tmp_path / "quiet" / "run" / name).read_bytes() == (
            tmp_path / "traced" / "run" / name
        ).read_bytes(), name
    quiet, traced = (
        checkpoint.newest(tmp_path / place / "run" / "checkpoints")[0] for place in ("quiet", "traced")
    )
    assert quiet is not None
    assert traced is not None
    for part in ("net", "momentum", *(["average"] if changes.get("optim__ema") else [])):
        assert quiet[part].keys() == traced[part].keys()
        assert all(torch.equal(tensor, traced[part][name]) for name, tensor in quiet[part].items())
    timed = [
        (tmp_path / place / "run" / "timing.jsonl").read_text().count("\n") for place in ("quiet", "traced")
    ]
    assert timed[0] == timed[1] > 0
    assert any("trace.json: 3 steps traced; open it at https://ui.perfetto.dev" in line for line in said)
    assert not list((tmp_path / "traced" / "run").glob(".*"))


def test_the_trace_holds_so_many_steps_and_what_happened_in_them(tmp_path: Path, splits: Splits) -> None:
    config = tiny_config(name="run", model__depth=8)
    run(config, tmp_path, splits, trace=4)
    seen = events(tmp_path)
    assert seen["step"] == 4
    assert seen["aten::cross_entropy_loss"] == 4
    # Stem and six convolutions in the blocks of depth 8, forward.
    assert seen["aten::conv2d"] == 4 * 7


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_an_engine_is_as_it_was_however_its_steps_are_made(mode: str, tmp_path: Path, splits: Splits) -> None:
    execution = Execution("cpu", "float32", mode, 1, "")
    looked_at, left_alone = (
        prepared_engine(tiny_config(optim__ema=0.9), splits.train, execution) for _ in range(2)
    )
    for engine in (looked_at, left_alone):
        engine.advance(5)
    trace_steps(looked_at, tmp_path, 2)
    assert looked_at.step == left_alone.step == 5
    losses = [engine.advance(5).loss for engine in (looked_at, left_alone)]
    assert torch.equal(*losses)


def test_a_trace_that_is_there_is_replaced_with_a_word(tmp_path: Path, splits: Splits) -> None:
    engine = prepared_engine(tiny_config(), splits.train, Execution("cpu", "float32", "eager", 1, ""))
    assert "in place of" not in trace_steps(engine, tmp_path, 1)
    assert "in place of the one before" in trace_steps(engine, tmp_path, 2)
    assert events(tmp_path)["step"] == 2


def test_a_run_that_fails_after_its_trace_leaves_a_folder_to_begin_in(
    tmp_path: Path, splits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("no step")

    monkeypatch.setattr(loop, "_train", fails)
    with pytest.raises(RuntimeError, match="no step"):
        run(tiny_config(name="run"), tmp_path / "run", splits, trace=1)
    assert [path.name for path in (tmp_path / "run").iterdir() if path.is_file()] == []
