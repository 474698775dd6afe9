"""Python's functions: the same files as the command line's, and results that show themselves."""

import json
import re
import signal
import subprocess
import sys
from html import unescape
from pathlib import Path
from typing import Any

import matplotlib.figure
import pytest
import torch
from harness.commands import resexp as command
from torch import nn

import resexp
from resexp.errors import ResexpError, RunFolderError, UsageError
from resexp.signals import Stop, stop_on_interrupt

TINY: dict[str, Any] = {
    "optim.steps": 4,
    "optim.batch_size": 8,
    "optim.schedule.warmup_steps": 1,
    "model.width": 4,
    "model.depth": 8,
    "optim.schedule.name": "constant",
    "record.every": 2,
    "record.eval_every": 2,
    "record.pictures": False,
    "run.threads": 1,
}
WORDS = [word for key, value in TINY.items() for word in ("--set", f"{key}={json.dumps(value)}")]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("api")


@pytest.fixture(scope="module")
def compared(root: Path) -> Any:
    return resexp.compare(
        "plain",
        "residual",
        sets={**TINY, "model.norm": "batch"},
        data="crayons",
        seeds=2,
        name="c",
        runs_dir=root,
    )


def page_of(result: Any) -> str:
    """The page inside the frame that a notebook shows."""
    found = re.fullmatch(r'<iframe srcdoc="([^"]*)" style="[^"]*"></iframe>', result._repr_html_())
    assert found
    return unescape(found[1])


def test_import_is_quick_and_each_name_is_there() -> None:
    script = "import sys, resexp; print(dir(resexp), *{'torch', 'numpy'} & {*sys.modules})"
    ended = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert ended.stdout.strip() == str(sorted(resexp.__all__))
    assert all(callable(getattr(resexp, name)) for name in resexp.__all__ if name != "__version__")
    with pytest.raises(AttributeError, match="nothing"):
        _ = resexp.nothing  # pyright: ignore[reportAttributeAccessIssue]


def test_a_comparison_is_the_command_lines_to_the_bit(compared: Any, root: Path) -> None:
    words = ["plain", "residual", *WORDS, "--set", "model.norm=batch", "--data", "crayons", "--seeds", "2"]
    ended = command("compare", *words, "--name", "c", "--runs-dir", "there", folder=root)
    assert ended.code == 0, ended.stderr
    here, there = (
        json.loads((folder / "c" / "comparison.json").read_text()) for folder in (root, root / "there")
    )
    assert here["differences"] == there["differences"]
    assert here["verdicts"] == there["verdicts"]
    assert [run["folder"] for run in here["runs"]] == [run["folder"] for run in there["runs"]]


def test_a_comparison_shows_its_table_its_sentences_and_its_page(compared: Any) -> None:
    text = repr(compared)
    assert all(sentence in text for sentence in compared.sentences)
    table = compared.to_pandas()
    rows = [run for run in compared.document.runs if run.arm == "plain"]
    assert table.set_index("arm").final_loss["plain"] == pytest.approx(
        sum(run.final_loss for run in rows) / 2
    )
    assert page_of(compared) == (compared.folder / "report.html").read_text()
    assert len(compared.runs) == 4
    assert isinstance(compared.figure(), matplotlib.figure.Figure)
    assert compared.figure("loss")._repr_png_().startswith(b"\x89PNG")
    with pytest.raises(UsageError, match="no figure is called nothing; there are: loss"):
        compared.figure("nothing")


def test_an_interval_stays_inside_what_is_possible(compared: Any) -> None:
    table = compared.to_pandas()
    assert (table.test_accuracy_low >= 0).all()
    assert (table.test_accuracy_high <= 1).all()
    assert (table.final_loss_low >= 0).all()


def test_a_comparison_grows_until_the_arms_are_told_apart_or_the_seeds_are_used_up(root: Path) -> None:
    found = resexp.compare(
        by={"model.branch_scale": [1.0, 0.5]},
        sets={**TINY, "model.norm": "batch", "optim.steps": 1, "record.probes": []},
        data="crayons",
        seeds=5,
        max_seeds=6,
        name="grown",
        runs_dir=root,
    )
    manifest = json.loads((found.folder / "manifest.json").read_text())
    assert manifest["planned_looks"] == 2
    assert len(found.runs) in (10, 12)


def test_a_run_is_trained_once_shown_and_gone_on_with(root: Path) -> None:
    words: dict[str, Any] = {"sets": TINY, "data": "crayons", "name": "one", "runs_dir": root}
    run = resexp.train("residual20", **words)
    assert run.status == "finished"
    assert run.result is not None
    assert list(run.to_pandas().step) == [0, 2, 3]
    assert run.to_pandas("evaluation").test_accuracy.iloc[-1] == run.result.test_accuracy
    profile = run.to_pandas("profile")
    assert {"stem", "stage1.0"} <= {*profile["name"]}
    assert "Residual" in page_of(run)
    assert isinstance(run.figure(), matplotlib.figure.Figure)
    images = torch.zeros(2, 3, 32, 32)
    assert run.net()(images).shape == resexp.load(run.folder)(images).shape == (2, 10)
    assert resexp.train("residual20", **words).folder == run.folder
    longer = resexp.train("residual20", **{**words, "sets": {**TINY, "optim.steps": 6}}, resume=True)
    assert longer.to_pandas().step.iloc[-1] == 5


def test_runs_are_a_sequence_and_a_table(compared: Any, root: Path) -> None:
    found = resexp.runs(root / "c")
    assert len(found) == 4
    assert {run.folder for run in found} == {run.folder for run in compared.runs}
    assert list(found.to_pandas().columns)[:3] == ["folder", "status", "arm"]
    assert len(found[1:3]) == 2
    assert "finished" in repr(found)
    with pytest.raises(RunFolderError, match="no such folder"):
        resexp.runs(root / "nowhere")


def test_a_run_that_diverges_is_a_result(root: Path) -> None:
    run = resexp.train("plain20", sets={**TINY, "optim.lr": 1e30}, data="crayons", name="away", runs_dir=root)
    assert run.status == "diverged"


def test_gradients_are_the_command_lines(root: Path) -> None:
    found = resexp.gradients(depth=[8], vary={"model.norm": ["none"]}, data="crayons", seeds=2, runs_dir=root)
    words = ["--depth", "8", "--norm", "none", "--data", "crayons", "--seeds", "2", "--runs-dir", "there"]
    assert command("gradients", *words, folder=root).code == 0
    there = json.loads((root / "there" / found.folder.name / "gradients.json").read_text())
    assert found.document.to_json() == there
    assert list(found.to_pandas().kind) == ["plain", "residual"]
    assert there["rows"][0]["sentence"].partition(":")[0] in repr(found)
    assert "The gradient at initialisation" in page_of(found)
    assert isinstance(found.figure(), matplotlib.figure.Figure)


class Net(nn.Sequential):
    def __init__(self) -> None:
        layers = [layer for _ in range(16) for layer in (nn.Linear(12, 12), nn.Sigmoid())]
        super().__init__(*layers, nn.Linear(12, 5))


def test_the_doctor_takes_a_net_that_is_there_and_leaves_it_as_it_was() -> None:
    torch.manual_seed(0)
    net = Net()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    inputs, labels = torch.randn(8, 12), torch.arange(8) % 5
    found = resexp.doctor(net, (inputs, labels), train=3)
    assert found.document.after is not None
    assert found.document.seeds == 1
    assert found.document.loss == pytest.approx(
        nn.functional.cross_entropy(net(inputs), labels).item(), rel=1e-6
    )
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(weight.grad is None for weight in net.parameters())


def test_the_doctor_takes_what_makes_a_net_and_shows_what_it_found() -> None:
    found = resexp.doctor(Net, input=(12,), num=8, seeds=3)
    assert (found.word, found.document.target) == ("vanishing", "Net")
    assert len(found.to_pandas()) == 17
    assert "vanishing" in repr(found)
    assert "vanishing" in page_of(found)
    assert isinstance(found.figure(), matplotlib.figure.Figure)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda: resexp.compare("plain", "residual", vary={"model.norm": "none"}),
            "give its values as a list",
        ),
        (lambda: resexp.compare("plain", sets={"model.depht": 8}), "model.depht"),
        (lambda: resexp.compare(by={"a": [1], "b": [2]}), "name one key"),
        (lambda: resexp.gradients(depth=8, vary={"model.depth": [8]}), "both depth and vary"),
        (lambda: resexp.train("no-such-config"), "no-such-config"),
        (lambda: resexp.doctor(Net(), seeds=3), "one seed"),
        (lambda: resexp.doctor(Net, (torch.randn(3, 12), torch.zeros(2).long())), "3 inputs, but 2 labels"),
        (lambda: resexp.doctor("nowhere:net"), "ModuleNotFoundError"),
    ],
    ids=["string-axis", "unknown-key", "two-by", "depth-twice", "no-config", "seeds", "labels", "no-module"],
)
def test_what_is_wrong_is_an_error_of_one_line(call: Any, said: str) -> None:
    with pytest.raises(ResexpError) as told:
        call()
    assert len(told.value.lines) == 1
    assert said in told.value.lines[0]


def test_ctrl_c_saves_where_somebody_polls_and_is_a_keyboard_interrupt_elsewhere() -> None:
    before = signal.getsignal(signal.SIGINT)
    with stop_on_interrupt() as stop:
        with stop.polling():
            signal.raise_signal(signal.SIGINT)
            assert stop()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before
    assert isinstance(stop, Stop)
