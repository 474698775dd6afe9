"""The real command on what people bring: what ends it, what it says, what it leaves behind."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import tiny_config
from harness.commands import resexp, write_config, write_images

from resexp.records.run import Run


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images under a hostile name, and a config."""
    folder = tmp_path_factory.mktemp("work")
    write_images(folder / NAME)
    config = tiny_config(data={"name": "folder", "root": NAME}, optim__steps=2)
    write_config(folder / "c.yaml", config)
    return folder


NAME = "my$data_$set {x} \\frac 猫"


def test_a_name_that_looks_like_a_formula_costs_nothing(work: Path) -> None:
    ended = resexp("train", "--config", "c.yaml", "--name", "dollars", folder=work)
    assert ended.code == 0, ended.stderr
    assert Run(work / "runs/dollars").status == "finished"
    assert "Traceback" not in ended.stderr
    assert "Warning" not in ended.stderr
    assert "could not be drawn" not in ended.stderr


def runs_in(encoding: str, command: str, work: Path) -> tuple[int, str, bytes]:
    done = subprocess.run(
        [sys.executable, "-m", "resexp", *command.split()],
        capture_output=True,
        cwd=work,
        env={**os.environ, "PYTHONIOENCODING": encoding, "RESEXP_CACHE": str(work / "cache")},
    )
    return done.returncode, done.stdout.decode(encoding.partition(":")[0]), done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1:strict", "cp437"])
@pytest.mark.parametrize("command", ["train --config c.yaml --name shown", "runs"])
def test_a_stdout_that_cannot_show_all_shows_what_it_can(work: Path, encoding: str, command: str) -> None:
    unfinished = work / "runs" / "Bär猫"
    resexp("train", "--config", "c.yaml", "--name", "shown", folder=work)
    shutil.copytree(work / "runs/shown", unfinished, dirs_exist_ok=True)
    (unfinished / "result.json").unlink()
    code, out, err = runs_in(encoding, command, work)
    assert code == 0, err
    assert b"bug" not in err
    assert "shown" in out
    code, out, _ = runs_in(encoding, "runs --json", work)
    assert code == 0
    assert out.isascii() or encoding == "cp437"
    assert json.loads(out) == json.loads(runs_in("utf-8", "runs --json", work)[1])


def test_a_tilde_that_the_shell_left_is_the_home_folder(work: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    write_images(home / "images")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "resexp", "train", "--config", "c.yaml", "--runs-dir=~/runs"),
            *("--set", "data.root=~/images", "--name", "there"),
        ],
        capture_output=True,
        text=True,
        cwd=work,
        env={**os.environ, "HOME": str(home), "RESEXP_CACHE": "~/cache"},
    )
    assert done.returncode == 0, done.stderr
    assert Run(home / "runs/there").status == "finished"
    assert (home / "cache").is_dir()
    assert not (work / "~").exists()


def test_advice_on_a_tilde_names_the_folder_that_is_meant(tmp_path: Path) -> None:
    for arguments in (
        ["data", "verify", "--root=~/none"],
        ["train", "--config", "plain20", "--data", "cifar10", "--set", "data.root=~/none"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "resexp", *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={
                **os.environ,
                "HOME": str(tmp_path / "home"),
                "RESEXP_CIFAR10_URL": "http://127.0.0.1:9/none",
            },
        )
        assert done.returncode == 3, done.stderr
        assert f"resexp data fetch --root {tmp_path}/home/none" in done.stderr
        assert not (tmp_path / "~").exists()


def test_a_run_that_cannot_begin_leaves_its_name_to_the_mended_one(work: Path) -> None:
    arguments = ["train", "--config", "c.yaml", "--name", "large", "--set"]
    refused = resexp(*arguments, "optim.batch_size=65", folder=work)
    assert refused.code == 3, refused.stderr
    assert "optim.batch_size is 65, but there are only 64 training images" in refused.stderr
    assert [path.name for path in (work / "runs/large").iterdir()] == ["lock"]
    mended = resexp(*arguments, "optim.batch_size=8", folder=work)
    assert mended.code == 0, mended.stderr


def test_so_does_one_whose_first_step_does_not_fit_into_memory(work: Path) -> None:
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
    mended = resexp("train", "--config", "c.yaml", "--name", "big", folder=work)
    assert mended.code == 0, mended.stderr


def test_a_finished_run_goes_on_to_more_steps(work: Path) -> None:
    arguments = ["train", "--config", "c.yaml", "--name", "longer", "--set"]
    assert resexp(*arguments, "optim.steps=2", folder=work).code == 0
    refused = resexp(*arguments, "optim.steps=4", folder=work)
    assert refused.code == 4
    assert "or go on with `train --resume auto`" in refused.stderr
    longer, again = (resexp(*arguments, "optim.steps=4", "--resume", "auto", folder=work) for _ in range(2))
    assert longer.code == 0, longer.stderr
    assert again.code == 0, again.stderr
    assert "finished already" in again.stderr
    run = Run(work / "runs/longer")
    assert run.result is not None
    assert (run.config.optim.steps, run.result.steps) == (4, 4)
    checked = resexp("verify", "runs/longer", folder=work)
    assert checked.code == 0, checked.stdout


def test_a_run_that_cannot_go_on_is_not_said_to_go_on(work: Path) -> None:
    cosine = ["--set", "optim.schedule={name: cosine, warmup_steps: 0}"]
    arguments = ["train", "--config", "c.yaml", "--name", "ends", *cosine, "--set"]
    assert resexp(*arguments, "optim.steps=2", folder=work).code == 0
    refused = resexp(*arguments, "optim.steps=4", "--resume", "auto", folder=work)
    assert refused.code == 4
    (line,) = refused.stderr.splitlines()
    assert "the cosine schedule ends with the run" in line


SHORT = [
    ("{name: cosine, warmup_steps: 400}", "its warm-up of 400 steps is as long as the run (4) or longer"),
    ("{name: multistep, warmup_steps: 3, milestones: [1, 2]}", "a milestone lies within its warm-up of 3"),
]


@pytest.mark.parametrize(("schedule", "says"), SHORT)
def test_a_schedule_that_never_reaches_lr_is_said_by_validate_and_train(
    work: Path, schedule: str, says: str
) -> None:
    sets = ["--set", "optim.steps=4", "--set", f"optim.schedule={schedule}"]
    checked = resexp("validate", "c.yaml", *sets, folder=work)
    assert checked.code == 0
    assert says in checked.stderr
    assert says not in checked.stdout
    name = f"short{len(says)}"
    trained = resexp("train", "--config", "c.yaml", "--name", name, *sets, folder=work)
    assert trained.code == 0, trained.stderr
    assert says in trained.stderr


def test_what_a_folder_is_read_as_is_said_and_recorded(tmp_path: Path) -> None:
    write_images(tmp_path / "images")
    os.link(next((tmp_path / "images/train/a").iterdir()), tmp_path / "images/test/b/again.png")
    write_config(tmp_path / "c.yaml", tiny_config(data={"name": "folder", "root": "images"}, optim__steps=2))
    ended = resexp("train", "--config", "c.yaml", "--name", "shared", folder=tmp_path)
    said = "1 of 33 test images are training images too, pixel for pixel"
    assert said in ended.stderr
    data = Run(tmp_path / "runs/shared").manifest.data
    assert data.num_test_in_train == 1
    split = resexp(
        *("train", "--config", "c.yaml", "--name", "split", "--set", "data.test_split=0.25"), folder=tmp_path
    )
    assert "16 of 64 images became test images (data.test_split 0.25" in split.stderr
    notes = Run(tmp_path / "runs/split").manifest.data.notes or []
    assert len(notes) == 1
    assert notes[0] in split.stderr
