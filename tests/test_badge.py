"""The badge: what verify found, and digests that anybody can compute anew from the folder."""

import hashlib
import json
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import torch
from conftest import tiny_config

from resexp.cli import app
from resexp.data import splits as data_splits
from resexp.data.splits import Splits
from resexp.errors import RunFolderError, UsageError
from resexp.experiments.verify import run_digests
from resexp.report.badge import badge, write_badge
from resexp.training import checkpoint
from resexp.training.loop import run

GREEN, RED = "#2e7d32", "#b3261e"


@pytest.fixture
def folder(tmp_path: Path, splits: Splits, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run whose images verify finds."""
    monkeypatch.setattr(data_splits, "load", lambda *_: splits)
    monkeypatch.setattr(sys, "argv", ["resexp"])
    run(tiny_config(name="one"), tmp_path / "one", splits)
    return tmp_path / "one"


def by_hand(folder: Path) -> dict[str, str]:
    manifest = json.loads((folder / "manifest.json").read_text())
    files = [
        hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("losses.bin", "metrics.jsonl")
    ]
    files.append(hashlib.sha256((folder / "profile.jsonl").read_bytes()).hexdigest())
    state = torch.load(checkpoint.saved(folder / "checkpoints", "step")[-1], weights_only=True)
    lines = []
    for part in ("momentum", "net"):
        for name, tensor in state[part].items():
            content = (
                f"{tensor.dtype} {tuple(tensor.shape)} ".encode() + tensor.contiguous().numpy().tobytes()
            )
            lines.append(f"{part}.{name} {hashlib.sha256(content).hexdigest()}")
    return {
        "config": manifest["config_digest"],
        "images": manifest["data"]["fingerprint"],
        "record": hashlib.sha256("\n".join(files).encode()).hexdigest(),
        "weights": hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest(),
    }


def test_the_digests_are_those_of_the_files_and_of_the_tensors(folder: Path, splits: Splits) -> None:
    assert run_digests(folder) == by_hand(folder)
    again = folder.with_name("two")
    run(tiny_config(name="two"), again, splits)
    assert run_digests(again) == run_digests(folder)
    other = folder.with_name("other")
    run(tiny_config(name="other", seed=1), other, splits)
    assert [key for key, value in run_digests(other).items() if value == run_digests(folder)[key]] == [
        "images"
    ]


def test_a_run_that_holds_gets_a_green_badge_and_a_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder.parent / "badges" / "one.svg"
    app(["verify", str(folder), "--badge", str(path)], standalone_mode=False)
    line = capsys.readouterr().out.splitlines()[-1]
    num = re.fullmatch(r"!\[resexp verify: (\d+) of \1 checks hold\]\((.*?)\) (.*)", line)
    assert num is not None
    assert num[2] == str(path)
    for name, digest in by_hand(folder).items():
        assert f"{name} `{digest[:12]}`" in num[3]
    drawn = ElementTree.fromstring(path.read_text())
    texts = [element.text or "" for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["resexp", f"verified {by_hand(folder)['config'][:8]}"]
    assert GREEN in path.read_text()
    assert len(path.read_bytes()) < 2000


def test_a_run_that_was_altered_gets_a_red_one_in_place_of_the_green(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder.parent / "one.svg"
    app(["verify", str(folder), "--badge", str(path)], standalone_mode=False)
    result = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps({**result, "test_accuracy": 0.99}))
    capsys.readouterr()
    with pytest.raises(RunFolderError, match="not what it says"):
        app(["verify", str(folder), "--badge", str(path), "--json"], standalone_mode=False)
    said = capsys.readouterr()
    document = json.loads(said.out)
    assert document["digests"] == by_hand(folder)
    assert "is replaced" in said.err
    assert RED in path.read_text()
    assert GREEN not in path.read_text()
    assert "not what it says" in path.read_text()


def test_what_is_no_badge_is_never_overwritten(tmp_path: Path) -> None:
    svg = badge(True, "0" * 64, "title")
    mine = tmp_path / "README.md"
    mine.write_text("mine")
    with pytest.raises(UsageError, match="no badge, so it stays as it is"):
        write_badge(mine, svg)
    assert mine.read_text() == "mine"
    assert not write_badge(tmp_path / "new.svg", svg)
    assert write_badge(tmp_path / "new.svg", svg)


def test_a_title_cannot_end_the_drawing() -> None:
    drawn = ElementTree.fromstring(badge(True, "0" * 64, "</title><script>alert(1)</script>"))
    assert [element.tag.partition("}")[2] for element in drawn] == ["title", "rect", "text", "rect", "text"]
