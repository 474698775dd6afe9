"""An existing run is never overwritten, and a damaged one is said to be."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from conftest import tiny_config

from resexp.config import write
from resexp.errors import RunFolderError
from resexp.records.files import write_json
from resexp.records.preflight import admit
from resexp.records.run import Run, scan

MANIFEST: dict[str, Any] = {
    "kind": "run",
    "config_digest": tiny_config().digest(),
    "data": {"name": "crayons", "label": "crayons (drawn)", "fingerprint": "0", "num_classes": 10},
    "execution": {"device": "cpu", "precision": "float32", "mode": "eager", "threads": 1, "reason": ""},
    "versions": {"resexp": "0", "torch": "0"},
    "layers": ["stem.conv"],
    "parameters": 1,
}
RESULT: dict[str, Any] = {
    "status": "finished",
    "steps": 12,
    "final_loss": 2.3,
    "loss_area": 2.3,
    "train_accuracy": 0.1,
    "test_accuracy": 0.1,
    "gradient": None,
    "transport": {"initial": None, "final": None},
    "curve": {"step": [], "loss": []},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run that has begun."""
    (tmp_path / "config.yaml").write_text(write(tiny_config()))
    write_json(tmp_path / "manifest.json", MANIFEST)
    return tmp_path


def test_an_unfinished_run_goes_on_when_asked(folder: Path) -> None:
    assert admit(folder, tiny_config(), resume=True) == "resume"
    assert admit(folder, tiny_config(name="other"), resume=True) == "resume"
    with pytest.raises(RunFolderError, match="--resume auto"):
        admit(folder, tiny_config(), resume=False)


@pytest.mark.parametrize("status", ["finished", "diverged"])
def test_an_ended_run_is_left_alone(status: str, folder: Path) -> None:
    write_json(folder / "result.json", {**RESULT, "status": status})
    assert admit(folder, tiny_config(), resume=False) == "finished"
    assert Run(folder).status == status


def test_another_experiment_is_refused_with_the_keys_that_differ(folder: Path) -> None:
    with pytest.raises(RunFolderError) as caught:
        admit(folder, tiny_config(optim__lr=0.1, seed=3), resume=True)
    assert "optim.lr (0.05 there, 0.1 asked)" in str(caught.value)
    assert "seed (0 there, 3 asked)" in str(caught.value)
    assert "model" not in str(caught.value)


def test_a_config_edited_after_the_start_is_refused_even_where_it_is_what_is_asked(folder: Path) -> None:
    (folder / "config.yaml").write_text(write(tiny_config(seed=1)))
    with pytest.raises(RunFolderError, match="changed since the run began"):
        admit(folder, tiny_config(seed=1), resume=True)


def test_what_a_start_killed_before_its_manifest_left_is_taken_over(tmp_path: Path) -> None:
    assert admit(tmp_path, tiny_config(), resume=False) == "new"
    (tmp_path / "lock").touch()
    (tmp_path / ".manifest.json.tmp").write_text("{")
    (tmp_path / "config.yaml").write_text(write(tiny_config()))
    assert admit(tmp_path, tiny_config(), resume=False) == "new"


@pytest.mark.parametrize("name", ["config.yaml", "notes.txt", "metrics.jsonl", "checkpoints"])
def test_a_folder_that_holds_something_else_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(RunFolderError, match=f"holds {name}"):
        admit(tmp_path, tiny_config(), resume=True)
    assert (tmp_path / name).read_text() == "mine"


def without(path: str) -> dict[str, Any]:
    manifest = json.loads(json.dumps(MANIFEST))
    *sections, key = path.split(".")
    part = manifest
    for section in sections:
        part = part[section]
    del part[key]
    return manifest


DAMAGES = {
    "empty": b"",
    "cut": json.dumps(MANIFEST).encode()[:-9],
    "not text": b"\xff\xfe\x00",
    "a list": b"[]",
    "null": b"null",
    "deep": b"[" * 100_000,
    "another kind": json.dumps({**MANIFEST, "kind": "comparison"}).encode(),
    "a section is a list": json.dumps({**MANIFEST, "execution": []}).encode(),
    "threads is text": json.dumps(
        {**MANIFEST, "execution": {**MANIFEST["execution"], "threads": "1"}}
    ).encode(),
} | {
    f"no {path}": json.dumps(without(path)).encode()
    for path in ("config_digest", "data", "data.fingerprint", "execution.mode", "versions.torch", "layers")
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_manifest_is_one_line(damage: str, folder: Path) -> None:
    (folder / "manifest.json").write_bytes(DAMAGES[damage])
    with pytest.raises(RunFolderError) as caught:
        admit(folder, tiny_config(), resume=True)
    assert len(caught.value.lines) == 1
    assert str(folder) in caught.value.lines[0]


@pytest.mark.parametrize("damage", [b"", b"a: [", b"\xff", b"model: {depth: 9}"])
def test_a_damaged_config_is_said(damage: bytes, folder: Path) -> None:
    (folder / "config.yaml").write_bytes(damage)
    with pytest.raises(RunFolderError, match=r"config\.yaml"):
        admit(folder, tiny_config(), resume=True)


@pytest.mark.parametrize(
    "damage", ["{", "{}", *(json.dumps({**RESULT, key: ["abc"]}) for key in RESULT)], ids=str
)
def test_a_damaged_result_is_said(damage: str, folder: Path) -> None:
    (folder / "result.json").write_text(damage)
    with pytest.raises(RunFolderError, match=r"result\.json: damaged"):
        admit(folder, tiny_config(), resume=True)


def test_one_damaged_folder_never_hides_the_others(folder: Path) -> None:
    for name in ("a", "b", "c"):
        (folder / name).mkdir()
        (folder / name / "config.yaml").write_text(write(tiny_config()))
        write_json(folder / name / "manifest.json", MANIFEST)
    (folder / "b" / "manifest.json").write_text("{")
    write_json(folder / "a" / "manifest.json", {})
    os.mkfifo(folder / "result.json")
    found = {run.folder.name: fault is None for run, fault in scan(folder)}
    assert found == {folder.name: False, "a": False, "b": False, "c": True}
