"""The commands as a user meets them: answers at once, one clear line for an error, its exit code."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import tiny_config
from harness.commands import write_config, write_images
from harness.interrupting import train

import resexp
from resexp.data.splits import Splits


def command(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "resexp", *words], capture_output=True, text=True, cwd=cwd)


def test_help_answers_at_once(tmp_path: Path) -> None:
    """0.3 s is the promise. Counted in processor time, the best of three: other programs may be running."""
    spent = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command("--help", cwd=tmp_path)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(spent) < 0.3


@pytest.mark.parametrize("words", [["--help"], ["validate", "plain20"], ["configs"], ["runs"]], ids=" ".join)
def test_what_trains_nothing_never_imports_torch(words: list[str], tmp_path: Path) -> None:
    script = "import sys; from resexp.cli import app; app(sys.argv[1:], standalone_mode=False)"
    script += "; print('torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, cwd=tmp_path
    )
    assert result.stdout.splitlines()[-1] == "False", result.stderr


def test_training_imports_no_compiler_and_draws_nothing_unasked(tmp_path: Path) -> None:
    write_config(
        tmp_path / "c.yaml", tiny_config(data__name="folder", data__root=str(write_images(tmp_path / "i")))
    )
    script = "import sys; from resexp.cli import app; app(sys.argv[1:], standalone_mode=False)"
    script += "; print({'torch._dynamo', 'sympy', 'matplotlib', 'scipy.stats'} & set(sys.modules))"
    words = ["train", "--config", "c.yaml", "--name", "n"]
    result = subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, cwd=tmp_path
    )
    assert result.stdout.splitlines()[-1] == "set()", result.stderr


def test_version_is_the_packages(tmp_path: Path) -> None:
    assert command("--version", cwd=tmp_path).stdout == f"resexp {resexp.__version__}\n"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["train"], 2, "--config"),
        (["train", "--config", "plain2"], 2, "plain20"),
        (["train", "--config", "plain20", "--set", "optim.lrr=1"], 2, "lr"),
        (["train", "--config", "plain20", "--name", "../x"], 2, "name"),
        (["compare", "plain", "plain"], 2, "twice"),
        (["compare", "plain", "--vary", "model.norm"], 2, "KEY=VALUE"),
        (["runs", "--status", "done"], 2, "finished"),
        (["validate"], 2, "CONFIG"),
        (["report", "nowhere"], 4, "nowhere"),
        (["train", "--resume", "nowhere"], 4, "nowhere"),
        (["validate", ""], 2, "after validate is empty"),
        (["runs", "--runs-dir", ""], 2, "after --runs-dir is empty"),
        (["runs", "--runs-dir="], 2, "--runs-dir is empty"),
        (["board", "--host", "", "--runs-dir", "."], 2, "after --host is empty"),
        (["board", "--host", "nobody.invalid", "--runs-dir", "."], 2, "--host nobody.invalid"),
        (["board", "--runs-dir", "nowhere"], 2, "no such folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_input_gets_one_clear_line_and_its_code(
    words: list[str], code: int, said: str, tmp_path: Path
) -> None:
    result = command(*words, cwd=tmp_path)
    assert result.returncode == code
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    ended = command("--debug", "validate", "nowhere.yaml", cwd=tmp_path)
    assert "Traceback" in ended.stderr
    assert ended.returncode == command("validate", "nowhere.yaml", cwd=tmp_path).returncode == 2


def test_a_full_disk_behind_stdout_is_said(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "resexp", "configs"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert ended.returncode == 6
    assert ended.stderr == "output: no space left\n"


def test_json_is_one_document_on_stdout(tmp_path: Path) -> None:
    for words in (["configs", "--json"], ["runs", "--json"], ["validate", "plain20", "--json"]):
        json.loads(command(*words, cwd=tmp_path).stdout)
    json.loads(command("validate", "--schema", cwd=tmp_path).stdout)


def test_runs_are_listed_by_every_word_that_is_asked_for(tmp_path: Path, splits: Splits) -> None:
    for depth, seed, kind in ((8, 8, "plain"), (8, 1, "residual"), (14, 8, "plain")):
        config = tiny_config(seed=seed, optim__steps=1, model__depth=depth, model__kind=kind)
        train(tmp_path / "runs" / f"d{depth}-s{seed}", config, splits)
    asked = {
        "--depth 8": 2,
        "--seed 8": 2,
        "--depth 8 --seed 8": 1,
        "--arm plain": 2,
        "--arm residual --seed 8": 0,
        "--status finished": 3,
        "--status diverged": 0,
    }
    for words, num in asked.items():
        listed = json.loads(command("runs", "--json", *words.split(), cwd=tmp_path).stdout)
        assert len(listed) == num, words
