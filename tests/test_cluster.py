"""The recipes for clusters, as far as one machine can try them: the script's signals, indices, shards."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from resexp.experiments.shard import parse_shard

PLACE = Path(__file__).parents[1] / "docs" / "cluster"
COMMAND = """#!/bin/bash
echo "$@" >> said
trap 'echo saved >> said; exit 143' USR1 TERM
touch began
for _ in $(seq 200); do sleep 0.05; [ -e end ] && exit "$(cat end)"; done
"""
"""What stands for resexp: says its words, saves at a signal, ends with the code in the file `end`."""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A PATH on which resexp and scontrol are short scripts of this folder."""
    commands = {"resexp": COMMAND, "scontrol": '#!/bin/bash\necho "scontrol $@" >> said\n'}
    for name, text in commands.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    slurm = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
    return {**slurm, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "17"}


def start(words: list[str], folder: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    script = ["bash", str(PLACE / "resexp.sbatch"), *words]
    process = subprocess.Popen(script, cwd=folder, env=environment, start_new_session=True)
    while not (folder / "began").exists():
        assert process.poll() is None
        time.sleep(0.01)
    return process


def test_before_the_limit_the_command_saves_and_the_job_is_queued_again(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    process = start(["train", "--resume", "auto"], tmp_path, environment)
    process.send_signal(signal.SIGUSR1)  # to the script alone, as --signal=B: does
    assert process.wait(20) == 143
    assert (tmp_path / "said").read_text() == "train --resume auto\nsaved\nscontrol requeue 17\n"


def test_a_job_that_is_cancelled_saves_once_and_is_not_queued_again(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    process = start(["train"], tmp_path, environment)
    os.killpg(process.pid, signal.SIGTERM)  # to all of the job's processes, as scancel does
    assert process.wait(20) == 143
    assert (tmp_path / "said").read_text() == "train\nsaved\n"


@pytest.mark.parametrize("code", [0, 4])
def test_the_jobs_code_is_the_commands(code: int, tmp_path: Path, environment: dict[str, str]) -> None:
    process = start(["runs"], tmp_path, environment)
    (tmp_path / "end").write_text(str(code))
    assert process.wait(20) == code
    assert (tmp_path / "said").read_text() == "runs\n"


def test_each_task_of_an_array_gets_its_shard(tmp_path: Path, environment: dict[str, str]) -> None:
    task = {**environment, "SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "8"}
    process = start(["compare", "plain", "residual"], tmp_path, task)
    (tmp_path / "end").write_text("0")
    assert process.wait(20) == 0
    assert (tmp_path / "said").read_text() == "compare plain residual --shard 3/8\n"


def test_the_pods_of_a_kubernetes_job_are_all_shards(tmp_path: Path, environment: dict[str, str]) -> None:
    job = yaml.safe_load((PLACE / "job.yaml").read_text())["spec"]
    assert job["completionMode"] == "Indexed"
    (container,) = job["template"]["spec"]["containers"]
    (tmp_path / "end").write_text("0")
    found = []
    for index in range(job["completions"]):
        pod = {**environment, "JOB_COMPLETION_INDEX": str(index)}
        subprocess.run([*container["command"], *container["args"]], cwd=tmp_path, env=pod, check=True)
        words = (tmp_path / "said").read_text().splitlines()[-1]
        assert words.startswith("compare plain residual ")
        found.append(parse_shard(words.rpartition(" ")[2]))
    assert found == [(index + 1, job["completions"]) for index in range(job["completions"])]


def test_the_container_takes_only_what_is_there() -> None:
    text = (PLACE / "Containerfile").read_text()
    root = PLACE.parents[1]
    for name in re.findall(r"/src/([\w.]+)", text):
        assert (root / name).is_file()
    assert re.search(r'ENTRYPOINT \["resexp"\]', text)
