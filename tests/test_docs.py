"""Every command that the README, the docs and --help show is run, cut short, away from the source tree."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from harness.commands import write_images
from typer.main import get_command

from benchmarks import results, table, word_error_rates
from resexp.cli import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TINY = ["--set", "optim.steps=2", "--set", "optim.batch_size=8", "--set", "model.width=4"]
TINY += ["--set", "data.validation=0", "--set", "record.pictures=false"]
TINY += ["--data", "folder", "--set", "data.root=images"]
MY_NET = """from torch.nn import Flatten, Linear, Sequential
def make(): return Sequential(Flatten(), Linear(784, 9), Linear(9, 3))
"""
"""A net of somebody's, for the doctor."""
OWN = ("data.root=", "optim.", "model.depth=")
"""Keys to which a command that is cut short has values of its own."""
NEEDS_THE_WORLD = ("data fetch", "data verify", "board")
"""Commands that wait for a network or a browser: only their options are checked."""


def shown_commands() -> list[str]:
    commands: dict[str, None] = {}
    for page in PAGES:
        for block in re.findall(r"```(?:sh|bash|console)\n(.*?)```", page.read_text(), flags=re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("resexp "):
                    commands[line.split("  #")[0].strip()] = None
    return list(commands | dict.fromkeys(helped_commands()))


def helped_commands() -> list[str]:
    """The examples of all commands' --help."""
    commands = []
    for command in get_command(app).commands.values():  # pyright: ignore[reportAttributeAccessIssue]
        for one in getattr(command, "commands", {"": command}).values():
            commands += re.findall(r"Example: (resexp [^\n]*(?:\n[^\n]+)*)", one.help)
    return [" ".join(command.split()) for command in commands]


def cut_short(command: str) -> list[str]:
    """The same command with the data, depths, seeds and steps of a moment."""
    words = shlex.split(command)[1:]
    for option, least in (
        ("--seeds", "1"),
        ("--max-seeds", "5"),
        ("--depth", "8"),
        ("--data", "crayons"),
        ("--train", "1"),
    ):
        if option in words:
            words[words.index(option) + 1] = least
    if "--best-of" in words:  # one kind of net at two values
        at = words.index("--best-of") + 1
        words[at] = ",".join(words[at].split(",")[:2])
        words += ["--best-of-seeds", "2", "--set", "model.norm=batch"]
    if "ray" in words:  # tried by tests of its own
        at = words.index("--executor")
        del words[at : at + 4]
    while "--set" in words and any(word.startswith(OWN) for word in words):
        at = next(i for i, word in enumerate(words) if word.startswith(OWN))
        del words[at - 1 : at + 1]
    if words[0] == "train":
        words += ["--set", f"model.depth={11 if 'model.convs_per_block=3' in words else 8}", *TINY]
    elif words[0] == "compare":
        words += TINY + ([] if "--depth" in words else ["--depth", "8"])
        words += [] if "model.norm" in " ".join(words) else ["--set", "model.norm=batch"]
    elif words[0] == "doctor":
        words += ["--seeds", "1", "--batch", "2"]
    elif words[0] == "gradients":
        words += ["--data", "crayons", "--set", "model.width=4"]
        words += [
            word
            for option in (["--depth", "8"], ["--seeds", "2"])
            if option[0] not in words
            for word in option
        ]
    return words


def run(words: list[str]) -> None:
    """Run a command in this process, where torch is imported already."""
    app(words, standalone_mode=False)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished comparison, for the commands that look at one."""
    folder = tmp_path_factory.mktemp("docs")
    write_images(folder / "images")
    words = ["compare", "plain", "residual", "--depth", "8", "--name", "NAME", *TINY]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run([*words, "--runs-dir", str(folder / "runs")])
    (folder / "my_net.py").write_text(MY_NET)
    return folder


def test_there_are_commands_to_run() -> None:
    assert any(command.startswith("resexp compare plain residual") for command in shown_commands())
    assert any(command.startswith("resexp train") for command in shown_commands())
    assert len(helped_commands()) > 20


@pytest.mark.parametrize("command", shown_commands())
def test_a_command_in_the_docs_runs(
    command: str,
    place: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    words = shlex.split(re.sub(r"runs/(residual56|compare-1a2b3c4d)", "runs/NAME", command))[1:]
    if " ".join(words).startswith(NEEDS_THE_WORLD):
        run([*words[: 2 if words[0] == "data" else 1], "--help"])
        return
    if words[0] == "claims":
        words = ["claims", "highway", "--seeds", "1"]
    elif words[0] == "verify":
        words = ["verify", str(next(place.glob("runs/NAME/plain-*")))]
    elif words[0] == "export":  # the others need libraries, and have tests of their own
        words = ["export", words[1], "--out", str(tmp_path / "out")]
    run(cut_short(shlex.join(["resexp", *words])))
    printed = capsys.readouterr().out
    if "--json" in words:
        json.loads(printed)


def test_every_command_explains_itself_with_an_example() -> None:
    listing = subprocess.run(
        [sys.executable, "-m", "resexp", "--help"], capture_output=True, text=True, check=True
    ).stdout
    names = re.findall(r"^  ([a-z]+)  ", listing[listing.index("Commands:") :], flags=re.MULTILINE)
    assert {"train", "compare", "board", "runs", "validate", "configs", "report"} <= set(names)
    for name in [name for name in names if name != "data"] + ["data fetch", "data verify"]:
        text = subprocess.run(
            [sys.executable, "-m", "resexp", *name.split(), "--help"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert f"Example: resexp {name}" in " ".join(text.split()), name


def test_the_readme_shows_the_speeds_that_were_measured() -> None:
    """The table is made from benchmarks/results/, and made again whenever they are."""
    assert "\n".join(table.lines()) in (ROOT / "README.md").read_text()


def test_the_page_on_statistics_shows_the_error_rates_that_were_simulated() -> None:
    kept = json.loads((results.PLACE / "word_error_rates-cpu.json").read_text())["figures"]
    assert kept["num"] == 1000
    page = (ROOT / "docs" / "statistics.md").read_text()
    assert "\n".join(word_error_rates.lines(kept["shares"])) in page
