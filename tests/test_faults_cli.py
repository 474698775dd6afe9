"""The real command: every fault is one line on stderr and its exit code, most of them before torch."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Sound, tiny_config
from harness.commands import resexp, resexp_from_cold, start, start_twice, write_config, write_images
from harness.comparing import differences


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, a config, and a run of it that has finished: runs/done."""
    folder = tmp_path_factory.mktemp("work")
    write_images(folder / "images")
    config = tiny_config(name="done", data={"name": "folder", "root": "images"}, record__probes=())
    write_config(folder / "c.yaml", config)
    done = resexp("train", "--config", "c.yaml", folder=folder)
    assert done.code == 0, done.stderr
    return folder


def one_line(stderr: str) -> str:
    assert stderr.count("\n") == 1, stderr
    assert "Traceback" not in stderr
    return stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ("train --config c.yaml", 0, "finished already; nothing to do"),
        ("train --resume runs/done", 0, "finished already; nothing to do"),
        ("train --config c.yaml --set seed=1", 4, "seed (0 there, 1 asked)"),
        ("train --config c.yaml --name ../up", 2, "name"),
        ("train --config c.yaml --name a/b", 2, "name"),
        ("train --config none.yaml", 2, "none.yaml"),
        ("train", 2, "--config"),
        ("train --resume runs/none", 4, "no run to go on with"),
        ("train --resume runs/done --set seed=1", 2, "--resume RUN"),
        ("train --config c.yaml --runs-dir c.yaml", 4, "c.yaml"),
        ("train --config c.yaml --runs-dir /proc/nowhere", 4, "/proc/nowhere"),
        ("train --config c.yaml --name mine", 4, "not a run folder (it holds notes.txt)"),
        ("train --config c.yaml --name last", 4, "symbolic link"),
        ("train --config c.yaml --name file", 4, "file"),
        ("compare plain residual --name done", 4, "holds a run, not a comparison"),
        ("compare plain residual --name mine", 4, "not a comparison folder (it holds notes.txt)"),
        ("verify runs/none", 4, "runs/none"),
        ("verify runs/mine", 4, "manifest.json"),
    ],
)
def test_a_fault_before_training_is_one_line_and_costs_no_torch(
    arguments: str, code: int, says: str, work: Path
) -> None:
    (work / "runs" / "mine").mkdir(exist_ok=True)
    (work / "runs" / "mine" / "notes.txt").write_text("mine")
    (work / "runs" / "file").write_text("mine")
    if not (work / "runs" / "last").is_symlink():
        (work / "runs" / "last").symlink_to("done")
    ended = resexp_from_cold(*arguments.split(), folder=work)
    assert ended.code == code, ended.stderr
    assert says in one_line(ended.stderr)
    assert ended.stdout.endswith("no torch\n")
    assert (work / "runs" / "mine" / "notes.txt").read_text() == "mine"


def test_of_two_simultaneous_starts_one_runs_and_the_other_leaves_without_torch(
    work: Path, sound: Sound
) -> None:
    sound("two simultaneous starts of one run", start_twice(work, 5, limit=math.inf))


def test_a_command_killed_and_resumed_ends_with_the_same_bits_and_verifies(work: Path) -> None:
    # Without the lock's pid there is no telling when it trains: wait for its first checkpoint.
    process = start(["train", "--config", "c.yaml", "--name", "killed"], work)
    while process.poll() is None and not list((work / "runs/killed").glob("checkpoints/*.pt")):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    ended = resexp("train", "--config", "c.yaml", "--name", "killed", "--resume", "auto", folder=work)
    assert ended.code == 0, ended.stderr
    assert set(differences(work / "runs/done", work / "runs/killed")) == {"config.yaml"}  # its name
    checked = resexp("verify", "runs/killed", folder=work)
    assert checked.code == 0, checked.stdout
    assert "steps 8 to 12, trained again" in checked.stdout
    assert "FAILS" not in checked.stdout


def test_an_interrupted_command_says_how_to_go_on(work: Path) -> None:
    process = start(["train", "--config", "c.yaml", "--name", "stopped", "--set", "optim.steps=100000"], work)
    while process.poll() is None and not list((work / "runs/stopped").glob("checkpoints/*.pt")):
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate()
    assert process.returncode == 143, stderr
    assert "Traceback" not in stderr
    assert "and saved; add --resume auto to go on" in stderr.splitlines()[-1]


def test_a_diverged_command_is_recorded_and_ends_with_5_each_time(work: Path) -> None:
    arguments = ["train", "--config", "c.yaml", "--name", "diverged", "--json"]
    arguments += ["--set", "optim.lr=1e30", "--set", "model.norm=none"]
    first, again = (resexp(*arguments, folder=work) for _ in range(2))
    assert (first.code, again.code) == (5, 5)
    assert (
        "diverged at step 1, learning rate 1e+30: loss not finite, first in" in first.stderr.splitlines()[-1]
    )
    assert "diverged already; nothing to do" in one_line(again.stderr)
    rows = [json.loads(ended.stdout.rpartition("\n]")[0] + "]") for ended in (first, again)]
    assert rows[0] == rows[1]
    assert rows[0][0]["status"] == "diverged"
    result = json.loads((work / "runs/diverged/result.json").read_text(), parse_constant=pytest.fail)
    assert result["status"] == "diverged"
    assert result["fault"]["step"] == 1


def test_a_disk_that_fills_up_is_6_and_says_what_is_needed(work: Path) -> None:
    script = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
    script += "from resexp.cli import main; main()"
    arguments = ["train", "--config", "c.yaml", "--name", "full"]
    environment = {**os.environ, "RESEXP_CACHE": str(work / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, cwd=work, env=environment
    )
    assert done.returncode == 6, done.stderr
    assert "bytes are needed" in done.stderr.splitlines()[-1]


def test_running_out_of_memory_is_6_with_the_batch_size(work: Path) -> None:
    script = "import torch, resexp.training.loop as loop\n"
    script += "from resexp.cli import main\n"
    script += "import resource; resource.setrlimit(resource.RLIMIT_DATA, (400 * 2**20,) * 2)\nmain()"
    arguments = ["train", "--config", "c.yaml", "--name", "big", "--set", "model.width=1024"]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        cwd=work,
        env={**os.environ, "OMP_NUM_THREADS": "1", "RESEXP_CACHE": str(work / "cache")},
    )
    assert done.returncode == 6, done.stderr
    assert "out of memory" in done.stderr.splitlines()[-1]
