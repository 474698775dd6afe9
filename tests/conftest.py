"""Tiny data and configs that the tests share."""

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from harness.tally import Tally

from resexp.analysis.cells import summary_of
from resexp.analysis.verdicts import compare_runs
from resexp.config import Config
from resexp.data.dataset import dataset, fingerprint, statistics
from resexp.data.splits import Splits
from resexp.experiments.executors.local import local
from resexp.records.files import write_json
from resexp.records.run import Run
from resexp.report.comparison_page import write_report
from resexp.training.loop import run

# Read when ray is imported: without it 127.0.0.1 would be the network card to the Ray that the tests share.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


def make_splits(num_train: int = 64, num_test: int = 32, num_classes: int = 4, seed: int = 0) -> Splits:
    """Images of noise whose brightness tells the class: enough to train on, made in a moment."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for num in (num_train, num_test):
        labels = torch.arange(num) % num_classes
        noise = torch.randint(0, 64, (num, 3, 32, 32), generator=generator)
        parts.append(((noise + 48 * labels[:, None, None, None]).to(torch.uint8), labels))
    names = tuple("abcdefgh"[:num_classes])
    normalisation = statistics(parts[0][0], "channel")
    train, test = (dataset(images, labels, names, normalisation) for images, labels in parts)
    return Splits(train, None, test, "folder", "folder tiny", fingerprint(*parts[0]), "")


Sound = Callable[[str, Tally], None]
COUNTED = "broken on purpose"


@pytest.fixture
def sound(record_property: Callable[[str, object], None]) -> Sound:
    """Fails unless nothing came of what was broken on purpose; the suite says at its end how often it was."""

    def check(what: str, tally: Tally) -> None:
        record_property(COUNTED, tally.line(what))
        assert not tally.faults

    return check


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = [report for name in ("passed", "failed") for report in terminalreporter.getreports(name)]
    lines = [value for report in reports for key, value in report.user_properties if key == COUNTED]
    if lines:
        terminalreporter.write_sep("-", COUNTED)
        terminalreporter.write_line("\n".join(lines))


@pytest.fixture(scope="session")
def splits() -> Splits:
    return make_splits()


def tiny_config(**changes: object) -> Config:
    """A net of depth 8 and width 4, a dozen steps; `changes` by dotted key with __ for the dot."""
    tree: dict[str, dict[str, object]] = {
        "data": {"name": "crayons"},
        "model": {"depth": 8, "width": 4},
        "optim": {"steps": 12, "batch_size": 8, "lr": 0.05, "schedule": {"name": "constant"}},
        "run": {"device": "cpu", "precision": "float32", "compile": False, "threads": 1},
        "record": {"every": 5, "eval_every": 6, "checkpoint_every": 4, "pictures": False},
    }
    top = {}
    for key, value in changes.items():
        section, _, rest = key.partition("__")
        if rest:
            tree[section][rest] = value
        else:
            top[key] = value
    return Config.model_validate({**tree, **top})


@pytest.fixture(scope="session")
def comparison(tmp_path_factory: pytest.TempPathFactory, splits: Splits) -> Path:
    """A comparison folder with real runs: plain and residual, depths 8 and 14, two norms, two seeds."""
    folder = tmp_path_factory.mktemp("comparison")
    runs = []
    for norm, init in (("none", "default"), ("batch", "he")):
        for depth, kind, seed in itertools.product((8, 14), ("plain", "residual"), (0, 1)):
            model = {"model__kind": kind, "model__depth": depth, "model__norm": norm, "model__init": init}
            run_folder = folder / f"{kind}-d{depth}-{norm}-s{seed}"
            run(tiny_config(name=run_folder.name, seed=seed, **model), run_folder, splits)
            runs.append(summary_of(Run(run_folder), arm=kind, beside=folder))
    write_json(folder / "comparison.json", compare_runs(runs).to_json())
    write_json(folder / "manifest.json", {"kind": "comparison", "command": "resexp compare plain residual"})
    write_report(folder)
    return folder


@pytest.fixture(scope="session")
def whole_grid(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """comparison.json of the comparison in harness/grids.py, trained run by run in this process."""
    from harness.grids import bring_about, plan_in

    return bring_about(plan_in(tmp_path_factory.mktemp("grid")), local()).document


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium; on a developer's machine without one the tests are skipped, in CI they fail."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if os.environ.get("CI") != "true":
        pytest.importorskip("playwright")
        if path is None:
            pytest.skip("no Chromium here; on Debian: apt install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Without a path it is playwright's own; where CI has neither, this fails, as it should.
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS), timeout=120_000)
        yield browser
        browser.close()
