"""Shards: every run in exactly one, trained at once, and together the comparison of one command."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import tiny_config
from harness.commands import start, write_config, write_images
from harness.grids import NUM_RUNS, Listener, bring_about, plan_in

from resexp.cli import app
from resexp.errors import InUseError, UsageError
from resexp.experiments import compare
from resexp.experiments.compare import run_plan
from resexp.experiments.executors.local import local
from resexp.experiments.plan import Plan
from resexp.experiments.shard import Shard, parse_shard
from resexp.records.files import write_json
from resexp.signals import Stop


def train_shard(plan: Plan, shard: Shard) -> None:
    assert (
        run_plan(plan, executor=local(), command=["resexp"], stop=Stop(), show=Listener(), shard=shard)
        is None
    )


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 40])
def test_every_job_is_in_exactly_one_shard_and_shards_are_of_one_size(count: int, tmp_path: Path) -> None:
    jobs = plan_in(tmp_path).jobs
    parts = [Shard(number, count).jobs(jobs) for number in range(1, count + 1)]
    assert sorted(job.folder for part in parts for job in part) == sorted(job.folder for job in jobs)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_shards_in_any_order_then_the_whole_give_what_one_command_gives(
    tmp_path: Path, whole_grid: bytes
) -> None:
    plan = plan_in(tmp_path)
    for number, ended in ((3, 2), (1, 5), (2, 8)):
        train_shard(plan, Shard(number, 3))
        assert len(list(plan.folder.glob("*/result.json"))) == ended
        assert not (plan.folder / "comparison.json").exists()
    trained = {path: path.stat().st_mtime_ns for path in plan.folder.glob("*/result.json")}
    assert len(trained) == NUM_RUNS
    assert bring_about(plan, local()).document == whole_grid
    assert trained == {path: path.stat().st_mtime_ns for path in plan.folder.glob("*/result.json")}


def test_two_shards_at_once_train_side_by_side(tmp_path: Path) -> None:
    write_images(tmp_path / "images")
    config = tiny_config(data={"name": "folder", "root": "images"}, optim__steps=40)
    write_config(tmp_path / "c.yaml", config)
    words = ["compare", "plain", "residual", "--config", "c.yaml", "--name", "c", "--seeds", "2"]
    both = [start([*words, "--shard", f"{k}/2"], tmp_path) for k in (1, 2)]
    for k, process in enumerate(both, start=1):
        stdout, stderr = process.communicate()
        assert process.returncode == 0, stderr
        assert f"runs/c: shard {k}/2 has ended" in stdout
    assert len(list(tmp_path.glob("runs/c/*/result.json"))) == 4
    assert not (tmp_path / "runs" / "c" / "comparison.json").exists()


def test_a_shard_keeps_the_looks_that_were_made(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    train_shard(plan, Shard(1, 8))
    manifest = json.loads((plan.folder / "manifest.json").read_text())
    looks = [{"number": 1, "seeds": 2, "level": 0.04, "ended": 8}]
    write_json(plan.folder / "manifest.json", {**manifest, "looks": looks})
    train_shard(plan, Shard(2, 8))
    assert json.loads((plan.folder / "manifest.json").read_text())["looks"] == looks


def test_a_shard_waits_for_whoever_compares_and_then_says_who(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_in(tmp_path)
    child = "import sys; from pathlib import Path; from resexp.records.lock import locked\n"
    child += "with locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    monkeypatch.setattr(compare, "SHARD_PATIENCE", 0.1)
    with subprocess.Popen(
        [sys.executable, "-c", child, str(plan.folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        holder.stdout.readline()
        with pytest.raises(InUseError, match=f"in use by process {holder.pid}"):
            train_shard(plan, Shard(1, 2))
        holder.stdin.close()


@pytest.mark.parametrize("text", ["3", "0/3", "4/3", "a/b", "1/", "-1/2", "1/99999", "1/2/3"])
def test_what_is_no_shard_is_one_line(text: str) -> None:
    with pytest.raises(UsageError, match=f"compare --shard {text}: write K/N"):
        parse_shard(text)


@pytest.mark.parametrize("words", [["--until", "resolved"], ["--dry-run"]])
def test_a_shard_alone_neither_looks_nor_forecasts(words: list[str]) -> None:
    with pytest.raises(UsageError, match="--shard goes without"):
        app(["compare", "plain", "residual", "--shard", "1/2", *words], standalone_mode=False)
