"""The GPU path on a machine without a GPU: see tests/null_gpu. Of times and values this says nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import tiny_config
from harness.commands import write_config, write_images
from null_gpu.build import ROOT, CannotBuildError, build
from packaging.version import Version

from resexp.records.run import Run, read_json, read_lines

NODES = {
    ("20", "triton", "bfloat16"): 153,
    ("56", "triton", "bfloat16"): 387,
    ("20", "torch", "bfloat16"): 344,
    ("56", "torch", "bfloat16"): 884,
    ("20", "torch", "float32"): 204,
    ("56", "torch", "float32"): 492,
}
"""Kernels and copies of a recorded step, at most: lower one when the step gets shorter."""
MORE_BEFORE_2_14 = 3
"""torch 2.11 cuts many tensors at once into 1 (ResNet-20) to 3 kernels more."""
OPTIMIZERS = ("sgd", "adam", "adamw")
SCENARIOS = [
    "six_runs",
    *(" ".join(("step", *how)) for how in NODES),
    "a_run",
    *(f"recipe {optimizer}" for optimizer in OPTIMIZERS),
    "planted_sync",
    "planted_out_of_memory",
]

Environment = Mapping[str, str]


@pytest.fixture(scope="module")
def null_gpu(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """What a process's environment has to be for it to see the null GPU."""
    try:
        preloaded = build(tmp_path_factory.mktemp("null_gpu"))
    except CannotBuildError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    # torch's own page on stderr about what was never a failure here.
    return {**os.environ, **preloaded, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}


class Done(NamedTuple):
    code: int
    stdout: str
    stderr: str


def python(null_gpu: Environment, arguments: Sequence[str], folder: Path = ROOT, **settings: str) -> Done:
    command = [sys.executable, *arguments]
    done = subprocess.run(command, env={**null_gpu, **settings}, cwd=folder, capture_output=True, text=True)
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def answers(null_gpu: Environment) -> dict[str, Any]:
    """All scenarios that can share a process, by name."""
    arguments = " -- ".join(SCENARIOS).split()
    done = python(null_gpu, ["-m", "tests.null_gpu.scenarios", *arguments])
    assert done.code == 0, done.stderr
    return dict(zip(SCENARIOS, json.loads(done.stdout.splitlines()[-1]), strict=True))


@pytest.mark.parametrize("how", NODES, ids=" ".join)
def test_a_step_is_no_longer_than_it_was(answers: dict[str, Any], how: tuple[str, str, str]) -> None:
    more = 0 if Version(version("torch")) >= Version("2.14") else MORE_BEFORE_2_14
    assert answers[" ".join(("step", *how))]["nodes"] <= NODES[how] + more


@pytest.mark.parametrize("how", NODES, ids=" ".join)
def test_within_a_span_the_host_never_waits_and_hardly_launches(
    answers: dict[str, Any], how: tuple[str, str, str]
) -> None:
    found = answers[" ".join(("step", *how))]
    assert found["waits"] == 0
    assert found["beside"] <= 12  # of 100 steps: two windows of draws and rates, two readings


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_nor_does_it_where_gradients_are_clipped_images_cut_and_blocks_left_out(
    answers: dict[str, Any], optimizer: str
) -> None:
    found = answers[f"recipe {optimizer}"]
    assert found["waits"] == 0
    assert found["beside"] <= 14  # two windows of kept blocks, too


def test_between_spans_the_host_waits_once_for_the_readings(answers: dict[str, Any]) -> None:
    assert answers["a_run"] == {"mode": "graphed", "waits": [1, 1]}


def test_six_runs_hold_the_memory_of_one_and_break_no_capture(answers: dict[str, Any]) -> None:
    held = answers["six_runs"]["held"]
    assert max(held) <= 1.1 * held[0]
    assert answers["six_runs"]["faults"] == []


def test_a_read_back_in_the_step_ends_in_eager_steps_and_a_reason(answers: dict[str, Any]) -> None:
    found = answers["planted_sync"]
    assert (found["status"], found["mode"]) == ("finished", "eager")
    assert "mode eager after all: the step cannot be recorded" in found["reason"]
    assert found["said"] == [f"execution: {found['reason']}"]


def test_a_capture_that_runs_out_of_memory_says_so_and_the_process_lives(answers: dict[str, Any]) -> None:
    found = answers["planted_out_of_memory"]
    assert found["lines"] == ["FOLDER: out of memory with optim.batch_size 128; try a smaller one"] * 2
    assert found["after"] == "finished"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images and a config of 2,000 steps, of which the GPU has everything chosen for it."""
    folder = tmp_path_factory.mktemp("place")
    made = tiny_config(
        data__name="folder", data__root=str(write_images(folder / "images")), optim__steps=2000,
        optim__batch_size=16, record__eval_every=1000, record__checkpoint_every=500, run__device="auto",
        run__precision="auto", run__compile="auto",
    )  # fmt: skip
    write_config(folder / "config.yaml", made)
    return folder


def resexp(null_gpu: Environment, place: Path, *arguments: str, **settings: str) -> Done:
    where = {"RESEXP_CACHE": str(place / "cache")}
    return python(null_gpu, ["-m", "resexp", *arguments], place, **where, **settings)


def test_a_run_is_stopped_resumed_and_verified(null_gpu: Environment, place: Path) -> None:
    command = [sys.executable, "-m", "resexp", "train", "--config", "config.yaml", "--name", "stopped"]
    process = subprocess.Popen(
        command,
        env={**null_gpu, "RESEXP_CACHE": str(place / "cache")},
        cwd=place,
        stderr=subprocess.PIPE,
        text=True,
    )
    folder = place / "runs" / "stopped"
    while process.poll() is None and not any(read_lines(folder / "timing.jsonl")):
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate()
    assert process.returncode == 143, told
    assert Run(folder).manifest.execution.mode == "graphed"

    went_on = resexp(null_gpu, place, *command[3:], "--resume", "auto")
    assert went_on.code == 0, went_on.stderr
    assert "goes on from step" in went_on.stderr
    assert [row.step for row in Run(folder).rows("step")] == [*range(0, 2000, 5), 1999]
    verified = resexp(null_gpu, place, "verify", "runs/stopped")
    assert verified.code == 0, verified.stdout + verified.stderr
    assert "steps 1500 to 2000, trained again" in verified.stdout


def test_a_comparison_is_spread_over_two_gpus(null_gpu: Environment, place: Path) -> None:
    command = ["compare", "plain", "residual", "--config", "config.yaml", "--set", "optim.steps=100"]
    done = resexp(null_gpu, place, *command, "--name", "both", NULL_GPUS="2")
    assert done.code == 0, done.stderr
    folder = place / "runs" / "both"
    runs = [Run(path.parent) for path in folder.glob("*/result.json")]
    assert {run.manifest.execution.mode for run in runs} == {"graphed"}
    assert len(runs) == len(read_json(folder / "comparison.json")["runs"]) == 2
    assert "mode graphed" in done.stderr


def test_a_gpu_without_kernels_is_left_alone(null_gpu: Environment, place: Path) -> None:
    train = ["train", "--config", "config.yaml", "--set", "optim.steps=2"]
    chosen = resexp(null_gpu, place, *train, "--name", "old", NULL_GPU_CAPABILITY="7.0")
    assert chosen.code == 0, chosen.stderr
    execution = Run(place / "runs" / "old").manifest.execution.to_json()
    assert execution["device"] == "cpu"
    assert "no kernels for Null GPU, capability 7.0" in execution["reason"]
    asked = ["--name", "asked", "--set", "run.device=cuda"]
    refused = resexp(null_gpu, place, *train, *asked, NULL_GPU_CAPABILITY="7.0")
    assert refused.code == 6
    assert "run.device is cuda, but this torch has no kernels for Null GPU" in refused.stderr


BENCHMARKS = ["overhead --depth 8 --rounds 1 --steps 4", "schedule --depth 8 --steps 100 --seconds 5"]
BENCHMARKS += ["gpu_profile --depth 8 --steps 2"]
if "NULL_GPU_LONG" in os.environ:  # a minute
    BENCHMARKS += ["throughput --depth 8 --rounds 1 --steps 2"]


def test_benchmarks_for_a_gpu_come_to_their_end(null_gpu: Environment, tmp_path: Path) -> None:
    commands = [command.split(" ", 1) for command in BENCHMARKS]
    asked = " -- ".join(f"benchmark {name} {tmp_path} {arguments}" for name, arguments in commands)
    done = python(null_gpu, ["-m", "tests.null_gpu.scenarios", *asked.split()])
    assert done.code == 0, done.stderr
    assert "Traceback" not in done.stderr
    codes = json.loads(done.stdout.splitlines()[-1])
    assert set(codes) <= {0, 1}  # 1: too slow, of which nothing can be said here
    assert len(codes) == len(commands)
    for name, _ in commands:
        assert (tmp_path / f"{name}-null-gpu.json").exists()
