"""What a run draws for TensorBoard, read back from its event file as TensorBoard reads it."""

import io
import math
import re
import warnings
from collections import Counter
from pathlib import Path
from statistics import geometric_mean

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.plugins.hparams.plugin_data_pb2 import (
    HParamsPluginData,  # pyright: ignore[reportAttributeAccessIssue]
)

from resexp.data.splits import Splits
from resexp.records.run import Run
from resexp.report.figures.gradient_curves import GONE
from resexp.report.figures.style import panel
from resexp.report.figures.svg import to_svg
from resexp.tensorboard import pictures
from resexp.tensorboard.dashboard import HOW_TO_READ, LAYOUT
from resexp.tensorboard.pictures import _title
from resexp.tensorboard.writer import TensorBoardWriter
from resexp.training.loop import run
from tests.conftest import tiny_config

CONFIG = tiny_config(name="drawn", record__pictures=True, model__kind="residual", model__depth=14)


@pytest.fixture(scope="module")
def folder(splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "drawn"
    run(CONFIG, folder, splits)
    return folder


def read(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0, "tensors": 0}).Reload()


@pytest.fixture(scope="module")
def events(folder: Path) -> EventAccumulator:
    return read(folder)


def test_a_run_is_one_run_to_tensorboard(folder: Path) -> None:
    assert [path.parent for path in folder.rglob("*tfevents*")] == [folder]


def test_curves_are_those_of_the_record(folder: Path, events: EventAccumulator) -> None:
    record = Run(folder)
    losses = {row.step: row.loss for row in record.rows("step")}
    assert {event.step: event.value for event in events.Scalars("Loss/train")} == pytest.approx(losses)
    ratios = {
        row.step: math.log10((row.outputs[0].norm or 0.0) / (row.outputs[-1].norm or math.inf))
        for row in record.profile
    }
    drawn = {event.step: event.value for event in events.Scalars("gradient/log10_first_over_last")}
    assert drawn == pytest.approx(ratios)
    for index, layer in enumerate(record.manifest.layers):
        norms = {row.step: row.gradient_norm[index] for row in record.rows("step")}
        drawn = {event.step: event.value for event in events.Scalars(f"gradient_norm/{index:03d}.{layer}")}
        assert drawn == pytest.approx(norms)


def test_a_stages_curve_is_the_mean_of_its_layers_on_the_log_scale(
    folder: Path, events: EventAccumulator
) -> None:
    record = Run(folder)
    stages = [layer.partition(".")[0] for layer in record.manifest.layers]
    assert list(dict.fromkeys(stages)) == ["stem", "stage1", "stage2", "stage3", "head"]
    for stage in set(stages):
        expected = {
            row.step: math.log10(
                geometric_mean(
                    [norm for own, norm in zip(stages, row.gradient_norm, strict=True) if own == stage]
                )
            )
            for row in record.rows("step")
        }
        drawn = {event.step: event.value for event in events.Scalars(f"gradient/log10_norm.{stage}")}
        assert drawn == pytest.approx(expected, rel=1e-5)


def test_loss_stands_above_the_many_charts_of_layers(events: EventAccumulator) -> None:
    groups = Counter(tag.partition("/")[0] for tag in events.Tags()["scalars"])
    assert groups["gradient_norm"] == 14
    order = sorted(groups)
    assert order.index("Accuracy") < order.index("Loss") < order.index("gradient")
    assert order.index("gradient") < order.index("gradient_norm")


def test_every_chart_of_the_layout_finds_its_curves(events: EventAccumulator) -> None:
    (event,) = events.Tensors("custom_scalars__config__")
    layout = Layout.FromString(event.tensor_proto.string_val[0])
    assert [category.title for category in layout.category] == list(LAYOUT)
    assert list(LAYOUT) == ["Loss", "Accuracy", "First over last", "Slope", "The layers"]
    tags = events.Tags()["scalars"]
    for category in layout.category:
        for chart in category.chart:
            for pattern in chart.multiline.tag:
                # Depth 14 has two blocks a stage, too few for a slope.
                assert any(re.match(pattern, tag) for tag in tags) or pattern == r"gradient/slope"


def test_every_tag_is_explained(events: EventAccumulator) -> None:
    explained = set(re.findall(r"`([\w/.]+)`", HOW_TO_READ))
    single = ("gradient_norm/", "gradient/log10_norm.")
    tags = {tag for tag in events.Tags()["scalars"] if not tag.startswith(single)}
    assert tags - {"learning_rate"} <= explained
    (event,) = events.Tensors("how_to_read/text_summary")
    assert event.tensor_proto.string_val[0].decode() == HOW_TO_READ


def test_how_to_read_stands_in_the_first_run_of_a_folder_alone(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        TensorBoardWriter(tmp_path / name, CONFIG, [], data="", purge_step=0).close()
    told = [
        name
        for name in ("one", "two")
        if "how_to_read/text_summary" in read(tmp_path / name).Tags()["tensors"]
    ]
    assert told == ["one"]


def test_the_norm_stands_in_a_pictures_title() -> None:
    titles = {_title(tiny_config(model__norm=norm)) for norm in ("none", "batch", "group", "layer")}
    assert len(titles) == 4
    assert any("batch norm" in title for title in titles)


def test_settings_are_in_the_runs_own_events(events: EventAccumulator) -> None:
    def content(tag: str) -> HParamsPluginData:
        plugin = events.SummaryMetadata(f"_hparams_/{tag}").plugin_data
        assert plugin.plugin_name == "hparams"
        return HParamsPluginData.FromString(plugin.content)

    settings = content("session_start_info").session_start_info.hparams
    assert settings["kind"].string_value == "residual"
    assert settings["depth"].number_value == 14
    experiment = content("experiment").experiment
    assert {info.name.tag for info in experiment.metric_infos} <= set(events.Tags()["scalars"])
    assert content("session_end_info").session_end_info.status


def test_there_is_a_picture_of_every_probed_step(folder: Path, events: EventAccumulator) -> None:
    steps = [row.step for row in Run(folder).profile]
    assert [image.step for image in events.Images("profile/size")] == steps == [0, 1, 2, 5, 10, 12]
    assert [image.step for image in events.Images("profile/heat_map")] == [10, 12]  # it grows
    pixels = np.asarray(Image.open(io.BytesIO(events.Images("profile/size")[0].encoded_image_string)))
    assert pixels.shape[2] == 3
    assert pixels.std() > 5


def test_underflow_is_pale_counted_and_has_no_logarithm(folder: Path, tmp_path: Path) -> None:
    rows = []
    for row in Run(folder).profile:
        stem, *others = row.outputs
        gone = stem.model_copy(update={"norm": 0.0, "rms": 0.0, "zeros": stem.count})
        rows.append(row.model_copy(update={"outputs": [gone, *others]}))
    pictures = {}
    for name, drawn in (("healthy", Run(folder).profile), ("underflow", rows)):
        (tmp_path / name).mkdir()
        board = TensorBoardWriter(tmp_path / name, CONFIG, [], data="crayons (drawn)", purge_step=0)
        for row in drawn:
            board.profile(row)
        board.close()
        events = read(tmp_path / name)
        image = Image.open(io.BytesIO(events.Images("profile/heat_map")[-1].encoded_image_string))
        pale = np.array([int(GONE[k : k + 2], 16) for k in (1, 3, 5)])
        pictures[name] = (np.abs(np.asarray(image).astype(int) - pale).max(axis=2) < 4).sum()
        assert ("gradient/log10_first_over_last" in events.Tags()["scalars"]) == (name == "healthy")
        shares = {event.value for event in events.Scalars("gradient/underflow")}
        assert shares == ({1.0} if name == "underflow" else {0.0})
    # One of seven rows of the map turns pale.
    assert pictures["underflow"] > pictures["healthy"] + 2_000


def test_a_resumed_run_is_drawn_without_doubled_points(folder: Path, tmp_path: Path) -> None:
    record = Run(folder)
    board = TensorBoardWriter(tmp_path, CONFIG, record.manifest.layers, data="crayons (drawn)", purge_step=0)
    for row in record.metrics:
        board.row(row)
    for row in record.profile:
        board.profile(row)
    board.close()
    (tmp_path / "profile.jsonl").write_bytes((folder / "profile.jsonl").read_bytes())
    board = TensorBoardWriter(tmp_path, CONFIG, record.manifest.layers, data="crayons (drawn)", purge_step=8)
    for row in (row for row in record.metrics if row.step >= 8):
        board.row(row)
    for row in (row for row in record.profile if row.step >= 8):
        board.profile(row)
    board.close()
    events = read(tmp_path)
    for tag in ("Loss/train", "gradient/log10_first_over_last", "Accuracy/test"):
        steps = [event.step for event in events.Scalars(tag)]
        assert steps == sorted(set(steps)), tag
    assert len(events.Tensors("custom_scalars__config__")) == 1
    assert len(events.Images("profile/size")) == len(record.profile)


def test_a_row_is_one_event(folder: Path) -> None:
    """Each event costs a checksum made in Python, and a step's row has a number a layer."""
    (path,) = folder.glob("events.out.tfevents.*")
    steps = [event.step for event in EventFileLoader(str(path)).Load() if event.summary.value]
    record = Run(folder)
    rows = [row.step for row in (*record.metrics, *record.profile)]
    assert sorted(steps) == sorted([0, *rows])  # the first: what is shown from the start


@pytest.mark.parametrize("name", ["a$b_$c", "$", "\x1b[31mred\n\x07", "猫\u202e", "{}\\frac{"])
def test_a_name_is_drawn_letter_for_letter_and_commands_nothing(
    name: str, folder: Path, tmp_path: Path
) -> None:
    said = list[str]()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        board = TensorBoardWriter(tmp_path, CONFIG, [], data=f"folder {name}", purge_step=0, say=said.append)
        for row in Run(folder).profile:
            board.profile(row)
        board.close()
    assert said == []
    assert len(read(tmp_path).Images("profile/size")) == len(Run(folder).profile)
    assert len(read(tmp_path).Images("profile/heat_map")) == 2


def test_no_name_becomes_a_formula_in_a_page_and_numbers_of_an_axis_still_are() -> None:
    figure, axes = panel()
    axes.plot([1, 1000], [1, 1000], label="an $x_1$ arm")
    axes.set_xscale("log")
    axes.set_title("$x_1$ and $y$")
    figure.legend()
    svg = to_svg(figure, "about $x_1$")
    assert ">an $x_1$ arm</text>" in svg
    assert ">$x_1$ and $y$</text>" in svg
    assert "mathdefault" not in svg
    assert svg.count("$") == 8


def test_a_picture_that_cannot_be_drawn_costs_that_picture_and_no_run(
    splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise ValueError("no such\nglyph")

    monkeypatch.setattr(pictures, "size_picture", fails)
    said = list[str]()
    run(CONFIG, tmp_path / "drawn", splits, say=said.append)
    assert Run(tmp_path / "drawn").status == "finished"
    assert len(said) == len(Run(tmp_path / "drawn").profile)
    assert "profile/size of step 0 could not be drawn, all else goes on: ValueError: no such" in said[0]
    assert len(read(tmp_path / "drawn").Images("profile/heat_map")) == 2


def test_without_pictures_the_numbers_are_all_there(tmp_path: Path, splits: Splits) -> None:
    names = {}
    for drawn in (True, False):
        folder = tmp_path / str(drawn) / "run"
        run(tiny_config(record__pictures=drawn), folder, splits)
        tags = read(folder).Tags()
        names[drawn] = (tags["scalars"], tags["tensors"])
        assert (tags["images"] != []) == drawn
    assert names[True] == names[False]
