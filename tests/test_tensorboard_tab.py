"""TensorBoard's tab of resexp: what it shows is what was recorded, whatever lies beside it."""

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import make_splits, tiny_config
from test_browser import free_port, wait_for
from werkzeug.test import Client

from resexp.tensorboard import plugin
from resexp.tensorboard.plugin import GradientTab, gradients_of, list_runs
from resexp.training.loop import run

SERVE = """
import sys, time
from tensorboard import default, program
from resexp.tensorboard.plugin import GradientTab
board = program.TensorBoard(plugins=[*default.get_static_plugins(), GradientTab])
board.configure(argv=["", "--logdir", sys.argv[1], "--port", sys.argv[2], "--host", "127.0.0.1"])
board.launch()
time.sleep(600)
"""
EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two twins without norm among others, and a damaged folder and one that is somebody else's."""
    folder = tmp_path_factory.mktemp("tab")
    for kind in ("plain", "residual"):
        config = tiny_config(
            name=kind, model__kind=kind, model__depth=14, model__norm="none", record__every=1
        )
        run(config, folder / "it" / f"{kind}14", make_splits())
        run(tiny_config(name=kind, model__kind=kind), folder / "a" / f"{kind}8", make_splits())
    damaged = folder / EVIL
    damaged.mkdir()
    (damaged / "manifest.json").write_text('{"kind": "run", ')
    (folder / "notes").mkdir()
    (folder / "notes" / "manifest.json").write_text('{"kind": "notes"}')
    return folder


def recorded(root: Path, name: str) -> dict[int, list[float]]:
    """Gradient norms by step, as json reads them."""
    rows = map(json.loads, (root / name / "metrics.jsonl").read_text().splitlines())
    return {row["step"]: row["gradient_norm"] for row in rows if row["kind"] == "step"}


def test_runs_are_listed_and_a_damaged_folder_is_a_line(root: Path) -> None:
    found = list_runs(root)
    assert [tuple(run.values()) for run in found["runs"]] == [
        ("a/plain8", "plain", 8, "batch", True),
        ("a/residual8", "residual", 8, "batch", True),
        ("it/plain14", "plain", 14, "none", True),
        ("it/residual14", "residual", 14, "none", True),
    ]
    (fault,) = found["faults"]
    assert EVIL in fault
    assert "manifest.json" in fault


def test_what_is_sent_is_what_was_recorded(root: Path) -> None:
    sent = gradients_of(root, "it/plain14")
    expected = recorded(root, "it/plain14")
    assert dict(zip(sent["steps"], sent["norms"], strict=True)) == expected
    assert len(sent["layers"]) == 14 == len(sent["norms"][0])
    assert sent["recorded"] == len(expected) == 12


def test_a_long_run_is_thinned_evenly_and_says_of_how_many(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugin, "MOST_COLUMNS", 4)
    sent = gradients_of(root, "it/plain14")
    assert sent["steps"] == [0, 4, 7, 11]
    assert sent["recorded"] == 12


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_sent_as_null_and_zero_as_zero(root: Path, value: float) -> None:
    assert [plugin._finite(each) for each in (value, 0.0, 1e-300)] == [None, 0.0, 1e-300]


@pytest.mark.parametrize("name", ["", "..", "../tab", "/etc", "it", "notes", "it/plain14/../plain14", EVIL])
def test_a_name_leads_to_no_other_place(root: Path, name: str) -> None:
    client = Client(GradientTab(context(root)).get_plugin_apps()["/gradients"])
    answer = client.get("/gradients", query_string={"run": name})
    assert answer.status_code == 404
    assert set(answer.get_json()) == {"fault"}


def context(root: Path) -> Any:
    from tensorboard.plugins.base_plugin import TBContext

    return TBContext(logdir=str(root))


def test_without_runs_the_tab_is_not_shown(root: Path, tmp_path: Path) -> None:
    assert GradientTab(context(root)).is_active()
    assert not GradientTab(context(tmp_path)).is_active()
    assert list_runs(tmp_path) == {"runs": [], "faults": []}


@pytest.fixture(scope="module")
def address(browser: Any, root: Path) -> Iterator[str]:
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, str(root), str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            wait_for(f"http://127.0.0.1:{port}/data/plugin/resexp/runs", server)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


@pytest.mark.browser
def test_the_pointer_tells_what_was_recorded_and_the_profiles_follow(
    browser: Any, address: str, root: Path
) -> None:
    faults: list[str] = []
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", lambda dialog: faults.append(dialog.message) or dialog.dismiss())
    page.goto(f"{address}/#resexp")
    frame = page.frame_locator("iframe")
    maps = frame.locator("canvas")
    maps.nth(1).wait_for()
    assert [box.input_value() for box in frame.locator("select").all()] == ["it/plain14", "it/residual14"]
    assert EVIL in frame.locator(".faults").inner_text()
    for side, name in enumerate(("it/plain14", "it/residual14")):
        norms = recorded(root, name)
        for step, layer in ((0, 1), (7, 14), (11, 5)):
            box = maps.nth(side).bounding_box()
            x = box["x"] + box["width"] * (step + 0.5) / 12
            page.mouse.move(x, box["y"] + box["height"] * (1 - (layer - 0.5) / 14))
            told = frame.locator("#told").inner_text()
            digits, power = f"{norms[step][layer - 1]:.2e}".split("e")
            size = f"{digits} × 10{str(int(power)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"
            assert told.startswith(f"layer {layer}, ")
            assert told.endswith(f"step {step}: {size}")
            assert frame.locator(".brush span").inner_text() == f"step {step}"
    points = frame.locator("polyline.line0").get_attribute("points").split()
    heights = [float(point.split(",")[1]) for point in points]
    logs = [math.log10(norm) for norm in recorded(root, "it/plain14")[11]]
    slope, start = np.polyfit(logs, heights, 1)
    assert heights == pytest.approx([start + slope * log for log in logs], abs=0.1)  # drawn to a tenth
    assert slope < -10
    assert faults == []
    page.close()
