"""What a terminal shows before and while nets train: numbers that were measured, at the place they belong."""

import fcntl
import io
import os
import pty
import re
import struct
import sys
import termios
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from conftest import tiny_config
from harness.grids import plan_in
from rich.console import Console
from torch.nn import functional as F

from resexp.config import write
from resexp.data.batches import render, sample, unaugmented
from resexp.data.splits import load
from resexp.experiments import first_look
from resexp.experiments.first_look import LOOK_IMAGES, cells_of, first_looks, places_of
from resexp.models.resnet import build
from resexp.report.chart import MARKS, ROWS, Chart
from resexp.report.live import FirstLook, LiveView, RunPlace
from resexp.report.progress import Fraction
from resexp.training.loop import Progress

WIDTH = 48


def rows_of(chart: Chart) -> list[str]:
    return chart.text(WIDTH).plain.splitlines()


def test_a_power_law_is_a_straight_line_on_a_log_chart() -> None:
    rows = rows_of(Chart("t", {"a": {float(k): 10.0**-k for k in range(ROWS)}}, "x", log=True))
    places = [row.index(MARKS[0]) for row in rows[1 : ROWS + 1]]
    steps = [right - left for left, right in pairwise(places)]
    assert max(steps) - min(steps) <= 1
    assert places[0] < places[-1] == WIDTH - 1


@pytest.mark.parametrize("values", [{1.0: 0.0, 2.0: 1.0}, {1.0: 2.0, 2.0: 2.0}, {}, {3.0: float("nan")}])
def test_zero_constant_and_missing_values_have_a_chart(values: dict[float, float]) -> None:
    for log in (False, True):
        rows = rows_of(Chart("t", {"a": values}, "x", log=log))
        assert len(rows) == ROWS + 2
        drawn = sum(row.count(MARKS[0]) for row in rows[1 : ROWS + 1])
        assert drawn == sum(value == value for value in values.values())


def test_an_exact_zero_lies_below_every_size() -> None:
    rows = rows_of(Chart("t", {"a": {1.0: 0.0, 2.0: 1e-8, 3.0: 1.0}}, "x", log=True))
    depth = {row.index(MARKS[0]): k for k, row in enumerate(rows[1 : ROWS + 1]) if MARKS[0] in row}
    assert [depth[place] for place in sorted(depth)] == sorted(depth.values(), reverse=True)
    assert depth[min(depth)] == ROWS - 1


def test_a_chart_needs_nothing_but_ascii() -> None:
    assert Chart("t", {"a": {1.0: 1e-7}, "b": {2.0: 1e7}}, "layer", log=True).text(WIDTH).plain.isascii()


def test_the_first_look_is_the_gradient_of_each_arms_net(tmp_path: Path) -> None:
    """Against plain autograd: dE/dx at the output of the stem and of the last block, norm by image."""
    plan = plan_in(tmp_path)
    splits = load(plan.jobs[0].data)
    (look,) = first_looks(plan.jobs, splits)
    assert (look.depth, list(look.arriving)) == (8, ["plain", "residual"])
    batch = render(splits.train.to("cpu"), unaugmented(sample(len(splits.train.labels), LOOK_IMAGES)))
    for job in (job for job in plan.jobs if job.config.model.depth == 8 and job.config.seed == 0):
        model = job.config.model.model_dump()
        net = build(seed=0, num_classes=splits.train.num_classes, **model).double().train()
        x = stem = net.stem(batch.images.double())
        for _, block in net.blocks():
            x = block(x)
        loss = F.cross_entropy(net.head(x.mean((2, 3))), batch.labels, reduction="sum")
        first, last = torch.autograd.grad(loss, (stem, x))
        norms = [gradient.flatten(1).square().sum().sqrt() for gradient in (first, last)]
        assert look.arriving[job.arm][1] == pytest.approx(float(norms[0] / norms[1]), rel=1e-6)


def test_what_would_take_long_is_left_to_the_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_in(tmp_path)
    monkeypatch.setattr(first_look, "MOST_WORK", 0)
    assert list(first_looks(plan.jobs, load(plan.jobs[0].data))) == []


def test_each_run_is_placed_in_its_cell_and_arm(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    assert list(cells_of(plan.jobs)) == ["depth 5", "depth 8"]
    places = places_of(plan.jobs)
    assert len(places) == len(plan.jobs) == 8
    assert places["residual d8 none s1"] == RunPlace("depth 8", "residual")


def test_the_sentence_says_what_was_measured() -> None:
    look = FirstLook("no normalisation", 20, {"plain": {1: 6.1e-8, 19: 1.0}, "residual": {1: 0.532, 19: 1.0}})
    assert "no normalisation" in look.sentence
    assert "plain has 6.1e-8" in look.sentence
    assert "residual has 53%" in look.sentence
    assert "zero" in FirstLook("", 20, {"plain": {1: 0.0, 19: 1.0}}).sentence
    assert "no gradient" in FirstLook("", 20, {"plain": {}}).sentence


def test_the_view_shows_the_newest_run_of_each_arm_of_the_cell_that_trains() -> None:
    view, console = LiveView(), Console(width=100, color_system=None, record=True, file=io.StringIO())
    assert view.render(100) is None
    view.expect({"p": RunPlace("c", "plain"), "r": RunPlace("c", "residual"), "o": RunPlace("d", "plain")})
    view.update("images, % read", 3, None, None)
    assert view.render(100) is None
    view.update("p", 20, 2.5, {1: 1e-3, 2: 1.0})
    view.update("r", 10, 1.5, None)
    console.print(view.render(100))
    shown = console.export_text()
    assert "Training: c" in shown
    assert "step 20" in shown
    assert shown.count(MARKS[1]) == 2  # the residual loss, and the legend's
    view.update("o", 0, None, {1: 1.0})
    console.print(view.render(100))
    assert "Training: d" in (shown := console.export_text())
    assert "2.50" not in shown


def test_a_snapshot_of_whatever_is_shown_has_all_that_a_display_asks_for() -> None:
    for snapshot in (Fraction(0.999), Progress(1, 2)):
        assert (snapshot.loss, snapshot.images_per_second, snapshot.arriving) == (None, None, None)
    assert Fraction(0.9999999).step == 100


def in_terminal(words: list[str], cwd: Path, columns: int, rows: int) -> str:
    """Run a command on a terminal of its own and return all that it wrote there."""
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(cwd)
        os.execv(sys.executable, [sys.executable, "-m", "resexp", *words])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    read = b""
    while True:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # its end, on Linux
            break
        if not chunk:
            break
        read += chunk
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0, read.decode()
    return read.decode()


def test_a_terminal_shows_both_gradients_before_the_first_step(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(write(tiny_config(optim__steps=20)))
    words = ["compare", "plain", "residual", "--config", str(config), "--set", "model.depth=8"]
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", in_terminal(words, tmp_path, 80, 40))
    before, _, training = shown.partition("Training")
    assert "Gradient by layer" in before
    assert "of its last block's gradient" in " ".join(before.split())
    assert "Loss of a batch" in training
    assert max(map(len, re.split(r"[\r\n]+", shown))) <= 80
