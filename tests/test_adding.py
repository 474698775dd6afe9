"""What docs/architecture.md says of adding: these edits suffice, and what was added is seen everywhere."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import tiny_config
from harness.commands import write_config, write_images
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from resexp.records.run import read_lines

SOURCE = Path(__file__).parents[1] / "resexp"
PROBE = '''"""The largest weight."""


def largest_weight(net, batch):
    values = [float(weight.abs().max()) for weight in net.parameters()]
    return {"largest": max(values), "tensors": values}
'''
EDITS = {
    "config/words.py": {
        'Activation = Literal["relu",': 'Activation = Literal["softsign", "relu",',
        'Probe = Literal["gradient_profile"]': 'Probe = Literal["gradient_profile", "largest_weight"]',
    },
    "models/blocks.py": {'    "relu": nn.ReLU,': '    "softsign": nn.Softsign,\n    "relu": nn.ReLU,'},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison made by a copy of the source to which both were added."""
    place = tmp_path_factory.mktemp("adding")
    package = place / "source" / "resexp"
    shutil.copytree(SOURCE, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "probes" / "largest_weight.py").write_text(PROBE)
    for name, changes in EDITS.items():
        text = (package / name).read_text()
        for old, new in changes.items():
            assert text.count(old) == 1
            text = text.replace(old, new)
        (package / name).write_text(text)
    write_images(place / "images")
    data = {"data__name": "folder", "data__root": str(place / "images")}
    write_config(place / "config.yaml", tiny_config(optim__steps=4, **data))
    sets = ["--set", "model.activation=softsign", "--set", "record.probes=[gradient_profile,largest_weight]"]
    command = [
        "compare",
        "plain",
        "residual",
        "--config",
        "config.yaml",
        *sets,
        "--seeds",
        "1",
        "--name",
        "it",
    ]
    ended = subprocess.run(
        [sys.executable, "-m", "resexp", *command, "--runs-dir", "runs"],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(place / "source"), "RESEXP_CACHE": str(place / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return place / "runs" / "it"


def test_what_was_added_is_in_the_record_in_tensorboard_and_on_the_page(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    assert "largest_weight: largest" in page
    assert "softsign" in "".join(path.read_text() for path in folder.glob("*/config.yaml"))
    for path in folder.glob("*/profile.jsonl"):
        rows = read_lines(path)
        mine = {row["step"]: row["largest"] for row in rows if row.get("probe") == "largest_weight"}
        assert mine.keys() == {row["step"] for row in rows if "probe" not in row} == {0, 1, 2, 4}
        events = EventAccumulator(str(path.parent)).Reload()
        drawn = {event.step: event.value for event in events.Scalars("probe/largest_weight/largest")}
        assert drawn == pytest.approx(mine)
        assert "gradient/log10_first_over_last" in events.Tags()["scalars"]
