"""Runs one after the other and side by side: the same comparison, whatever dies, raises or is interrupted."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from harness.grids import LONG, NUM_RUNS, Listener, bring_about, interrupt, once_saved, plan_in, trained_by

from resexp.errors import Exit, Interrupted
from resexp.experiments.compare import FailedRunsError
from resexp.experiments.executors.local import local
from resexp.experiments.plan import labels
from resexp.records.run import Run
from resexp.training import checkpoint

DEVICES = ["5", "7"]
"""No GPU is needed: the runs are on the CPU, and the processes are what is tried."""
NOTES = "not a run folder (it holds notes.txt); choose another --name"


def spoil(folder: Path) -> None:
    """Put something into a run's folder that is not a run's, so that it cannot be trained there."""
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")


def test_processes_side_by_side_have_a_device_each_and_give_the_same_comparison(
    tmp_path: Path, whole_grid: bytes
) -> None:
    plan, devices = plan_in(tmp_path), set[bytes]()

    def look(_: int) -> None:
        for pid in trained_by(plan.folder) - {os.getpid()}:
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            devices.update(text for text in variables if text.startswith(b"CUDA_VISIBLE_DEVICES="))

    with once_saved(plan, look):
        ended = bring_about(plan, local(DEVICES))
    assert ended.document == whole_grid
    assert ended.failed is None
    assert len(trained_by(ended.folder)) == 2
    assert os.getpid() not in trained_by(ended.folder)
    if Path("/proc").exists():
        assert devices
        assert devices <= {b"CUDA_VISIBLE_DEVICES=5", b"CUDA_VISIBLE_DEVICES=7"}
    assert os.environ.get("CUDA_VISIBLE_DEVICES") not in DEVICES
    assert (ended.shown.num_runs, len(set(ended.shown.ended))) == (NUM_RUNS, NUM_RUNS)
    assert all((steps[0], steps[-1]) == (0, 100) for steps in ended.shown.steps.values())
    again = bring_about(plan, local(DEVICES))
    assert again.document == whole_grid
    assert again.shown.num_runs == 0, "what has ended is not trained again"


def test_a_killed_process_is_replaced_and_a_run_that_raises_holds_up_nobody(
    tmp_path: Path, whole_grid: bytes
) -> None:
    plan = plan_in(tmp_path)
    broken = plan.jobs[5].folder
    spoil(broken)
    with once_saved(plan, lambda pid: os.kill(pid, signal.SIGKILL)) as killed:
        ended = bring_about(plan, local(DEVICES))
    assert killed
    assert any("its process ended with -9; another goes on" in line for line in ended.shown.said)
    assert any("goes on from step" in line for line in ended.shown.said)
    assert [line for line in ended.shown.said if str(broken) in line] == [f"{broken}: {NOTES}"]
    assert ended.failed
    assert ended.failed.code == Exit.RUN_FOLDER
    (broken / "notes.txt").unlink()
    assert bring_about(plan, local(DEVICES)).document == whole_grid


@pytest.mark.parametrize("devices", [None, DEVICES], ids=["in turn", "side by side"])
def test_ctrl_c_saves_what_is_being_trained(devices: list[str] | None, tmp_path: Path) -> None:
    plan, shown = plan_in(tmp_path, **LONG), Listener()
    with pytest.raises(Interrupted, match=r"stopped, 0 of 8 runs are over .* the same command goes on"):
        interrupt(plan, local(devices), shown)
    assert shown.ended == [], "a run that was saved is not over"
    begun = [job.folder for job in plan.jobs if (job.folder / "manifest.json").exists()]
    assert len(begun) == len(devices or [1])
    assert {Run(folder).status for folder in begun} == {"unfinished"}
    assert any(checkpoint.saved(folder / "checkpoints") for folder in begun)
    assert not (plan.folder / "comparison.json").exists()


def test_what_ctrl_c_left_is_gone_on_with(tmp_path: Path, whole_grid: bytes) -> None:
    with pytest.raises(Interrupted):
        interrupt(plan_in(tmp_path), local())
    assert bring_about(plan_in(tmp_path), local()).document == whole_grid


def test_a_run_that_raises_is_reported_and_the_others_are_compared(tmp_path: Path, whole_grid: bytes) -> None:
    plan = plan_in(tmp_path)
    broken = plan.jobs[1].folder
    spoil(broken)
    ended = bring_about(plan, local())
    assert ended.failed
    assert ended.failed.code == Exit.RUN_FOLDER
    assert f"1 of 8 runs failed, as said above, and the others went on: {broken.name}" in str(ended.failed)
    assert [line for line in ended.shown.said if str(broken) in line] == [f"{broken}: {NOTES}"]
    assert ended.document.count(b'"folder"') == NUM_RUNS - 1
    (broken / "notes.txt").unlink()
    assert bring_about(plan, local()).document == whole_grid


def test_a_comparison_of_which_every_run_raises_is_none(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    for job in plan.jobs:
        spoil(job.folder)
    with pytest.raises(FailedRunsError, match="8 of 8 runs failed") as raised:
        bring_about(plan, local())
    assert raised.value.code == Exit.RUN_FOLDER
    assert not (plan.folder / "comparison.json").exists()


def test_no_two_runs_are_called_the_same(tmp_path: Path) -> None:
    jobs = plan_in(tmp_path).jobs
    assert labels(jobs)[jobs[0].folder] == "plain d5 none s0"
    faster = jobs[0].config.model_validate({**jobs[0].config.model_dump(), "optim": {"lr": 0.2}})
    twin = jobs[0]._replace(config=faster, folder=tmp_path / "twin")
    assert labels([*jobs, twin])[twin.folder] == "twin"
    assert len(set(labels([*jobs, twin]).values())) == NUM_RUNS + 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--executor ray", "pip install 'resexp[ray]'"),
        ("--gpus-per-run 0.5", "go with --executor ray"),
        ("--ray-address auto", "go with --executor ray"),
    ],
)
def test_what_cannot_be_is_said_at_once_with_2(options: str, says: str, tmp_path: Path) -> None:
    """As on a machine without Ray: a None in sys.modules is a package that cannot be imported."""
    script = "import sys; sys.modules['ray'] = None; from resexp.cli import main; main()"
    command = [sys.executable, "-c", script, "compare", "plain", "residual", *options.split()]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
