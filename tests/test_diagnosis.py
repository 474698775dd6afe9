"""The doctor's two measurements, against a loop written by hand in plain torch."""

import json
from pathlib import Path

import pytest
import torch
from harness.commands import resexp
from torch import Tensor, nn
from torch.nn import functional as F

from resexp.experiments.diagnosis import Examination, Given, diagnose
from resexp.experiments.doctor_inputs import Noise

NUM, CLASSES, STEPS, LR = 16, 5, 4, 0.3
TINY = ["--input", "3,32,32", "--seeds", "2", "--batch", "8"]


def net() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 9), nn.Tanh(), nn.Linear(9, 9), nn.Linear(9, CLASSES))


def shown(seed: int, step: int) -> Given:
    generator = torch.Generator().manual_seed(100 * seed + step)
    return Given(
        torch.randn(NUM, 12, generator=generator), torch.randint(CLASSES, (NUM,), generator=generator)
    )


def by_hand(seed: int) -> tuple[list[float], list[float]]:
    """T and the loss before and after the steps."""
    torch.manual_seed(seed)
    model = net()
    velocity = [torch.zeros_like(weight) for weight in model.parameters()]

    def look() -> tuple[float, float]:
        images, labels = shown(seed, 0)
        assert labels is not None
        first = model[1](images)
        last = model[3](torch.tanh(first))
        loss = F.cross_entropy(model[4](last), labels)
        at_first, at_last = torch.autograd.grad(loss, [first, last])
        return (at_first.norm() / at_last.norm()).item(), loss.item()

    seen = [look()]
    for step in range(1, STEPS + 1):
        images, labels = shown(seed, step)
        assert labels is not None
        gradients = torch.autograd.grad(F.cross_entropy(model(images), labels), list(model.parameters()))
        with torch.no_grad():
            for weight, speed, gradient in zip(model.parameters(), velocity, gradients, strict=True):
                speed.mul_(0.9).add_(gradient)
                weight.sub_(LR * speed)
    seen.append(look())
    ratios, losses = zip(*seen, strict=True)
    return list(ratios), list(losses)


def test_both_measurements_are_those_of_a_loop_by_hand() -> None:
    case = Examination("net", net, shown, "noise", seeds=2, train=STEPS, lr=LR)
    document = diagnose(case)
    assert document.after is not None
    assert (document.first, document.last) == ("1", "3")
    expected = [by_hand(seed) for seed in range(2)]
    for k, reading in enumerate(document.readings):
        assert reading.values == pytest.approx([ratios[k] for ratios, _ in expected], rel=1e-4)
        assert reading.loss == pytest.approx(sum(losses[k] for _, losses in expected) / 2, rel=1e-4)
    assert document.values != document.after.values


def test_labels_that_were_drawn_are_the_same_after_the_steps() -> None:
    """With a rate that changes nothing, the second measurement is the first."""
    case = Examination("net", net, Noise(NUM, (12,)), "noise", seeds=2, train=1, lr=1e-30)
    document = diagnose(case)
    assert document.after is not None
    assert document.after.values == document.values
    assert document.after.loss == document.loss


def test_the_caller_s_random_numbers_are_left_alone() -> None:
    torch.manual_seed(3)
    expected = torch.randn(4)
    torch.manual_seed(3)
    diagnose(Examination("net", net, Noise(NUM, (12,)), "noise", seeds=1, train=1))
    assert torch.equal(torch.randn(4), expected)


class Drop(nn.Module):
    """Breaks once it is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(12, CLASSES)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.calls > 1:
            raise RuntimeError("only once")
        return self.layer(x)


NETS = """
import torch
from torch import nn
def conv():
    return nn.Sequential(nn.Conv2d(3, 4, 3, 4), nn.ReLU(), nn.Flatten(), nn.LazyLinear(9), nn.LazyLinear(10))
def few():
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(4))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "nets.py").write_text(NETS)
    return tmp_path


def test_images_are_shown_and_the_table_has_a_column_for_what_the_steps_did(folder: Path) -> None:
    words = ["--data", "crayons", "--train", "3", "--name", "seen"]
    ended = resexp("doctor", "nets.py:conv", *TINY, *words, folder=folder)
    assert ended.code == 0, ended.stderr
    assert "after 3" in ended.stdout.splitlines()[0]
    assert "images of crayons (drawn)" in ended.stdout
    document = json.loads((folder / "runs" / "seen" / "doctor.json").read_text())
    assert document["after"]["steps"] == 3
    assert len(document["after"]["layers"]) == len(document["layers"]) == 3
    assert document["after"]["loss"] != document["loss"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "data.root=x"], "goes with --data"),
        (["--data", "crayons", "--set", "model.depth=8"], "allowed are data.KEY=VALUE"),
        (["--data", "crayons", "--input", "1,32,32"], "3,HEIGHT,WIDTH"),
        (["--data", "crayons", "--batch", "100000"], "training images"),
        (["--train", "2", "--lr", "0"], "a rate above 0"),
    ],
    ids=" ".join,
)
def test_what_does_not_fit_together_is_told_in_one_line(words: list[str], said: str, folder: Path) -> None:
    ended = resexp("doctor", "nets.py:conv", *TINY, *words, folder=folder)
    assert ended.code == 2, ended.stderr
    assert said in ended.stderr.splitlines()[-1]


def test_a_net_with_too_few_outputs_for_the_labels_is_told(folder: Path) -> None:
    ended = resexp("doctor", "nets.py:few", *TINY, "--data", "crayons", folder=folder)
    assert ended.code == 2, ended.stderr
    assert "gives out 4 numbers an input" in ended.stderr.splitlines()[-1]


def test_a_net_that_raises_while_it_is_trained_is_told_in_one_line() -> None:
    with pytest.raises(Exception, match=r"broken: with an input of \[16, 12\] it raises RuntimeError: only"):
        diagnose(Examination("broken", Drop, Noise(NUM, (12,)), "noise", seeds=1, train=1))
