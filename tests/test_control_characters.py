"""What a name says is shown and never done: its control characters reach no terminal, board or picture."""

import json
import re
import shutil
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from conftest import make_splits, tiny_config
from harness.commands import resexp
from rich.console import Console, Group
from rich.progress import TextColumn

from resexp.records.claim import ClaimDocument
from resexp.report.comparison_page import write_report
from resexp.report.figures.png import to_pixels
from resexp.report.figures.style import panel
from resexp.report.figures.svg import to_svg
from resexp.report.live import FirstLook, LiveView, RunPlace
from resexp.report.progress import Bars, Dashboard, LiveProgress, PlainLines
from resexp.report.terminal import claims_table, show
from resexp.tensorboard.dashboard import opening
from resexp.training.loop import run

EVIL = "a\x1b[31m\x1b]0;title\x07b\x9b5mc\x7fd\re\x08f\u2028g"
"""Colour, a window's title, a bell, CSI in one character, delete, back to the line's beginning, backspace."""
COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""All that `cat` should not send to a terminal: not tabs and line ends."""


def commands_in(text: str) -> list[str]:
    return COMMANDS.findall(text)


WORDS: dict[str, list[str]] = {
    "a command": [EVIL],
    "an option": [f"--{EVIL}"],
    "an option of a command": ["train", f"--{EVIL}", "1"],
    "an argument too many": ["runs", EVIL],
    "no number": ["runs", "--depth", EVIL],
    "a config": ["train", "--config", f"{EVIL}.yaml"],
    "a run": ["train", "--resume", EVIL],
    "a name": ["train", "--config", "c.yaml", "--name", EVIL],
    "a setting": ["train", "--config", "c.yaml", "--set", f"{EVIL}=1"],
    "a value": ["train", "--config", "c.yaml", "--set", f"model.kind={EVIL}"],
    "an arm": ["compare", "plain", EVIL],
    "an arm twice": ["compare", f"{EVIL}.yaml", f"{EVIL}.yaml"],
    "an axis": ["compare", "plain", "residual", "--config", "c.yaml", "--vary", f"{EVIL}=1,2"],
    "an address": ["compare", "plain", "residual", "--executor", "local", "--ray-address", EVIL],
    "a comparison": ["report", EVIL],
    "a status": ["runs", "--status", EVIL],
    "no runs yet": ["runs", "--runs-dir", EVIL],
    "a folder to verify": ["verify", EVIL],
    "a claim": ["claims", EVIL],
    "a host": ["board", "--runs-dir", ".", "--host", EVIL],
    "a folder of images": ["data", "verify", "--root", EVIL],
    "gradients of an axis": ["gradients", "--vary", EVIL],
    "a config to validate": ["validate", EVIL],
}


@pytest.mark.parametrize("what", WORDS)
def test_a_word_of_the_command_line_is_said_and_commands_nothing(what: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("model: {depth: 8}\n")
    ended = resexp(*WORDS[what], folder=tmp_path)
    assert ended.stdout + ended.stderr
    assert commands_in(ended.stdout + ended.stderr) == []
    assert "Traceback" not in ended.stderr


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run in a folder of an evil name, whose record has evil names of data and classes."""
    root = tmp_path_factory.mktemp("recorded")
    folder = root / EVIL / "run"
    run(
        tiny_config(name="run", record__pictures=True), folder, make_splits()._replace(label=f"folder {EVIL}")
    )
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["data"]["classes"] = [EVIL, "b", "c", "d"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return root


@pytest.mark.parametrize("json_", [[], ["--json"]])
def test_a_list_of_runs_commands_nothing(json_: list[str], recorded: Path) -> None:
    ended = resexp("runs", "--runs-dir", ".", *json_, folder=recorded)
    assert ended.code == 0
    assert "[31m" in ended.stdout
    assert commands_in(ended.stdout + ended.stderr) == []
    if json_:
        (row,) = json.loads(ended.stdout.rpartition("]")[0] + "]")
        assert (row["folder"], row["data"]) == (f"{EVIL}/run", f"folder {EVIL}")


@pytest.mark.parametrize("what", ["verify", "report", "train"])
def test_a_folder_s_name_commands_nothing(what: str, recorded: Path) -> None:
    arguments = ["train", "--resume"] if what == "train" else [what]
    ended = resexp(*arguments, f"{EVIL}/run", folder=recorded)
    assert ended.stdout + ended.stderr
    assert commands_in(ended.stdout + ended.stderr) == []
    assert "Traceback" not in ended.stderr


@pytest.fixture(scope="module")
def compared(comparison: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison whose folder, arms, sentences and data have evil names."""
    root = tmp_path_factory.mktemp("compared")
    shutil.copytree(comparison, root / EVIL)
    document = json.loads((root / EVIL / "comparison.json").read_text())
    document["runs"] = [row for row in document["runs"] if row["depth"] == 8]
    for row in [*document["runs"], *document["verdicts"]]:
        row["arm"] = row["arm"].replace("residual", EVIL)
        if "sentence" in row:
            row["sentence"] += EVIL
    (root / EVIL / "comparison.json").write_text(json.dumps(document))
    for path in (root / EVIL).glob("*/manifest.json"):
        manifest = json.loads(path.read_text())
        manifest["data"]["label"] += EVIL
        path.write_text(json.dumps(manifest))
    return root


@pytest.mark.parametrize("json_", [[], ["--json"]])
def test_a_comparison_s_names_command_nothing(json_: list[str], compared: Path) -> None:
    ended = resexp("report", EVIL, *json_, folder=compared)
    assert ended.code == 0, ended.stderr
    assert "[31m" in ended.stdout
    assert commands_in(ended.stdout + ended.stderr) == []


def test_no_page_and_no_table_of_a_comparison_has_a_command_in_it(compared: Path) -> None:
    write_report(compared / EVIL)
    for name in ("report.html", "table.md", "table.tex", "table.csv"):
        text = (compared / EVIL / name).read_text()
        assert "[31m" in text, name
        assert commands_in(text) == [], name


def test_no_exported_table_has_a_command_in_it(comparison: Path, tmp_path: Path) -> None:
    """Neither from the name of a run's folder nor from that of a layer."""
    shutil.copytree(min(comparison.glob("*/result.json")).parent, tmp_path / EVIL)
    manifest = json.loads((tmp_path / EVIL / "manifest.json").read_text())
    manifest["layers"][0] += EVIL
    (tmp_path / EVIL / "manifest.json").write_text(json.dumps(manifest))
    ended = resexp("export", EVIL, "--to", "csv", "--out", "out", folder=tmp_path)
    assert ended.code == 0, ended.stderr
    assert commands_in(ended.stdout + ended.stderr) == []
    for name in ("runs.csv", "numbers.csv"):
        text = (tmp_path / "out" / name).read_text()
        assert "[31m" in text, name
        assert commands_in(text) == [], name


def test_a_table_and_a_sentence_are_printed_without_commands(capsys: pytest.CaptureFixture[str]) -> None:
    measured = {"what": EVIL, "mean": 1.0, "interval": None, "n": 3, "unit": EVIL}
    empty = {"word": "holds", "parts": [], "pictures": [], "details": {}, "measurements": [measured]}
    show(claims_table([{**dict.fromkeys(ClaimDocument.model_fields, EVIL), **empty}]), EVIL)
    said = capsys.readouterr().out
    assert said.count("[31m") >= 6
    assert commands_in(said) == []


class Reading:
    """What a run reports."""

    step, steps, loss, images_per_second, arriving = 12, 12, 0.5, 100.0, None


def bars(console: Console) -> Dashboard:
    view = LiveView()
    columns = [TextColumn("{task.description}", markup=False)]
    return Bars(LiveProgress(*columns, console=console, view=view), view)


@pytest.mark.parametrize("made", [bars, PlainLines])
def test_progress_shows_a_label_and_commands_nothing(made: Callable[[Console], Dashboard]) -> None:
    file = StringIO()
    shown, reading = made(Console(file=file, width=400)), Reading()
    shown.expect({EVIL: RunPlace(EVIL, EVIL), "other": RunPlace("", "")})
    shown.first_looks([FirstLook(EVIL, 20, {EVIL: {1: 0.1, 2: 1.0}})])
    shown.update(EVIL, reading)
    shown.say(EVIL)
    if isinstance(shown, Bars):
        shown._progress.refresh()
        shown._progress.console.print(Group(*shown._progress.get_renderables()))
    shown.over(EVIL)
    assert file.getvalue().count("[31m") >= 2
    assert commands_in(file.getvalue()) == []


def test_tensorboard_s_words_have_no_commands() -> None:
    written = b"".join(summary.SerializeToString() for summary in opening(tiny_config(), EVIL))
    assert b"[31m" in written
    for command in ("\x1b[31m", "\x1b]0;", "title\x07", "\x9b5m", "\x7fd", "\re", "\x08f"):
        assert command in EVIL
        assert command.encode() not in written


def test_pictures_draw_letters_and_command_nothing() -> None:
    figure, axes = panel(30, 20)
    axes.plot([0, 1], [1, 2], label=EVIL)
    axes.set_title(EVIL)
    axes.set_xlabel(EVIL)
    axes.text(0, 1, EVIL)
    axes.legend(title=EVIL)
    figure.legend()
    figure.suptitle(EVIL)
    drawn = to_svg(figure, f"about {EVIL}")
    assert drawn.count("[31m") >= 8
    assert commands_in(drawn) == []
    assert to_pixels(figure).size
