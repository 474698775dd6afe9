"""The user's own package of docs/extending.md, and variants of built-in things, in a folder for the tests."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
PACKAGE = "mylab"

TWINS = '''
"""What resexp has under words of its own, written again."""

import functools

import torch


class Silu(torch.nn.Module):
    def forward(self, x):
        return torch.nn.functional.silu(x)


def he(weight, generator):
    fan_in = weight.shape[1] * weight[0, 0].numel()
    weight.normal_(0.0, (2 / fan_in) ** 0.5, generator=generator)


sgd = functools.partial(torch.optim.SGD, momentum=0.9)


def crayons(root):
    from resexp.data.crayons.dataset import load

    return load()


class Double(torch.optim.Optimizer):
    """Keeps sums in another precision than its parameters, a whole number, and a number in its group."""

    def __init__(self, params, lr, weight_decay):
        super().__init__(params, {"lr": lr, "turn": 1.0})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            group["turn"] = 1.0 - group["turn"] / 3
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state["sum"] = torch.zeros_like(p, dtype=torch.float64)
                    state["count"] = torch.zeros((), dtype=torch.int64)
                state["count"] += 1
                state["sum"] += p.grad.double() / 3
                p -= (group["turn"] * group["lr"] * state["sum"] / state["count"]).float()
'''

FAULTY = '''
import random

import torch
from torch import nn

number = 3


def sums_up():
    return 3


def from_nothing(root):
    return {"train_images": 1}


class Halves(nn.Module):
    def forward(self, x):
        return x[:, ::2]


class OneWidth(nn.Module):
    def __init__(self):
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(4, 1, 1))

    def forward(self, x):
        return torch.relu(x + self.shift)


class InPlace(nn.Module):
    def forward(self, x):
        return x.relu_()


class Cut(nn.Module):
    def forward(self, x):
        return x.detach()


def returns_a_new_one(weight, generator):
    return torch.zeros_like(weight)


def by_another_stream(weight, generator):
    weight.fill_(random.random())


def tensor_probe(net, batch):
    return {"loss": net(batch.images).sum()}


def raising_probe(net, batch):
    raise ValueError("no luck")


def number_probe(net, batch):
    return 3.0


def step_probe(net, batch):
    return {"step": 3}


def missing_images(root):
    open("nowhere.npz")


class Forgets(torch.optim.SGD):
    """Keeps its number of steps where no checkpoint looks."""

    def __init__(self, params, lr, weight_decay):
        super().__init__(params, lr=lr)
        self.count = 0

    def step(self, closure=None):
        self.count += 1
        for group in self.param_groups:
            group["lr"] = 0.1 / self.count
        super().step()


def no_optimizer(params, lr, weight_decay):
    return params
'''


def examples() -> dict[str, str]:
    """What docs/extending.md shows, by file."""
    blocks = re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    return dict(blocks)


def write_package(folder: Path) -> None:
    """Write the examples, the twins and what is faulty, as a package; and twins.py by itself."""
    for name, text in examples().items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (folder / PACKAGE / "__init__.py").write_text("")
    (folder / PACKAGE / "faulty.py").write_text(FAULTY)
    (folder / PACKAGE / "raising.py").write_text('raise RuntimeError("not\\ntoday")\n')
    (folder / PACKAGE / "misspelt.py").write_text("def f(:\n")
    (folder / "twins.py").write_text(TWINS)
