"""TensorBoard's pages as a reader meets them: in a browser, with a plain net and its residual twin."""

import io
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page

from resexp.data.splits import Splits
from resexp.training.loop import run
from tests.conftest import tiny_config

pytestmark = pytest.mark.browser

PATIENCE = 60
"""Seconds for a server or a page; idle machines need three."""
PAGES = {
    "timeseries": ("Accuracy/test", "Loss/train"),
    "scalars": ("tag: Accuracy/test", "tag: Loss/train"),
    "custom_scalars": ("Loss", "Accuracy", "First over last", "Slope", "The layers"),
    "images": ("profile/size", "profile/heat_map", "plain20", "residual20"),
    "text": ("Where to look.", "is vanishing, above 3 exploding"),
    "hparams": ("plain20", "residual20", "Loss/train", "kind"),
}
"""What a page must show, by the name in its address."""


@pytest.fixture(scope="module")
def address(browser: Browser, splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """TensorBoard on two twins; after the browser, so that a machine without one loses no time."""
    folder = tmp_path_factory.mktemp("runs")
    for kind in ("plain", "residual"):
        name = f"{kind}20"
        run(
            tiny_config(name=name, record__pictures=True, model__kind=kind, model__depth=20),
            folder / name,
            splits,
        )
    port = free_port()
    command = [sys.executable, "-m", "resexp", "board", "--runs-dir", str(folder), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            wait_for(f"http://127.0.0.1:{port}/data/runs", server)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    """Return once TensorBoard lists both runs."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        assert server.poll() is None, "TensorBoard ended"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if b"residual" in answer.read():
                    return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.2)
    pytest.fail(f"TensorBoard did not answer within {PATIENCE} s")


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.set_default_timeout(PATIENCE * 1000)
    yield page
    page.close()


@pytest.mark.parametrize("name", PAGES)
def test_the_page_shows_what_it_is_for(name: str, address: str, page: Page, tmp_path: Path) -> None:
    page.goto(f"{address}/#{name}")
    for text in PAGES[name]:
        page.get_by_text(text).first.wait_for(state="visible")
    picture = page.screenshot(path=shots(tmp_path) / f"tensorboard-{name}.png")
    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")) @ [1 << 16, 1 << 8, 1]
    # Not an empty page below TensorBoard's own bar.
    assert len(np.unique(pixels[120:])) > 30


def test_loss_is_on_the_first_screen_and_the_layers_are_below(address: str, page: Page) -> None:
    page.goto(f"{address}/#timeseries")
    loss = page.get_by_text("Loss/test").first
    loss.wait_for(state="visible")
    box = loss.bounding_box()
    assert box is not None
    assert box["y"] < 1000
    layers = page.get_by_text("gradient_norm/000.stem.conv").first
    assert not layers.is_visible() or (layers.bounding_box() or {"y": 0})["y"] > box["y"]


def test_a_picture_of_the_profile_is_loaded(address: str, page: Page) -> None:
    page.goto(f"{address}/#images")
    image = page.locator("img[src*='individualImage']").first
    image.wait_for(state="visible")
    page.wait_for_function("image => image.complete && image.naturalWidth > 200", arg=image.element_handle())


def test_every_run_is_listed_once(address: str, page: Page) -> None:
    answer = page.request.get(f"{address}/data/runs").json()
    assert sorted(answer) == ["plain20", "residual20"]


def shots(folder: Path) -> Path:
    """Where the screenshots go: SCREENSHOTS, for those who want to look at them, else the test's folder."""
    chosen = Path(os.environ.get("SCREENSHOTS", folder))
    chosen.mkdir(parents=True, exist_ok=True)
    return chosen
