"""`resexp doctor` as its users meet it: others' nets, the known words, one line for what is wrong."""

import json
from pathlib import Path

import pytest
from harness.commands import resexp

NETS = """
import torch
from torch import nn

def deep(kind=nn.Sigmoid, depth=24):
    layers = [layer for _ in range(depth) for layer in (nn.Linear(12, 12), kind())]
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(12, 10))

def sound():
    return nn.Sequential(nn.Flatten(), *[nn.Linear(12, 12) for _ in range(3)], nn.Linear(12, 10))

class Wrapped(nn.Module):
    def __init__(self, wrap):
        super().__init__()
        self.net, self.wrap = sound(), wrap
    def forward(self, x):
        return self.wrap(self.net(x))

def in_tuple(): return Wrapped(lambda y: (y, "more"))
def in_dict(): return Wrapped(lambda y: {"logits": y})
def text(): return "no net"
def scalar(): return Wrapped(lambda y: y.sum())
def nothing(): return Wrapped(lambda y: None)
class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.LSTM(4, 8, 2, batch_first=True), nn.Linear(8, 10)
    def forward(self, x):
        return self.head(self.rnn(x.flatten(1, -2))[0][:, -1])
def zero_loss(output, labels): return (output * 0).mean()
number = 3
"""
SMALL = ["--input", "1,3,4", "--seeds", "2", "--batch", "8"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "nets.py").write_text(NETS)
    (tmp_path / "raises.py").write_text("raise RuntimeError('not\\nthis time')")
    return tmp_path


def test_a_deep_net_of_sigmoids_vanishes_and_a_check_says_so(folder: Path) -> None:
    ended = resexp("doctor", "nets.py:deep", *SMALL, "--check", "--name", "sick", folder=folder)
    assert ended.code == 8, ended.stderr
    assert "vanishing" in ended.stdout
    document = json.loads((folder / "runs" / "sick" / "doctor.json").read_text())
    assert document["word"] == "vanishing"
    assert [layer["kind"] for layer in document["layers"]] == ["Linear"] * 25
    sizes = [layer["arriving"] for layer in document["layers"]]
    assert sizes == sorted(sizes)
    assert len(document["values"]) == document["seeds"] == 2
    assert (folder / "runs" / "sick" / "doctor.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["sound", "in_tuple", "in_dict", "Recurrent"])
def test_nets_of_many_shapes_are_measured(name: str, folder: Path) -> None:
    ended = resexp("doctor", f"nets:{name}", *SMALL, "--json", folder=folder)
    assert ended.code == 0, ended.stderr
    document = json.loads(ended.stdout[ended.stdout.index("{") : ended.stdout.rindex("}") + 1])
    assert document["layers"]
    assert all(layer["weight_rms"] > 0 for layer in document["layers"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nets"], "MODULE:NAME"),
        (["nowhere.py:make"], "no such file"),
        (["no_such_module:make"], "ModuleNotFoundError"),
        (["raises.py:make"], "RuntimeError: not this time"),
        (["nets.py:other"], "has no other"),
        (["nets.py:number"], "no function or class"),
        (["nets.py:text"], "not an nn.Module"),
        (["nets.py:scalar"], "--loss"),
        (["nets.py:nothing"], "--loss"),
        (["nets.py:sound", "--input", "7,7"], "with an input of [8, 7, 7]"),
        (["nets.py:sound", "--input", "a"], "whole numbers"),
    ],
    ids=" ".join,
)
def test_what_is_wrong_is_told_in_one_line(words: list[str], said: str, folder: Path) -> None:
    ended = resexp("doctor", words[0], *SMALL, *words[1:], folder=folder)
    assert ended.code == 2, ended.stderr
    lines = [line for line in ended.stderr.splitlines() if "nets measured" not in line]
    assert len(lines) == 1
    assert said in lines[0]


def test_another_question_does_not_overwrite_an_answer(folder: Path) -> None:
    assert resexp("doctor", "nets.py:sound", *SMALL, "--name", "one", folder=folder).code == 0
    before = (folder / "runs" / "one" / "doctor.json").read_bytes()
    assert resexp("doctor", "nets.py:sound", *SMALL, "--name", "one", folder=folder).code == 0
    assert (folder / "runs" / "one" / "doctor.json").read_bytes() == before
    assert resexp("doctor", "nets.py:deep", *SMALL, "--name", "one", folder=folder).code == 4
