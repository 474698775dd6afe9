"""Exports: read back by the library that they are for, they give the numbers of the record, all of them."""

import csv
import importlib.util
import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import tiny_config

from resexp.cli import app
from resexp.data.splits import Splits
from resexp.errors import InUseError, RunFolderError, UsageError
from resexp.records.lock import locked
from resexp.report.export import ADAPTERS, csv_files, export_runs
from resexp.report.export.course import exported
from resexp.training.loop import run

Numbers = dict[str, float]
"""'run step name' to value."""


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def recorded(folder: Path) -> Numbers:
    """Every number of a run's record, read from its files by hand."""
    layers = [
        f"{k:03d}.{name}"
        for k, name in enumerate(json.loads((folder / "manifest.json").read_text())["layers"])
    ]
    found: dict[tuple[int, str], float] = {}
    content = (folder / "losses.bin").read_bytes()
    for step, loss in enumerate(struct.unpack(f"<{len(content) // 8}d", content)):
        found[step, "Loss/train"] = loss
    for row in lines_of(folder / "metrics.jsonl"):
        if row["kind"] == "step":
            found[row["step"], "learning_rate"] = row["lr"]
            for key in ("gradient_norm", "gradient_norm_min", "gradient_norm_max"):
                found |= {
                    (row["step"], f"{key}/{layer}"): x for layer, x in zip(layers, row[key], strict=True)
                }
        elif row["kind"] == "evaluation":
            for images, shown in (("train", "train_evaluated"), ("test", "test")):
                found[row["step"], f"Loss/{shown}"] = row[f"{images}_loss"]
                found[row["step"], f"Accuracy/{shown}"] = row[f"{images}_accuracy"]
    for row in lines_of(folder / "profile.jsonl"):
        found[row["step"], "profile/loss"] = row["loss"]
        for kind, key in (("outputs", "outputs"), ("weights", "layers")):
            for part in row[key]:
                for name, value in part.items():
                    if isinstance(value, int | float):
                        found[row["step"], f"profile/{kind}/{part['name']}/{name}"] = value
    for row in lines_of(folder / "timing.jsonl"):
        found[row["step"], "images_per_second"] = row["images_per_second"]
    return {f"{folder.name} {step} {name}": float(value) for (step, name), value in found.items()}


def all_recorded(comparison: Path) -> Numbers:
    rows = json.loads((comparison / "comparison.json").read_text())["runs"]
    assert len(rows) == 16
    return {key: value for row in rows for key, value in recorded(comparison / row["folder"]).items()}


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "resexp", *words], capture_output=True, text=True)


def test_a_comparison_read_back_from_csv_is_the_record(comparison: Path, tmp_path: Path) -> None:
    assert command("export", str(comparison), "--out", str(tmp_path / "out")).returncode == 0
    with (tmp_path / "out" / "numbers.csv").open() as file:
        found = {
            f"{row['run']} {row['step']} {row['name']}": float(row["value"]) for row in csv.DictReader(file)
        }
    assert found == all_recorded(comparison)
    with (tmp_path / "out" / "runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        result = json.loads((comparison / row["run"] / "result.json").read_text())
        assert float(row["result.final_loss"]) == result["final_loss"]
        assert float(row["result.gradient.first.norm"]) == result["gradient"]["first"]["norm"]
        assert row["status"] == "finished"
        assert row["run"].startswith(f"{row['arm']}-d{row['model.depth']}-{row['model.norm']}-")


READ_BACK = {
    "parquet": """
import pyarrow.parquet as parquet
for row in parquet.read_table(f"{folder}/numbers.parquet").to_pylist():
    found[f"{row['run']} {row['step']} {row['name']}"] = row["value"]
for row in parquet.read_table(f"{folder}/runs.parquet").to_pylist():
    settings[row["run"]] = [str(row["model.depth"]), row["config_digest"], row["result.final_loss"]]
""",
    "wandb": """
import glob
from wandb.proto.wandb_internal_pb2 import Record
def records(path):
    # Seven bytes, then blocks of 32 KiB that hold pieces: checksum (4), length (2), kind (1: whole, 4: last).
    data, at, whole = open(path, "rb").read(), 7, b""
    assert data.startswith(b":W&B")
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            record = Record()
            record.ParseFromString(whole)
            yield record
            whole = b""
for path in glob.glob(f"{folder}/wandb/offline-run-*/*.wandb"):
    config, summary = {}, {}
    for record in records(path):
        if record.run.display_name:
            name = record.run.display_name
            config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        for item in record.history.item:
            key = item.key or "/".join(item.nested_key)
            if not key.startswith("_"):
                found[f"{name} {record.history.step.num} {key}"] = json.loads(item.value_json)
        for item in record.summary.update:
            summary[item.key or ".".join(item.nested_key)] = json.loads(item.value_json)
    settings[name] = [str(config["model.depth"]), config["facts"]["config_digest"]]
    settings[name].append(summary["result.final_loss"])
""",
    "mlflow": """
from mlflow import MlflowClient
client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
(experiment,) = [one for one in client.search_experiments() if one.name != "Default"]
for run in client.search_runs([experiment.experiment_id]):
    name = run.info.run_name
    assert run.info.status == "FINISHED"
    for key in run.data.metrics:
        if not key.startswith("result."):
            for metric in client.get_metric_history(run.info.run_id, key):
                found[f"{name} {metric.step} {key}"] = metric.value
    settings[name] = [run.data.params["model.depth"], run.data.tags["config_digest"]]
    settings[name].append(run.data.metrics["result.final_loss"])
""",
    "trackio": """
import os
os.environ |= {"TRACKIO_DIR": folder, "HF_HUB_OFFLINE": "1"}
from trackio import Api
from trackio.sqlite_storage import SQLiteStorage
(project,) = SQLiteStorage.get_projects()
for run in Api().runs(project):
    for row in SQLiteStorage.get_logs(project, run.name, run_id=run.id):
        values = {key: value for key, value in row.items() if key not in ("step", "timestamp")}
        found |= {f"{run.name} {row['step']} {key}": value for key, value in values.items()}
    config = run.config
    settings[run.name] = [str(config["model.depth"]), config["facts"]["config_digest"]]
    settings[run.name].append(config["result"]["final_loss"])
""",
}
"""What each library's own reader finds, in a process of its own: the libraries keep global state."""


@pytest.mark.parametrize("to", READ_BACK)
def test_read_back_by_its_own_library_an_export_is_the_record(
    to: str, comparison: Path, tmp_path: Path
) -> None:
    needed = ADAPTERS[to].needs
    assert needed is not None
    if importlib.util.find_spec(needed) is None:
        pytest.skip(f"pip install 'resexp[{to}]'")
    place = tmp_path / "out"
    ended = command("export", str(comparison), "--to", to, "--out", str(place), "--json")
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout)
    assert said["folder"] == str(place)
    assert str(place) in said["look"]
    script = f"import json, sys\nfolder, found, settings = {str(place)!r}, {{}}, {{}}\n{READ_BACK[to]}\n"
    script += "print(json.dumps([found, settings]))"
    read = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert read.returncode == 0, read.stderr
    found, settings = json.loads(read.stdout.splitlines()[-1])
    assert found == all_recorded(comparison)
    for name, (depth, digest, final_loss) in settings.items():
        manifest = json.loads((comparison / name / "manifest.json").read_text())
        result = json.loads((comparison / name / "result.json").read_text())
        assert f"-d{depth}-" in name
        assert (digest, final_loss) == (manifest["config_digest"], result["final_loss"])
    assert len(settings) == 16
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_is_there_already_stays_as_it_is(comparison: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("mine", "empty", "link"):
        ended = command("export", str(comparison), "--out", str(tmp_path / name))
        assert ended.returncode == 4
        assert (
            ended.stderr == f"{tmp_path / name}: is there already, and stays as it is; choose another --out\n"
        )
    assert (tmp_path / "mine").read_text() == "mine"
    assert list((tmp_path / "empty").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "link", "mine"]


def test_an_export_that_fails_on_its_way_leaves_nothing(
    comparison: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(runs: object, folder: Path, **_: object) -> str:
        (folder / "half").write_text("half")
        raise RunFolderError("damaged")

    monkeypatch.setattr(csv_files, "write_csv", fails)
    with pytest.raises(RunFolderError, match="damaged"):
        export_runs(exported(comparison), "csv", tmp_path / "out", project="x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("to", ["parquet", "wandb", "mlflow", "trackio"])
def test_a_missing_library_is_one_line_with_the_command(
    to: str, comparison: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError) as raised:
        app(["export", str(comparison), "--to", to, "--out", str(tmp_path / "out")], standalone_mode=False)
    (line,) = raised.value.lines
    assert line.endswith(f"which is not installed: pip install 'resexp[{to}]'")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_record_or_is_being_written_is_refused(comparison: Path, tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="neither a run nor a comparison"):
        exported(tmp_path)
    (tmp_path / "manifest.json").write_text('{"kind": "gradients"}')
    with pytest.raises(RunFolderError, match="neither a run nor a comparison"):
        exported(tmp_path)
    child = "import sys; from pathlib import Path; from resexp.records.lock import locked\n"
    child += "with locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    folder = next(comparison.glob("plain-*"))
    with subprocess.Popen(
        [sys.executable, "-c", child, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        holder.stdout.readline()
        with pytest.raises(InUseError, match="still being written"):
            exported(folder)
        holder.stdin.close()
    with locked(folder):
        pass
    (one,) = exported(folder)
    assert (one.name, one.arm) == (folder.name, "plain")


def test_runs_of_one_name_from_two_folders_are_told_apart(comparison: Path, tmp_path: Path) -> None:
    """The second comparison holds one run twice, by two ways."""
    folder = next(comparison.glob("plain-*"))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        os.symlink(folder, tmp_path / name / "same")
    row = next(
        row
        for row in json.loads((comparison / "comparison.json").read_text())["runs"]
        if row["folder"] == folder.name
    )
    rows = [{**row, "folder": f"{name}/same", "arm": name} for name in ("a", "b")]
    (tmp_path / "comparison.json").write_text(json.dumps({"runs": rows, "verdicts": []}))
    (tmp_path / "manifest.json").write_text('{"kind": "comparison"}')
    assert [(one.name, one.arm) for one in exported(tmp_path)] == [("a/same", "a"), ("b/same", "b")]


def test_of_a_diverged_run_every_finite_number_is_exported(tmp_path: Path, splits: Splits) -> None:
    from resexp.errors import Diverged

    folder = tmp_path / "run"
    with pytest.raises(Diverged):
        run(tiny_config(name="run", optim__lr=1e18, model__norm="none"), folder, splits)
    (one,) = exported(folder)
    assert one.facts["status"] == "diverged"
    points = dict(one.points())
    for value in (value for numbers in points.values() for value in numbers.values()):
        assert value - value == 0
    losses = struct.iter_unpack("<d", (folder / "losses.bin").read_bytes())
    finite = {step: loss for step, (loss,) in enumerate(losses) if loss - loss == 0}
    assert {
        step: numbers["Loss/train"] for step, numbers in points.items() if "Loss/train" in numbers
    } == finite


def test_exporting_never_imports_torch(comparison: Path, tmp_path: Path) -> None:
    script = "import sys; from resexp.cli import app; app(sys.argv[1:], standalone_mode=False)"
    script += "; print('torch' in sys.modules)"
    words = ["export", str(comparison), "--out", str(tmp_path / "out")]
    ended = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "False"
