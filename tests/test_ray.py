"""A comparison on a real Ray: the same as anywhere else, whatever dies, raises or is interrupted."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.grids import LONG, NUM_RUNS, bring_about, interrupt, once_saved, plan_in, trained_by
from harness.own import write_package

from resexp.cli import app
from resexp.config import RunSection
from resexp.errors import Exit, Interrupted, ResourceError
from resexp.records.run import Run
from resexp.training import checkpoint

ray = pytest.importorskip("ray")
on_ray = pytest.importorskip("resexp.experiments.executors.ray").on_ray


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """The address of a Ray with two CPUs and no GPU."""
    command = [sys.executable, str(Path(__file__).parent / "harness" / "cluster.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        yield process.stdout.readline().strip()
        process.stdin.close()


def test_a_killed_worker_and_a_run_that_raises_change_no_bit_of_the_comparison(
    cluster: str, tmp_path: Path, whole_grid: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kill -9 of a process that trains, in the middle; and one run that cannot be trained at first."""
    plan = plan_in(tmp_path)
    broken = plan.jobs[3].folder
    broken.mkdir(parents=True)
    (broken / "notes.txt").write_text("mine")
    with once_saved(plan, lambda pid: os.kill(pid, signal.SIGKILL)) as killed:
        ended = bring_about(plan, on_ray(cluster))
    assert killed
    assert killed[0] not in trained_by(plan.folder)
    assert any("goes on from step" in line for line in ended.shown.said)
    assert ended.failed
    assert ended.failed.code == Exit.RUN_FOLDER
    assert [line for line in ended.shown.said if str(broken) in line] == [
        f"{broken}: not a run folder (it holds notes.txt); choose another --name"
    ]
    assert (ended.shown.num_runs, len(set(ended.shown.ended))) == (NUM_RUNS, NUM_RUNS)
    (broken / "notes.txt").unlink()
    monkeypatch.chdir(tmp_path)
    options = ["--config", "c.yaml", "--depth", "5,8", "--seeds", "2", "--name", "c"]
    command = ["compare", "plain", "residual", *options, "--executor", "ray", "--ray-address", cluster]
    app(command, standalone_mode=False)
    assert ended.document == whole_grid
    assert os.getpid() not in trained_by(plan.folder)


def test_ctrl_c_saves_what_is_being_trained(cluster: str, tmp_path: Path) -> None:
    plan = plan_in(tmp_path, **LONG)
    with pytest.raises(Interrupted, match=r"stopped, 0 of 8 runs are over .* the same command goes on"):
        interrupt(plan, on_ray(cluster))
    begun = [job.folder for job in plan.jobs if (job.folder / "manifest.json").exists()]
    assert 1 <= len(begun) <= 2, "two CPUs, one for each run"
    assert {Run(folder).status for folder in begun} == {"unfinished"}
    assert any(checkpoint.saved(folder / "checkpoints") for folder in begun)


def test_a_run_that_no_machine_can_hold_is_refused(cluster: str) -> None:
    section = RunSection.model_validate_json('{"threads": 3, "device": "cpu"}')
    with on_ray(cluster) as where, pytest.raises(ResourceError, match=r"no machine .* 3 CPUs"):
        where.resolve(section, num_images=100)
    with on_ray(cluster, 0.5) as where, pytest.raises(ResourceError, match=r"0\.5 GPUs"):
        where.resolve(RunSection(), num_images=100)


def test_no_cluster_at_an_address_is_6() -> None:
    with pytest.raises(ResourceError, match="no Ray to be had there"), on_ray("127.0.0.1:1"):
        pass


def test_a_cluster_that_runs_elsewhere_finds_what_is_own(
    cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its processes were started in another folder, and know of this one only what the driver tells them."""
    write_package(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    small = ["optim.steps=2", "optim.batch_size=8", "model.width=4", "model.activation=twins.py:Silu"]
    sets = [word for text in small for word in ("--set", text)]
    where = ["--executor", "ray", "--ray-address", cluster, "--seeds", "1", "--name", "own"]
    app(["compare", "plain", "residual", "--config", "mine.yaml", *sets, *where], standalone_mode=False)
    runs = [Run(path.parent) for path in (tmp_path / "runs" / "own").glob("*/result.json")]
    assert [run.status for run in runs] == ["finished", "finished"]
    assert {row.path for row in runs[0].manifest.plugins} >= {
        f"{tmp_path}/twins.py:Silu",
        "mylab.inits:lecun",
    }
