"""A comparison killed in the middle goes on where it was, and ends as if nobody had touched it."""

import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import tiny_config
from harness.commands import resexp, start, write_config, write_images
from harness.comparing import differences

COMPARE = ["compare", "plain", "residual", "--config", "c.yaml", "--name", "c", "--runs-dir"]


def kill_once_saved(process: subprocess.Popen[str], runs: Path, num: int) -> None:
    """Kill -9 when the `num`-th run of the comparison has its first checkpoint and has not ended."""
    while process.poll() is None:
        begun = {path.parents[1] for path in runs.glob("*/checkpoints/step-*.pt")}
        if len(begun) >= num and sum((run / "result.json").exists() for run in begun) < num:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.002)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "it was to be killed in the middle, and had ended"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    write_images(folder / "images")
    data = {"name": "folder", "root": "images"}
    config = tiny_config(data=data, optim__steps=60, record__probes=(), record__checkpoint_every=4)
    write_config(folder / "c.yaml", config)
    return folder


def test_a_comparison_killed_twice_gives_the_same_comparison(place: Path) -> None:
    """In two folders for runs: in one, the second would find the first's runs and take them."""
    assert resexp(*COMPARE, "whole", folder=place).code == 0
    whole, runs = place / "whole" / "c", place / "killed" / "c"
    for num in (1, 2):
        kill_once_saved(start([*COMPARE, "killed"], place), runs, num)
    assert not (runs / "comparison.json").exists()
    assert resexp(*COMPARE, "killed", folder=place).code == 0
    assert (runs / "comparison.json").read_bytes() == (whole / "comparison.json").read_bytes()
    for run in whole.glob("*-s0-*"):
        assert differences(run, runs / run.name) == []
