"""TensorBoard's tab of resexp: what it shows is what was recorded, whatever lies beside it."""

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
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


@pytest.mark.parametrize("norms", [[0.5] * 13, [0.5] * 13 + [-1e-9], [0.5] * 15])
def test_a_row_that_is_not_a_norm_a_layer_is_a_line(root: Path, tmp_path: Path, norms: list[float]) -> None:
    append(twin(root, tmp_path), 12, norms)
    fault = gradients_of(tmp_path, "run")["fault"]
    assert "metrics.jsonl: damaged, step 12 does not hold a gradient norm, 0 or above, of each of 14" in fault


def twin(root: Path, place: Path) -> Path:
    """A copy of a run as it is while it trains."""
    folder = place / "run"
    shutil.copytree(root / "it" / "residual14", folder)
    (folder / "result.json").unlink()
    return folder


def append(folder: Path, step: int, norms: list[float]) -> None:
    row = {"kind": "step", "step": step, "loss": 1.0, "lr": 0.1, "gradient_norm": norms}
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")


def test_tensorboard_finds_the_tab_where_the_package_is_installed() -> None:
    (found,) = entry_points(group="tensorboard_plugins", name="resexp")
    assert found.load() is GradientTab


@pytest.fixture(scope="module")
def address(browser: Any, root: Path) -> Iterator[str]:
    port = free_port()
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tensorboard.main",
            "--logdir",
            str(root),
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ],
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
    frame = opened(page, address)
    maps = frame.locator("canvas")
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


def opened(page: Any, address: str) -> Any:
    """The tab's own document once both maps are drawn."""
    page.goto(f"{address}/#resexp")
    frame = page.frame_locator("iframe")
    frame.locator(".brush span").get_by_text("step").wait_for()
    return frame


@pytest.mark.browser
def test_a_run_that_goes_on_is_followed_and_what_is_no_number_has_a_colour_and_a_word(
    browser: Any, address: str, root: Path
) -> None:
    folder = twin(root, root / "it" / "live")
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.clock.install()
    try:
        frame = opened(page, address)
        frame.locator("select").nth(1).select_option("it/live/run")
        frame.locator("figcaption").nth(1).get_by_text("layer").wait_for()
        assert frame.locator(".brush span").inner_text() == "step 11"
        assert "exactly 0" not in frame.locator(".legend").inner_text()
        append(folder, 12, [0.0, math.nan] + [0.25] * 12)
        page.clock.fast_forward(6000)
        frame.locator(".brush span").get_by_text("step 12").wait_for()
        legend = frame.locator(".legend").inner_text()
        assert "exactly 0: underflow, or a dead layer" in legend
        assert "not finite" in legend
        box = frame.locator("canvas").nth(1).bounding_box()
        for layer, words in ((1, "exactly 0"), (2, "not finite"), (3, "2.50 × 10⁻¹")):
            page.mouse.move(
                box["x"] + box["width"] * 12.5 / 13, box["y"] + box["height"] * (1 - (layer - 0.5) / 14)
            )
            assert frame.locator("#told").inner_text().endswith(f"step 12: {words}")
        colour = "(map, y) => [...map.getContext('2d').getImageData(12, y, 1, 1).data].slice(0, 3)"
        pixels = [frame.locator("canvas").nth(1).evaluate(colour, y) for y in (13, 12)]
        assert pixels == [[0xE8, 0xB9, 0xA9], [0xC0, 0x3A, 0x2B]]
    finally:
        page.close()
        shutil.rmtree(folder.parent)


@pytest.mark.browser
def test_it_is_dark_where_tensorboard_is_and_fits_a_narrow_window(browser: Any, address: str) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    frame = opened(page, address)
    body = frame.locator("body")
    assert body.evaluate("body => getComputedStyle(body).backgroundColor") == "rgb(255, 255, 255)"
    assert body.evaluate("body => body.scrollWidth <= window.innerWidth")
    page.evaluate("document.body.classList.add('dark-mode')")
    frame.locator(":root.dark").wait_for()
    assert body.evaluate("body => getComputedStyle(body).backgroundColor") == "rgb(48, 48, 48)"
    page.close()
